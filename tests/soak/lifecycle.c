/*
 * The life of VMs, in random order and timing:
 *
 *   soak-lifecycle SECONDS [THREADS]
 *
 * VMs are created, run and destroyed in several threads, while others stop and signal them, kill
 * and freeze engines, close their input, and play debuggers that do not behave. What happens is
 * drawn from SEED and the number of the iteration, both of which are told when something is wrong;
 * SEED=S ITERATION=I repeats that iteration alone, for SECONDS. No VM may hang, end in a way that
 * nothing explains, or leave anything behind. Made for sanitizer builds.
 */
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lifecycle.h"

#define THREADS_MAX 16
#define HANG        60.0 /* seconds after which a VM hangs */

struct worker {
    pthread_t thread;
    _Atomic double began; /* the present iteration; 0: none */
    struct plan plan;
    struct vm vm;
    char description[1200];
};

static struct soak {
    uint64_t seed;
    bool one; /* iteration only */
    atomic_uint next;
    atomic_uint done;
    atomic_uint working; /* threads */
    double end;
    unsigned threads;
    bool kill_engines;
    char directory[100];
    struct worker worker[THREADS_MAX];
    pthread_mutex_t lock;
    unsigned bad;
    char why[4000];
} soak = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct actor {
    struct stage *stage;
    unsigned number;
};

static void *run_guest(void *context)
{
    struct stage *stage = context;
    struct vm *vm = stage->vm;

    stage_handle_for(vm->vm);
    vm->err = uhyve_run(vm->vm, &vm->result, &vm->error);
    atomic_store(&stage->over, true);
    /* The thread may be signalled until it is joined. */
    return NULL;
}

static void *run_actor(void *context)
{
    struct actor *actor = context;

    stage_act(actor->stage, actor->number);
    return NULL;
}

/* All threads of one VM, from before uhyve_run until after its end. */
static void perform(struct stage *stage)
{
    struct actor actor[ACTORS];
    pthread_t thread[ACTORS];

    if (pthread_create(&stage->runner, NULL, run_guest, stage) != 0)
        abort();
    atomic_store(&stage->running, true);
    for (unsigned i = 0; i < ACTORS; i++) {
        actor[i] = (struct actor){stage, i};
        if (pthread_create(&thread[i], NULL, run_actor, &actor[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < ACTORS; i++)
        pthread_join(thread[i], NULL);
    pthread_join(stage->runner, NULL);
}

static void iterate(struct worker *worker, unsigned iteration)
{
    struct vm *vm = &worker->vm;
    struct plan *plan = &worker->plan;
    struct stage stage = {.vm = vm, .plan = plan};
    char why[1000];

    plan_make(plan, vm, soak.seed, iteration, soak.directory);
    plan->kill_engines = soak.kill_engines;
    plan_describe(plan, vm, worker->description, sizeof worker->description);
    atomic_store(&worker->began, soak_now());
    vm->err = uhyve_create(&vm->params, &vm->vm, &vm->error);
    if (!vm->err)
        perform(&stage);
    bool good = vm_is_good(vm, true, why, sizeof why);
    vm_finish(vm);
    atomic_store(&worker->began, 0);
    atomic_fetch_add(&soak.done, 1);
    if (good)
        return;
    pthread_mutex_lock(&soak.lock);
    if (soak.bad++ == 0)
        snprintf(soak.why, sizeof soak.why, "%s\n%s", worker->description, why);
    pthread_mutex_unlock(&soak.lock);
}

static void *work(void *context)
{
    while (soak_now() < soak.end)
        iterate(context, soak.one ? atomic_load(&soak.next) : atomic_fetch_add(&soak.next, 1));
    atomic_fetch_sub(&soak.working, 1);
    return NULL;
}

/* A hang is told at once: whoever waits for this program may not do so for long. The core that
 * abort leaves shows the threads. */
static void watch(void)
{
    for (unsigned at = 0; atomic_load(&soak.working); at = (at + 1) % soak.threads) {
        struct worker *worker = &soak.worker[at];
        double began = atomic_load(&worker->began);
        if (began > 0 && soak_now() > began + HANG) {
            soak_result(false, "no VM hangs", worker->description);
            abort();
        }
        soak_sleep_us(50000);
    }
}

static void run_all(double seconds)
{
    soak.end = soak_now() + seconds;
    atomic_store(&soak.working, soak.threads);
    for (unsigned i = 0; i < soak.threads; i++)
        if (pthread_create(&soak.worker[i].thread, NULL, work, &soak.worker[i]) != 0)
            abort();
    watch();
    for (unsigned i = 0; i < soak.threads; i++)
        pthread_join(soak.worker[i].thread, NULL);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place)
{
    return remove(path);
}

/* With what guests have made there, and sockets: those stay. */
static void remove_directory(void)
{
    nftw(soak.directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void compare(const struct soak_resources *before)
{
    struct soak_resources now = soak_resources();
    char why[200];

    for (int i = 0; i < 100 && now.threads != before->threads; i++) {
        soak_sleep_us(10000);
        now = soak_resources();
    }
    snprintf(why, sizeof why, "descriptors %u, were %u; threads %u, were %u; children %u, were %u",
             now.descriptors, before->descriptors, now.threads, before->threads, now.children,
             before->children);
    soak_result(now.descriptors == before->descriptors && now.threads == before->threads &&
                    now.children == before->children,
                "no descriptor, thread and process is left", why);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0;
    const char *base = getenv("TMPDIR"), *one = getenv("ITERATION"), *obstacle = vm_obstacle();
    char name[120];

    soak.threads = argc > 2 ? (unsigned)atoi(argv[2]) : 3;
    if (seconds <= 0 || !soak.threads || soak.threads > THREADS_MAX) {
        fprintf(stderr, "usage: soak-lifecycle SECONDS [THREADS]\n");
        return 2;
    }
    if (obstacle) {
        soak_skip("lives of VMs", obstacle);
        return soak_finish();
    }
    soak.seed = soak_seed();
    soak_note("SEED=%llu", (unsigned long long)soak.seed);
    soak.one = one && *one;
    soak.next = soak.one ? (unsigned)atoi(one) : 0;
    soak.kill_engines = true;
    snprintf(soak.directory, sizeof soak.directory, "%.80s/soak-XXXXXX",
             base && *base ? base : "/tmp");
    if (!mkdtemp(soak.directory))
        return 1;
    stage_catch_signals();
    /* What the library and its libraries allocate once. */
    run_all(seconds / 10);
    struct soak_resources before = soak_resources();
    run_all(seconds * 9 / 10);
    snprintf(name, sizeof name, "lives of %u VMs, %u at once", atomic_load(&soak.done),
             soak.threads);
    soak_result(!soak.bad, name, soak.why);
    compare(&before);
    remove_directory();
    return soak_finish();
}
