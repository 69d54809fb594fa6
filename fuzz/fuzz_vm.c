/*
 * Fuzz target: a whole virtual machine whose vCPUs do what the input says, all at the same time
 * (fuzz_vm_steps.c). Everything behind the accelerator is the real thing: threads, hypercalls,
 * files, console, network card, trace, the end.
 *
 * Whatever the vCPUs do to each other, the VM comes to its end with an outcome that one of them has
 * asked for, with its temporary directory empty and all descriptors closed, and nothing of the host
 * that was not mapped was ever in guest memory.
 *
 * Input: number of vCPUs (1 byte), features (1 byte, see enum feature), then a part of equal size
 * for each vCPU, read as steps.
 */
#include "fuzz_vm.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../tests/unit/elf_builder.c"
#include "fuzz.h"

#define MEMORY (16 * UHYVE_MIB)

struct world world;

/* The host. */

/* What is in the file that the guest may not read; it is never compared with, or the fuzzer would
 * learn it and write it there itself. */
#define SECRET      "Sesame 7"
#define SECRET_HASH (UINT64_C(0x3720656d61736553) * HASH_FACTOR)
#define HASH_FACTOR UINT64_C(0x9e3779b97f4a7c15)

static void put(int base, const char *path, const char *content)
{
    int fd = openat(base, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    require(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
    close(fd);
}

static const char *const made[] = {"d/sub/f", "d/sub/n", "d/f",    "d/new/x", "d/new",
                                   "d/link",  "d/out",   "secret", "socket"};

static void remove_made(void)
{
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        if (unlinkat(world.base, made[i], 0) != 0)
            unlinkat(world.base, made[i], AT_REMOVEDIR);
}

static void remove_top(void)
{
    static const char *const directories[] = {"d/sub", "d", "temp"};
    remove_made();
    for (size_t i = 0; i < 3; i++)
        unlinkat(world.base, directories[i], AT_REMOVEDIR);
    rmdir(world.top);
}

static int make_image(unsigned interface)
{
    static struct elf_builder builder;
    int fd = memfd_create("kernel", MFD_CLOEXEC);

    builder_init(&builder, ET_DYN, interface);
    require(fd >= 0 && write(fd, builder.file, builder.size) == (ssize_t)builder.size);
    return fd;
}

/* What the guest may have changed is made anew. */
static void prepare_host(void)
{
    if (!world.top[0]) {
        strcpy(world.top, "/tmp/fuzz_vm.XXXXXX");
        require(mkdtemp(world.top) != NULL);
        world.base = open(world.top, O_PATH | O_DIRECTORY | O_CLOEXEC);
        require(world.base >= 0 && mkdirat(world.base, "temp", 0700) == 0);
        require(mkdirat(world.base, "d", 0700) == 0 && mkdirat(world.base, "d/sub", 0700) == 0);
        world.image = make_image(3);
        world.old_image = make_image(1);
        atexit(remove_top);
    }
    remove_made();
    put(world.base, "d/f", "inside");
    put(world.base, "d/sub/f", "inside");
    put(world.base, "secret", SECRET);
    require(symlinkat("sub/f", world.base, "d/link") == 0);
    require(symlinkat("../secret", world.base, "d/out") == 0);
}

static void take_message(void *context, enum uhyve_level level, const char *text)
{
    require(text[0] && !strchr(text, '\n'));
}

static int open_input(unsigned features, int *other_end)
{
    int ends[2];

    *other_end = -1;
    if (!(features & FEATURE_INPUT))
        return -1;
    require(pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], "what is typed\n", 14) == 14);
    if (features & FEATURE_WAIT)
        *other_end = ends[1];
    else
        close(ends[1]);
    return ends[0];
}

/* The other side of the network: it has sent some frames, and hangs up at the end. */
static int open_peer(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    require(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    require(listen(fd, 1) == 0);
    return fd;
}

static int accept_peer(int listener)
{
    uint8_t frame[4 + 60] = {0, 0, 0, 60};
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

    require(fd >= 0);
    for (unsigned i = 0; i < 3; i++)
        require(send(fd, frame, sizeof frame, MSG_NOSIGNAL) == sizeof frame);
    close(listener);
    return fd;
}

static void *stop_soon(void *argument)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(uintptr_t)argument}, NULL);
    atomic_fetch_or(&world.ends, 4);
    uhyve_stop(world.vm);
    return NULL;
}

static bool holds_secret(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i + 8 <= size; i++) {
        uint64_t word;
        memcpy(&word, bytes + i, sizeof word);
        if (word * HASH_FACTOR == SECRET_HASH)
            return true;
    }
    return false;
}

static void check_result(const struct uhyve_result *result)
{
    unsigned ends = atomic_load(&world.ends);
    uint64_t arenas = world.cpu_count * ARENA_SIZE;

    require(result->outcome != UHYVE_EXITED || ends & 1);
    require(result->outcome != UHYVE_CRASHED || result->report);
    require(result->outcome != UHYVE_STOPPED || ends & 4);
    require(!holds_secret(world.ram->host + world.ram->size - arenas, arenas));
}

static void run_vm(void)
{
    struct uhyve_result result;
    struct uhyve_error error;
    pthread_t stopper;
    /* A reader that waits for more input needs somebody who stops the VM. */
    bool stop = world.features & (FEATURE_STOP | FEATURE_WAIT);

    if (stop)
        require(pthread_create(&stopper, NULL, stop_soon, (void *)(uintptr_t)500000) == 0);
    require(uhyve_run(world.vm, &result, &error) == 0);
    if (stop)
        pthread_join(stopper, NULL);
    check_result(&result);
}

static void share_input(struct input input)
{
    size_t part = input.size / world.cpu_count;

    for (unsigned i = 0; i < world.cpu_count; i++)
        world.cpus[i] = (struct accel_vcpu){.index = i, .input = {input.bytes + i * part, part}};
}

static void run(struct uhyve_params *params)
{
    char socket_path[96];
    int listener = -1, peer = -1, other_end;
    struct uhyve_error error;

    params->stdin_fd = open_input(world.features, &other_end);
    if (world.features & FEATURE_NET) {
        snprintf(socket_path, sizeof socket_path, "%s/socket", world.top);
        listener = open_peer(socket_path);
        params->net = (struct uhyve_net){.kind = UHYVE_NET_SOCKET, .name = socket_path};
    }
    require(uhyve_create(params, &world.vm, &error) == 0);
    if (listener >= 0)
        peer = accept_peer(listener);
    run_vm();
    uhyve_destroy(world.vm);
    if (peer >= 0)
        close(peer);
    if (params->stdin_fd >= 0)
        close(params->stdin_fd);
    if (other_end >= 0)
        close(other_end);
}

/* The lowest free descriptor: nothing below is left open by one VM or another. */
static int lowest_descriptor(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const words[] = {"an argument", "--", "another"};
    char directory[96], temp[96], image[40];
    struct input input = {bytes, size};
    struct uhyve_params params;

    prepare_host();
    world.cpu_count = 1 + take(&input, 1) % CPUS_MAX;
    world.features = (unsigned)take(&input, 1);
#ifdef __SANITIZE_THREAD__
    /* Whoever shares memory races, and so do the card and its driver, as guests may. */
    world.features &= ~(unsigned)(FEATURE_SHARE | FEATURE_NET);
#endif
    atomic_store(&world.finished, 0);
    atomic_store(&world.ends, 0);
    share_input(input);
    snprintf(directory, sizeof directory, "%s/d", world.top);
    snprintf(temp, sizeof temp, "%s/temp", world.top);
    snprintf(image, sizeof image, "/proc/self/fd/%d",
             world.features & FEATURE_V1 ? world.old_image : world.image);
    const struct uhyve_file_mapping mappings[] = {{directory, "/d", false},
                                                  {directory, "/ro", true}};
    uhyve_params_init(&params);
    params.image = image;
    params.memory_size = MEMORY;
    params.cpu_count = world.cpu_count;
    params.aslr = false;
    params.file_mappings = mappings;
    params.file_mapping_count = 2;
    params.tempdir = temp;
    params.limit_files = 12;
    params.limit_temp = 65536;
    params.app_args = words;
    params.app_arg_count = 3;
    params.message = take_message;
    params.message_level = UHYVE_LEVEL_DEBUG;
    int trace = world.features & FEATURE_TRACE ? open("/dev/null", O_WRONLY | O_CLOEXEC) : -1;
    params.trace = trace >= 0 ? "" : NULL;
    params.trace_fd = trace;
    int lowest = lowest_descriptor();
    run(&params);
    require(lowest_descriptor() == lowest);
    if (trace >= 0)
        close(trace);
    require(unlinkat(world.base, "temp", AT_REMOVEDIR) == 0);
    require(mkdirat(world.base, "temp", 0700) == 0);
    return 0;
}
