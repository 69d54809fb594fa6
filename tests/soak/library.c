/*
 * VMs in one process, through the library:
 *
 *   soak-library COUNT THREADS    so many created, run and destroyed, in so many threads at once
 *
 * All end as they should, and afterwards the process has no more descriptors, threads, children,
 * mappings and memory than before.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define MIB (UINT64_C(1) << 20)

/* Allocators keep memory of threads, and merge mappings as they like. What each VM loses shows in
 * the long run: less than this much for each. */
#define MAPPINGS_SPARE 40
#define RESIDENT_SPARE (8 * MIB)

static struct soak {
    uint64_t seed;
    atomic_uint next;
    unsigned count;
    char directory[120];
    pthread_mutex_t lock;
    unsigned bad;
    char why[1000];
} soak = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void prepare(struct vm *vm, struct soak_random *random, unsigned number)
{
    static const char *const guests[] = {"hello-v1", "hello-v2", "smp-v2",   "exit-code-v1",
                                         "crash-v2", "cat-v2",   "files-v2", "net-dhcp-v2"};
    const char *guest = guests[soak_random(random, 8)];

    vm_init(vm, guest);
    vm->params.cpu_count = 1 + (unsigned)soak_random(random, 4);
    if (strncmp(guest, "hello", 5) == 0) {
        vm->text = "Hello from a unikernel.\n";
    } else if (strncmp(guest, "smp", 3) == 0) {
        vm->text = vm->buffer;
        snprintf(vm->buffer, sizeof vm->buffer, "%u cpus, counter %u, guarded",
                 vm->params.cpu_count, vm->params.cpu_count * 1000);
    } else if (strncmp(guest, "exit", 4) == 0) {
        vm->exit_code = (int)number;
        vm_argument(vm, "%u", number);
    } else if (strncmp(guest, "crash", 5) == 0) {
        vm->crashes = true;
        vm_argument(vm, "%s", soak_chance(random, 50) ? "pagefault" : "triple");
    } else if (strncmp(guest, "cat", 3) == 0) {
        vm_with_input(vm);
        vm->text = "through the guest";
        if (write(vm->input_in, vm->text, strlen(vm->text)) < 0)
            abort();
        close(vm->input_in);
        vm->input_in = -1;
    } else if (strncmp(guest, "files", 5) == 0) {
        vm_with_files(vm, soak.directory, number);
        vm_argument(vm, "open /in/a +c 600");
        vm_argument(vm, "fill last 100000");
        vm_argument(vm, "open /x wc 600");
        vm->text = "fill last 100000 = 100000";
    } else {
        vm->params.net.kind = UHYVE_NET_USER;
        vm->text = "address 10.0.5.3\n";
    }
}

static void run_one(struct vm *vm, unsigned number)
{
    struct soak_random random;
    char why[1000];

    soak_random_start(&random, soak.seed, number);
    prepare(vm, &random, number);
    vm->err = uhyve_create(&vm->params, &vm->vm, &vm->error);
    if (!vm->err)
        vm->err = uhyve_run(vm->vm, &vm->result, &vm->error);
    bool good = vm_is_good(vm, false, why, sizeof why);
    vm_finish(vm);
    if (good)
        return;
    pthread_mutex_lock(&soak.lock);
    if (soak.bad++ == 0)
        snprintf(soak.why, sizeof soak.why, "VM %u: %.900s", number, why);
    pthread_mutex_unlock(&soak.lock);
}

static void *work(void *context)
{
    unsigned *last = context;
    struct vm *vm = malloc(sizeof *vm);

    if (!vm)
        abort();
    for (unsigned number; (number = atomic_fetch_add(&soak.next, 1)) < *last;)
        run_one(vm, number);
    free(vm);
    return NULL;
}

static void run_until(unsigned last, unsigned threads)
{
    pthread_t thread[64];

    atomic_store(&soak.next, soak.count);
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, &last) != 0)
            abort();
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    soak.count = last;
}

/* A thread that was joined may be listed for a moment. */
static struct soak_resources resources(const struct soak_resources *before)
{
    struct soak_resources now = soak_resources();

    for (int i = 0; before && i < 100 && now.threads != before->threads; i++) {
        soak_sleep_us(10000);
        now = soak_resources();
    }
    return now;
}

static void compare(const struct soak_resources *before, const struct soak_resources *now)
{
    char why[200];

    snprintf(why, sizeof why,
             "descriptors %u, were %u; threads %u, were %u; children %u, were %u; mappings %u, "
             "were %u; %llu KiB resident, were %llu",
             now->descriptors, before->descriptors, now->threads, before->threads, now->children,
             before->children, now->mappings, before->mappings,
             (unsigned long long)now->resident / 1024, (unsigned long long)before->resident / 1024);
    soak_note("%s", why);
    soak_result(now->descriptors == before->descriptors, "no descriptor is left", why);
    soak_result(now->threads == before->threads, "no thread is left", why);
    soak_result(now->children == before->children, "no process is left", why);
    soak_result(now->mappings <= before->mappings + MAPPINGS_SPARE, "no mapping is left", why);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    soak_skip("no memory is left", "sanitizers keep what was freed");
#else
    soak_result(now->resident <= before->resident + RESIDENT_SPARE, "no memory is left", why);
#endif
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)atoi(argv[1]) : 0;
    unsigned threads = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    const char *base = getenv("TMPDIR"), *obstacle = vm_obstacle();
    char name[120];

    if (!count || !threads || threads > 64) {
        fprintf(stderr, "usage: soak-library COUNT [THREADS]\n");
        return 2;
    }
    snprintf(name, sizeof name, "%u VMs in one process, %u at once", count, threads);
    if (obstacle) {
        soak_skip(name, obstacle);
        return soak_finish();
    }
    soak.seed = soak_seed();
    soak_note("SEED=%llu", (unsigned long long)soak.seed);
    snprintf(soak.directory, sizeof soak.directory, "%.80s/soak-XXXXXX",
             base && *base ? base : "/tmp");
    if (!mkdtemp(soak.directory))
        return 1;
    run_until(10 * threads + count / 10, threads);
    struct soak_resources before = resources(NULL);
    run_until(soak.count + count, threads);
    struct soak_resources now = resources(&before);
    soak_result(!soak.bad, name, soak.why);
    compare(&before, &now);
    soak_result(rmdir(soak.directory) == 0, "no file is left", soak.directory);
    return soak_finish();
}
