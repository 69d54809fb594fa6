/* What compromised.c tries with programs, sockets, other processes and its own restrictions. */
#include "compromised.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

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

static long use_socket(int family, long number, const void *address, size_t size)
{
    long fd = CALL(socket, family, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    long result = CALL_(number, fd, address, size, 0, 0, 0);
    CALL(close, fd);
    return result;
}

static long connect_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)target.listener_port),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return use_socket(AF_INET, SYS_connect, &address, sizeof address);
}

static long bind_tcp(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return use_socket(AF_INET, SYS_bind, &address, sizeof address);
}

static long connect_abstract(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(target.abstract_name);
    memcpy(address.sun_path + 1, target.abstract_name, size);
    return use_socket(AF_UNIX, SYS_connect, &address,
                      offsetof(struct sockaddr_un, sun_path) + 1 + size);
}

/* Sockets with a path: Landlock has no word for them. */
static long connect_path(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", target.socket_path);
    return use_socket(AF_UNIX, SYS_connect, &address, sizeof address);
}

/* Other processes. */

static long signal_victim(void)
{
    return CALL(kill, target.victim, 0);
}

static long signal_victims_thread(void)
{
    return CALL(tgkill, target.victim, target.victim, SIGURG);
}

static long trace_victim(void)
{
    long result = CALL(ptrace, PTRACE_SEIZE, target.victim, 0, 0);
    if (result == 0) {
        CALL(ptrace, PTRACE_INTERRUPT, target.victim, 0, 0);
        CALL(wait4, target.victim, 0, 0x40000000 /* __WALL */, 0);
        CALL(ptrace, PTRACE_DETACH, target.victim, 0, 0);
    }
    return result;
}

static long copy_victims_memory(void)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {target.abstract_name, 1};
    return CALL(process_vm_readv, target.victim, &local, 1, &remote, 1, 0);
}

static long hold_victim(void)
{
    return close_if_open(CALL(pidfd_open, target.victim, 0));
}

static long limit_victim(void)
{
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    return CALL(prlimit64, target.victim, RLIMIT_CORE, 0, &limit);
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
    return open_path(target.mapped, O_RDONLY);
}

static long write_mapped(void)
{
    return open_path(target.mapped, O_RDWR);
}

static long create_mapped(void)
{
    long result = open_path(target.mapped_new, O_WRONLY | O_CREAT | O_EXCL);
    if (result >= 0)
        CALL(unlinkat, AT_FDCWD, target.mapped_new, 0);
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

const struct attempt system_attempts[] = {
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
const size_t system_attempt_count = sizeof system_attempts / sizeof *system_attempts;

const struct attempt network_attempts[] = {
    {"read a mapped file", read_mapped, LANDLOCK | FILTER, false},
    {"write to a mapped file", write_mapped, LANDLOCK | FILTER, false},
    {"create a mapped file", create_mapped, LANDLOCK | FILTER, false},
    {"make requests to KVM", ask_kvm, FILTER, false},
    {"start a thread", start_thread, FILTER, false},
};
const size_t network_attempt_count = sizeof network_attempts / sizeof *network_attempts;
