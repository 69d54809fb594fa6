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
#include "compromised.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "uhyve.h"

struct target target;
unsigned layers;
__thread volatile sig_atomic_t trapped;

static enum uhyve_net_kind network;
static int failures, count;

/* The filter's signal; the call has done nothing. */
static void on_sigsys(int number, siginfo_t *info, void *context)
{
    ucontext_t *machine = context;

    trapped = 1;
    machine->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

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

static void try_all(const struct attempt *attempts, size_t attempt_count, const char *where)
{
    for (size_t i = 0; i < attempt_count; i++)
        try_one(&attempts[i], attempts[i].covered, where);
}

/* The same on the network's thread: there the filter covers all but what it is there for. */
static void try_all_from_network(const struct attempt *attempts, size_t attempt_count,
                                 const char *where)
{
    for (size_t i = 0; i < attempt_count; i++) {
        if (attempts[i].tcp && network == UHYVE_NET_USER)
            expect_permitted(attempts[i].name, attempts[i].make(), where);
        else
            try_one(&attempts[i], attempts[i].covered | FILTER, where);
    }
}

/* One thread at a time: they all use the same files. */
static pthread_mutex_t batch = PTHREAD_MUTEX_INITIALIZER;

/* The network's thread has its turn when it is about to wait for the first time. */
static void attack_from_network(void)
{
    const char *where = "network";

    pthread_mutex_lock(&batch);
    try_all_from_network(file_attempts, file_attempt_count, where);
    try_all_from_network(system_attempts, system_attempt_count, where);
    try_all(network_attempts, network_attempt_count, where);
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
    try_all(file_attempts, file_attempt_count, where);
    try_all(system_attempts, system_attempt_count, where);
    expect_permitted("a mapped file can be read", open_path(target.mapped, O_RDONLY), where);
    expect_permitted("a mapped file can be written to", open_path(target.mapped, O_RDWR), where);
    expect_permitted("a read-only file can be read", open_path(target.readonly, O_RDONLY), where);
    expect_permitted("a file can be created where it is mapped",
                     open_path(target.mapped_new, O_WRONLY | O_CREAT | O_EXCL), where);
    expect_permitted("and removed", CALL(unlinkat, AT_FDCWD, target.mapped_new, 0), where);
    pthread_mutex_unlock(&batch);
}

static int run(const char *mode, const char *accelerator, const char *guest)
{
    char readonly_directory[300], mapped_directory[300], single[300], missing[300];
    struct uhyve_params params;
    struct uhyve_error error;
    struct uhyve_result result;
    struct uhyve_vm *vm;

    snprintf(readonly_directory, sizeof readonly_directory, "%s/readonly", target.directory);
    snprintf(mapped_directory, sizeof mapped_directory, "%s/mapped", target.directory);
    snprintf(single, sizeof single, "%s/single/file", target.directory);
    snprintf(missing, sizeof missing, "%s/single/missing", target.directory);
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
    params.net = (struct uhyve_net){.kind = network, .name = target.socket_path};
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

    snprintf(target.socket_path, sizeof target.socket_path, "%.90s/socket", target.directory);
    strcpy(address.sun_path, target.socket_path);
    unlink(target.socket_path);
    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0;
}

/* What the attempts aim at. */
static void prepare(const char *where)
{
    struct sockaddr_in tcp = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    socklen_t size = sizeof tcp;
    int tcp_fd = socket(AF_INET, SOCK_STREAM, 0), local_fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(target.directory, sizeof target.directory, "%s", where);
    snprintf(target.outside, sizeof target.outside, "%s/outside/file", target.directory);
    snprintf(target.outside_new, sizeof target.outside_new, "%s/outside/new", target.directory);
    snprintf(target.readonly, sizeof target.readonly, "%s/readonly/file", target.directory);
    snprintf(target.mapped, sizeof target.mapped, "%s/mapped/file", target.directory);
    snprintf(target.mapped_new, sizeof target.mapped_new, "%s/mapped/new", target.directory);
    snprintf(target.neighbour, sizeof target.neighbour, "%s/single/neighbour", target.directory);
    snprintf(target.abstract_name, sizeof target.abstract_name, "uhyve-test-%d", getpid());
    memcpy(local.sun_path + 1, target.abstract_name, strlen(target.abstract_name));
    if (bind(tcp_fd, (struct sockaddr *)&tcp, sizeof tcp) != 0 || listen(tcp_fd, 8) != 0 ||
        getsockname(tcp_fd, (struct sockaddr *)&tcp, &size) != 0 ||
        bind(local_fd, (struct sockaddr *)&local,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                         strlen(target.abstract_name))) != 0 ||
        listen(local_fd, 8) != 0 || !listen_at_path()) {
        perror("compromised: sockets");
        exit(125);
    }
    target.listener_port = ntohs(tcp.sin_port);
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
    target.victim = getpid();
    sigaction(SIGSYS, &action, NULL);
    pid_t child = fork();
    if (child == 0)
        return run(argv[1], argv[2], argv[3]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return 125;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
