/*
 * A VMM that a guest has taken over, in a build for tests:
 *
 *     compromised MODE ACCELERATOR GUEST DIRECTORY [NETWORK]
 *
 * Runs GUEST (guests/knock.c), whose writes to a port without a device make the library call back
 * on the thread of a vCPU; there an attacker's attempts are made, each system call directly. MODE
 * is "all" (as the program runs guests by default), "strict", "landlock" or "filter" (one layer
 * alone), or "none": the control, in which what no layer covers must succeed, or the test would be
 * worth nothing.
 *
 * DIRECTORY holds: mapped/file and readonly/file, whose directories are mapped, the latter
 * read-only; single/file, mapped by itself, and single/neighbour; outside/file, which is not
 * mapped.
 *
 * With NETWORK, "user" or "socket", the guest has a network card, and the same attempts are made on
 * the thread of its back end as well, which may do other things than the rest: there, the function
 * poll of this program is what calls back.
 *
 * Prints TAP, one line for each attempt on each vCPU and thread. Exit status 0 if all went as it
 * should.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "uhyve.h"

enum layer {
    LANDLOCK = 1, /* every version */
    LANDLOCK_3 = 2,
    LANDLOCK_4 = 4,
    LANDLOCK_6 = 8,
    FILTER = 16,
    LANDLOCK_SIGNALS = 32, /* version 6, where the accelerator needs no signals to others */
    CAPABILITIES = 64,
};

/* The layers in force. */
static unsigned layers;
static int victim; /* the process that started this one */
static int listener_port;
static enum uhyve_net_kind network;
static char socket_path[100];
static char abstract_name[40];
static char outside[300], outside_new[300], readonly[300], mapped[300], mapped_new[300];
static char directory[256], neighbour[300];

static __thread volatile sig_atomic_t trapped;
static int failures, count;

static long call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define CALL(name, ...) CALL_(SYS_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, ...)                                                       \
    call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The filter's signal; the call has done nothing. */
static void on_sigsys(int number, siginfo_t *info, void *context)
{
    ucontext_t *machine = context;

    trapped = 1;
    machine->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

static long close_if_open(long fd)
{
    if (fd >= 0)
        CALL(close, fd);
    return fd;
}

static long open_path(const char *path, int flags)
{
    return close_if_open(CALL(openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600));
}

/* Files that are not mapped. */

static long read_outside(void)
{
    return open_path(outside, O_RDONLY);
}

static long write_outside(void)
{
    return open_path(outside, O_WRONLY);
}

static long create_outside(void)
{
    return open_path(outside_new, O_WRONLY | O_CREAT);
}

static long list_outside(void)
{
    return open_path("/", O_RDONLY | O_DIRECTORY);
}

static long list_parent(void)
{
    return open_path(directory, O_RDONLY | O_DIRECTORY);
}

static long read_by_link(void)
{
    char link[320];
    snprintf(link, sizeof link, "%s.link", mapped);
    return open_path(link, O_RDONLY);
}

static long open_by_openat2(void)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = O_RDONLY};
    return close_if_open(CALL(openat2, AT_FDCWD, outside, &how, sizeof how));
}

static long truncate_outside(void)
{
    return CALL(truncate, outside, 0);
}

static long unlink_outside(void)
{
    return CALL(unlinkat, AT_FDCWD, outside_new, 0);
}

static long mkdir_outside(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.d", outside);
    long result = CALL(mkdirat, AT_FDCWD, path, 0700);
    if (result == 0)
        CALL(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    return result;
}

static long link_outside(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.hard", mapped);
    long result = CALL(linkat, AT_FDCWD, outside, AT_FDCWD, path, 0);
    if (result == 0)
        CALL(unlinkat, AT_FDCWD, path, 0);
    return result;
}

static long rename_inside(void)
{
    long result = CALL(renameat2, AT_FDCWD, outside, AT_FDCWD, mapped_new, 0);
    if (result == 0)
        CALL(renameat2, AT_FDCWD, mapped_new, AT_FDCWD, outside, 0);
    return result;
}

static long chmod_outside(void)
{
    return CALL(fchmodat, AT_FDCWD, outside, 0600);
}

static long look_at_outside(void)
{
    struct stat status;
    return CALL(stat, outside, &status);
}

/* Files that are mapped read-only. */

static long write_readonly(void)
{
    return open_path(readonly, O_WRONLY);
}

static long truncate_readonly(void)
{
    return CALL(truncate, readonly, 0);
}

static long unlink_readonly(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.spare", readonly);
    return CALL(unlinkat, AT_FDCWD, path, 0);
}

/* A file beside one that is mapped by itself. */

static long read_neighbour(void)
{
    return open_path(neighbour, O_RDONLY);
}

static long write_neighbour(void)
{
    return open_path(neighbour, O_WRONLY);
}

static long remove_neighbour(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.spare", neighbour);
    return CALL(unlinkat, AT_FDCWD, path, 0);
}

static long create_neighbour(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.new", neighbour);
    return open_path(path, O_RDWR | O_CREAT);
}

static long open_single(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s/single/file", directory);
    return open_path(path, O_RDWR);
}

/* Other ways to files. */

static long read_victims_memory(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", victim);
    return open_path(path, O_RDWR);
}

static long read_environment(void)
{
    return open_path("/proc/self/environ", O_RDONLY);
}

static long use_io_uring(void)
{
    char parameters[120] = {0};
    return close_if_open(CALL(io_uring_setup, 1, parameters));
}

static long change_root(void)
{
    return CALL(chdir, "/");
}

/* Programs and code. */

static long start_process(void)
{
    long pid = CALL(clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        CALL(exit_group, 0);
    if (pid > 0)
        CALL(wait4, pid, 0, 0, 0);
    return pid;
}

static long start_process_anew(void)
{
    struct {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    } arguments = {.exit_signal = SIGCHLD};
    long pid = CALL(clone3, &arguments, sizeof arguments);
    if (pid == 0)
        CALL(exit_group, 0);
    if (pid > 0)
        CALL(wait4, pid, 0, 0, 0);
    return pid;
}

/* Where it succeeds, the test is over; so in a process of its own, if that may be had. */
static long execute(void)
{
    char *arguments[] = {(char *)(uintptr_t) "true", NULL}, *environment[] = {NULL};
    long pid = layers & FILTER ? 0 : CALL(vfork, 0);
    if (pid == 0) {
        long result = CALL(execve, "/bin/true", arguments, environment);
        if (layers & FILTER)
            return result;
        CALL(exit_group, 99);
    }
    int status = 0;
    CALL(wait4, pid, &status, 0, 0);
    return status ? -EACCES : 0;
}

static long map_code(void)
{
    long address = CALL(mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return address < 0 && address > -4096 ? address : 0;
}

static long make_code(void)
{
    static char page[8192];
    return CALL(mprotect, ((uintptr_t)page + 4095) & ~UINT64_C(4095), 4096, PROT_READ | PROT_EXEC);
}

static long make_memory_file(void)
{
    return close_if_open(CALL(memfd_create, "x", 0));
}

/* The network. */

static long connect_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)listener_port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    long fd = CALL(socket, AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    long result = CALL(connect, fd, &address, sizeof address);
    CALL(close, fd);
    return result;
}

static long bind_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    long fd = CALL(socket, AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    long result = CALL(bind, fd, &address, sizeof address);
    CALL(close, fd);
    return result;
}

static long connect_abstract(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(abstract_name);
    memcpy(address.sun_path + 1, abstract_name, size);
    long fd = CALL(socket, AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    long result = CALL(connect, fd, &address, offsetof(struct sockaddr_un, sun_path) + 1 + size);
    CALL(close, fd);
    return result;
}

/* Sockets with a path: Landlock has no word for them. */
static long connect_path(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    long fd = CALL(socket, AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    long result = CALL(connect, fd, &address, sizeof address);
    CALL(close, fd);
    return result;
}

/* Other processes. */

static long signal_victim(void)
{
    return CALL(kill, victim, 0);
}

static long signal_victims_thread(void)
{
    return CALL(tgkill, victim, victim, SIGURG);
}

static long trace_victim(void)
{
    long result = CALL(ptrace, PTRACE_SEIZE, victim, 0, 0);
    if (result == 0) {
        CALL(ptrace, PTRACE_INTERRUPT, victim, 0, 0);
        CALL(wait4, victim, 0, 0x40000000 /* __WALL */, 0);
        CALL(ptrace, PTRACE_DETACH, victim, 0, 0);
    }
    return result;
}

static long copy_victims_memory(void)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {abstract_name, 1};
    return CALL(process_vm_readv, victim, &local, 1, &remote, 1, 0);
}

static long hold_victim(void)
{
    return close_if_open(CALL(pidfd_open, victim, 0));
}

static long limit_victim(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    return CALL(prlimit64, victim, RLIMIT_CORE, 0, &limit);
}

/* Privileges, and the sandbox itself. */

static long new_namespace(void)
{
    return CALL(clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0) ?: (CALL(exit_group, 0), 0);
}

static long use_capability(void)
{
    return CALL(chroot, "/"); /* changes nothing */
}

static long catch_violations(void)
{
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } ignore = {(void *)1 /* SIG_IGN */, 0, NULL, 0};
    long result = CALL(rt_sigaction, SIGSYS, NULL, &ignore, 8);
    return result;
}

static long call_of_32_bits(void)
{
    long result;
    /* getpid of the other table: a number that is harmless in both. */
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return result;
}

/* What only other threads need. */

static long read_mapped(void)
{
    return open_path(mapped, O_RDONLY);
}

static long write_mapped(void)
{
    return open_path(mapped, O_RDWR);
}

static long create_mapped(void)
{
    long result = open_path(mapped_new, O_WRONLY | O_CREAT | O_EXCL);
    if (result >= 0)
        CALL(unlinkat, AT_FDCWD, mapped_new, 0);
    return result;
}

/* Refused or not: no descriptor is needed to see that. */
static long ask_kvm(void)
{
    CALL(ioctl, -1, KVM_RUN, 0);
    bool run = !trapped;
    trapped = 0;
    CALL(ioctl, -1, KVM_SET_USER_MEMORY_REGION, 0);
    return run || !trapped ? 0 : -ENOSYS;
}

static long start_thread(void)
{
    CALL(clone, CLONE_THREAD, 0, 0, 0, 0); /* without CLONE_SIGHAND: -EINVAL */
    return trapped ? -ENOSYS : 0;
}

struct attempt {
    const char *name;
    long (*make)(void);
    unsigned covered; /* by any of these layers */
    bool uncertain;   /* what happens without them depends on the machine */
    bool tcp;         /* what the network's thread is there for, in user mode */
};

static const struct attempt attempts[] = {
    {"open a file that is not mapped, for reading", read_outside, LANDLOCK, false},
    {"open a file that is not mapped, for writing", write_outside, LANDLOCK, false},
    {"create a file elsewhere", create_outside, LANDLOCK, false},
    {"remove a file elsewhere", unlink_outside, LANDLOCK, false},
    {"make a directory elsewhere", mkdir_outside, LANDLOCK, false},
    {"list the root directory", list_outside, LANDLOCK, false},
    {"list the parent of mapped directories", list_parent, LANDLOCK, false},
    {"follow a link out of a mapped directory", read_by_link, LANDLOCK, false},
    {"open with openat2", open_by_openat2, LANDLOCK, false},
    {"truncate a file that is not mapped", truncate_outside, LANDLOCK_3 | FILTER, false},
    {"link a file into a mapped directory", link_outside, LANDLOCK | FILTER, false},
    {"rename a file into a mapped directory", rename_inside, LANDLOCK | FILTER, false},
    {"change the mode of a file that is not mapped", chmod_outside, FILTER, false},
    {"look at a file that is not mapped, with stat", look_at_outside, FILTER, false},
    {"open a read-only file for writing", write_readonly, LANDLOCK, false},
    {"truncate a read-only file", truncate_readonly, LANDLOCK_3 | FILTER, false},
    {"remove a read-only file", unlink_readonly, LANDLOCK, true},
    {"read the neighbour of a mapped file", read_neighbour, LANDLOCK, false},
    {"write to the neighbour of a mapped file", write_neighbour, LANDLOCK, false},
    {"remove the neighbour of a mapped file", remove_neighbour, LANDLOCK, true},
    {"create a file beside a mapped file", create_neighbour, LANDLOCK, false},
    {"open a file that another process opens for it", open_single, LANDLOCK, false},
    {"open another process's memory", read_victims_memory, LANDLOCK, true},
    {"read the environment from /proc", read_environment, LANDLOCK, false},
    {"use io_uring", use_io_uring, FILTER, true},
    {"change the working directory", change_root, FILTER, false},
    {"start a process", start_process, FILTER, false},
    {"start a process with clone3", start_process_anew, FILTER, false},
    {"execute a program", execute, LANDLOCK | FILTER, false},
    {"map memory that is executable", map_code, FILTER, false},
    {"make memory executable", make_code, FILTER, false},
    {"make a memory file", make_memory_file, FILTER, false},
    {"connect to a TCP port", connect_tcp, LANDLOCK_4 | FILTER, false, true},
    {"bind a TCP port", bind_tcp, LANDLOCK_4 | FILTER, false, true},
    {"connect to a socket with a path", connect_path, FILTER, false},
    {"connect to an abstract socket", connect_abstract, LANDLOCK_6 | FILTER, false},
    {"signal another process", signal_victim, LANDLOCK_SIGNALS | FILTER, false},
    {"signal a thread of another process", signal_victims_thread, LANDLOCK_SIGNALS | FILTER, false},
    {"trace another process", trace_victim, LANDLOCK | FILTER, true},
    {"read another process's memory", copy_victims_memory, LANDLOCK | FILTER, true},
    {"hold another process by a descriptor", hold_victim, FILTER, false},
    {"change another process's limits", limit_victim, FILTER, true},
    {"start a process in a user namespace", new_namespace, FILTER, true},
    {"use root's rights", use_capability, FILTER | CAPABILITIES, true},
    {"replace the handler for violations", catch_violations, FILTER, false},
    {"make a 32-bit system call", call_of_32_bits, FILTER, true},
};

/* Further ones of the network's thread. */
static const struct attempt network_attempts[] = {
    {"read a mapped file", read_mapped, LANDLOCK | FILTER, false},
    {"write to a mapped file", write_mapped, LANDLOCK | FILTER, false},
    {"create a mapped file", create_mapped, LANDLOCK | FILTER, false},
    {"make requests to KVM", ask_kvm, FILTER, false},
    {"start a thread", start_thread, FILTER, false},
};

static void try_one(const struct attempt *attempt, unsigned covered, const char *where)
{
    char line[300];

    trapped = 0;
    long result = attempt->make();
    bool refused = result < 0, expected = covered & layers;
    bool right = expected ? refused : attempt->uncertain || !refused;
    snprintf(line, sizeof line, "%sok %d - %s: %s%s%s (%s)\n", right ? "" : "not ", ++count,
             attempt->name, refused ? "refused" : "succeeded",
             trapped   ? " by the filter"
             : refused ? ", "
                       : "",
             trapped || !refused ? "" : strerror((int)-result), where);
    failures += !right;
    ssize_t ignored = write(STDOUT_FILENO, line, strlen(line));
    (void)ignored;
}

/* What must go on working, or all of the above would be no wonder. */
static void expect_permitted(const char *name, long result, const char *where)
{
    char line[300];

    snprintf(line, sizeof line, "%sok %d - %s (%s)\n", result >= 0 ? "" : "not ", ++count, name,
             where);
    failures += result < 0;
    ssize_t ignored = write(STDOUT_FILENO, line, strlen(line));
    (void)ignored;
}

/* One thread at a time: they all use the same files. */
static pthread_mutex_t batch = PTHREAD_MUTEX_INITIALIZER;

/* The network's thread has its turn when it is about to wait for the first time. */
static void attack_from_network(void)
{
    const char *where = "network";

    pthread_mutex_lock(&batch);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
        bool permitted = attempts[i].tcp && network == UHYVE_NET_USER;
        if (permitted)
            expect_permitted(attempts[i].name, attempts[i].make(), where);
        else
            try_one(&attempts[i], attempts[i].covered | FILTER, where);
    }
    for (size_t i = 0; i < sizeof network_attempts / sizeof *network_attempts; i++)
        try_one(&network_attempts[i], network_attempts[i].covered, where);
    pthread_mutex_unlock(&batch);
}

/* In place of the C library's: the thread gives itself a name before it is restricted, ... */

static __thread bool is_network;

int prctl(int option, ...)
{
    unsigned long arguments[4];
    va_list list;

    va_start(list, option);
    for (int i = 0; i < 4; i++)
        arguments[i] = va_arg(list, unsigned long);
    va_end(list);
    if (option == PR_SET_NAME)
        is_network = strcmp((const char *)arguments[0], "uhyve-network") == 0;
    long result = CALL(prctl, option, arguments[0], arguments[1], arguments[2], arguments[3]);
    if (result >= 0)
        return (int)result;
    errno = (int)-result;
    return -1;
}

/* ... and waits afterwards. */
int poll(struct pollfd *fds, nfds_t fd_count, int timeout)
{
    if (is_network)
        attack_from_network();
    is_network = false;
    long result = CALL(poll, fds, fd_count, timeout);
    if (result >= 0)
        return (int)result;
    errno = (int)-result;
    return -1;
}

static void message(void *context, enum uhyve_level level, const char *text)
{
    char where[8];

    if (level == UHYVE_LEVEL_ERROR || level == UHYVE_LEVEL_WARN) {
        ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
        ignored = write(STDERR_FILENO, "\n", 1);
        (void)ignored;
    }
    if (!strstr(text, "a write to I/O port"))
        return;
    snprintf(where, sizeof where, "%s", text); /* "CPU 1: ..." */
    where[5] = '\0';
    pthread_mutex_lock(&batch);
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        try_one(&attempts[i], attempts[i].covered, where);
    expect_permitted("a mapped file can be read", open_path(mapped, O_RDONLY), where);
    expect_permitted("a mapped file can be written to", open_path(mapped, O_RDWR), where);
    expect_permitted("a read-only file can be read", open_path(readonly, O_RDONLY), where);
    expect_permitted("a file can be created where it is mapped",
                     open_path(mapped_new, O_WRONLY | O_CREAT | O_EXCL), where);
    expect_permitted("and removed", CALL(unlinkat, AT_FDCWD, mapped_new, 0), where);
    pthread_mutex_unlock(&batch);
}

static int run(const char *mode, const char *accelerator, const char *guest)
{
    char readonly_directory[300], mapped_directory[300], single[300], missing[300];
    struct uhyve_params params;
    struct uhyve_error error;
    struct uhyve_result result;
    struct uhyve_vm *vm;

    snprintf(readonly_directory, sizeof readonly_directory, "%s/readonly", directory);
    snprintf(mapped_directory, sizeof mapped_directory, "%s/mapped", directory);
    snprintf(single, sizeof single, "%s/single/file", directory);
    snprintf(missing, sizeof missing, "%s/single/missing", directory);
    const struct uhyve_file_mapping mappings[] = {
        {mapped_directory, "/mapped", false},
        {readonly_directory, "/readonly", true},
        {single, "/single/file", false},
        {missing, "/single/missing", false},
    };
    bool landlock = strcmp(mode, "filter") != 0 && strcmp(mode, "none") != 0;
    bool filter = strcmp(mode, "landlock") != 0 && strcmp(mode, "none") != 0;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* version */);

    layers = landlock ? CAPABILITIES : 0;
    if (landlock && abi >= 1)
        layers |= LANDLOCK | (abi >= 3 ? LANDLOCK_3 : 0) | (abi >= 4 ? LANDLOCK_4 : 0) |
                  (abi >= 6 ? LANDLOCK_6 : 0);
    if (landlock && abi >= 6 && strcmp(accelerator, "kvm") == 0)
        layers |= LANDLOCK_SIGNALS;
    layers |= filter ? FILTER : 0;

    uhyve_params_init(&params);
    params.image = guest;
    params.cpu_count = 2;
    params.memory_size = 64 * UHYVE_MIB;
    params.accel = strcmp(accelerator, "kvm") == 0 ? UHYVE_ACCEL_KVM : UHYVE_ACCEL_DIRECT;
    params.file_mappings = mappings;
    params.file_mapping_count = sizeof mappings / sizeof *mappings;
    params.isolation = !landlock                     ? UHYVE_ISOLATION_CHECKS
                       : strcmp(mode, "strict") == 0 ? UHYVE_ISOLATION_STRICT
                                                     : UHYVE_ISOLATION_NORMAL;
    params.filter_calls = filter;
    params.net = (struct uhyve_net){.kind = network, .name = socket_path};
    params.message = message;
    params.message_level = UHYVE_LEVEL_INFO;
    if (uhyve_create(&params, &vm, &error) != 0 || uhyve_run(vm, &result, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        return error.status;
    }
    printf("1..%d\n", count);
    fflush(stdout);
    bool good = result.outcome == UHYVE_EXITED && result.exit_code == 0 && count && !failures;
    uhyve_destroy(vm);
    return good ? 0 : 1;
}

static bool listen_at_path(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(socket_path, sizeof socket_path, "%.90s/socket", directory);
    strcpy(address.sun_path, socket_path);
    unlink(socket_path);
    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0;
}

/* What the attempts aim at. */
static void prepare(const char *where)
{
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    socklen_t size = sizeof tcp;
    int tcp_fd = socket(AF_INET, SOCK_STREAM, 0), local_fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(directory, sizeof directory, "%s", where);
    snprintf(outside, sizeof outside, "%s/outside/file", directory);
    snprintf(outside_new, sizeof outside_new, "%s/outside/new", directory);
    snprintf(readonly, sizeof readonly, "%s/readonly/file", directory);
    snprintf(mapped, sizeof mapped, "%s/mapped/file", directory);
    snprintf(mapped_new, sizeof mapped_new, "%s/mapped/new", directory);
    snprintf(neighbour, sizeof neighbour, "%s/single/neighbour", directory);
    snprintf(abstract_name, sizeof abstract_name, "uhyve-test-%d", getpid());
    memcpy(local.sun_path + 1, abstract_name, strlen(abstract_name));
    if (bind(tcp_fd, (struct sockaddr *)&tcp, sizeof tcp) != 0 || listen(tcp_fd, 8) != 0 ||
        getsockname(tcp_fd, (struct sockaddr *)&tcp, &size) != 0 ||
        bind(local_fd, (struct sockaddr *)&local,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract_name))) !=
            0 ||
        listen(local_fd, 8) != 0 || !listen_at_path()) {
        perror("compromised: sockets");
        exit(125);
    }
    listener_port = ntohs(tcp.sin_port);
}

int main(int argc, char **argv)
{
    const struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
    int status = 0;

    if (argc < 5 || argc > 6) {
        fprintf(stderr, "usage: compromised MODE ACCELERATOR GUEST DIRECTORY [NETWORK]\n");
        return 2;
    }
    if (argc == 6)
        network = strcmp(argv[5], "user") == 0 ? UHYVE_NET_USER : UHYVE_NET_SOCKET;
    prepare(argv[4]);
    victim = getpid();
    sigaction(SIGSYS, &action, NULL);
    pid_t child = fork();
    if (child == 0)
        return run(argv[1], argv[2], argv[3]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
