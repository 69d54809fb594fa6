#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accel/direct/direct.h"
#include "util/error.h"
#include "util/thread.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

#define CHILD_STACK 16384

/* Once the VM is made: the engine's threads, and the shared words that both sides wait on. */
const struct sandbox_call direct_calls[] = {
    SANDBOX_CALL(futex),
    SANDBOX_CALL(tgkill, SANDBOX_PEER(0)),
    SANDBOX_CALL(kill, SANDBOX_PEER(0)),
    SANDBOX_CALL(sched_setaffinity),
    SANDBOX_CALL(sched_getaffinity),
    SANDBOX_CALL(waitid, SANDBOX_EQUAL(0, P_PID), SANDBOX_PEER(1)),
    SANDBOX_CALL(wait4, SANDBOX_PEER(0)),
    SANDBOX_END,
};

const struct sandbox_call direct_line_calls[] = {
    SANDBOX_CALL(futex),
    SANDBOX_CALL(tgkill, SANDBOX_PEER(0)),
    SANDBOX_END,
};

extern const uint8_t direct_engine_start[], direct_engine_end[];

static int failed(struct uhyve_error *error, int err, const char *what)
{
    return error_set(
        error, UHYVE_STATUS_FAILED, err, "cannot %s for the guest's process: %s (%s)", what,
        strerror(err),
        err == EAGAIN
            ? THREAD_REMEDY
            : error_remedy_of_call(err, "the accelerator 'direct' needs a process of its own"));
}

static int write_engine(int fd)
{
    const uint8_t *from = direct_engine_start;

    while (from < direct_engine_end) {
        ssize_t written = write(fd, from, (size_t)(direct_engine_end - from));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -ENOSPC;
        from += written;
    }
    return 0;
}

/* The engine's program as a descriptor to execute. */
static int open_memory(void)
{
    int fd = memfd_create("uhyve-engine", MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("uhyve-engine", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = write_engine(fd);
    if (err)
        close(fd);
    return err ? err : fd;
}

/* The same as a file in a directory of its own, for systems that refuse to execute memory files
 * (vm.memfd_noexec). Both are removed again at once. */
static int open_file(void)
{
    const char *base = getenv("TMPDIR");
    char directory[256], path[280];
    int fd = -1;

    snprintf(directory, sizeof directory, "%s/uhyve-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(directory))
        return -errno;
    snprintf(path, sizeof path, "%s/engine", directory);
    int out = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    int err = out < 0 ? -errno : write_engine(out);
    if (out >= 0)
        close(out);
    if (!err) {
        fd = open(path, O_RDONLY | O_CLOEXEC);
        err = fd < 0 ? -errno : 0;
    }
    unlink(path);
    rmdir(directory);
    return err ? err : fd;
}

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer takes clone for a fork and, as this child shares the memory, stops watching the
 * parent. */
int __clone(int (*function)(void *), void *stack, int flags, void *argument, ...);
#define clone __clone
#endif

struct child {
    int program_fd;
    int inherited[3];
    char control_number[16];
    bool change_user;
    uid_t uid;
    gid_t gid;
    int error;
};

/*
 * Runs in the VMM's memory, while the VMM's thread waits (CLONE_VFORK): system calls only, made
 * directly, and nothing that a sanitizer would take for something its thread did.
 */
__attribute__((no_sanitize("address", "thread", "undefined"))) static int run_child(void *argument)
{
    struct child *child = argument;
    char name[] = "uhyve-engine";
    char *argv[] = {name, child->control_number, NULL}, *envp[] = {NULL};

    for (unsigned i = 0; i < 3; i++)
        if (syscall(SYS_fcntl, child->inherited[i], F_SETFD, 0) != 0)
            child->error = errno;
    /* Of this thread only. The VMM, which will become the same user, could not signal another's. */
    if (child->change_user && (syscall(SYS_setgroups, 0, NULL) != 0 ||
                               syscall(SYS_setresgid, child->gid, child->gid, child->gid) != 0 ||
                               syscall(SYS_setresuid, child->uid, child->uid, child->uid) != 0))
        child->error = errno;
    if (!child->error) {
        syscall(SYS_execveat, child->program_fd, "", argv, envp, AT_EMPTY_PATH);
        child->error = errno;
    }
    syscall(SYS_exit_group, 127);
    return 127;
}

/* No signal at its end: the program's own handling of children must not notice this one. */
static pid_t spawn(struct child *child)
{
    uint8_t *stack = malloc(CHILD_STACK);
    sigset_t all, old;
    int status;

    if (!stack)
        return -ENOMEM;
    child->error = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = clone(run_child, stack + CHILD_STACK, CLONE_VM | CLONE_VFORK, child);
    int err = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    free(stack);
    if (pid < 0)
        return -err;
    if (child->error) {
        waitpid(pid, &status, __WALL);
        return -child->error;
    }
    return pid;
}

static void *watch(void *argument)
{
    struct accel_vm *vm = argument;
    struct direct_process *process = &vm->process;
    siginfo_t info = {.si_code = CLD_EXITED};

    while (waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOWAIT | __WALL) != 0 &&
           errno == EINTR)
        ;
    process->end_signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
    atomic_store(&process->dead, true);
    vm_engine_died(vm);
    return NULL;
}

int process_watch(struct accel_vm *vm, struct uhyve_error *error)
{
    int err = thread_start(&vm->process.watcher, watch, vm, 0);

    vm->process.watched = err == 0;
    return err ? failed(error, -err, "start a thread") : 0;
}

int process_start(struct accel_vm *vm, const struct accel_vm_config *config,
                  struct uhyve_error *error)
{
    struct direct_process *process = &vm->process;
    int life[2];

    if (pipe2(life, O_CLOEXEC) != 0)
        return failed(error, errno, "create a pipe");
    process->life_fd = life[1];
    vm->header->ram_fd = vm->ram->fd;
    vm->header->life_fd = life[0];
    struct child child = {
        .inherited = {vm->control_fd, vm->ram->fd, life[0]},
        .change_user = config->change_user,
        .uid = config->uid,
        .gid = config->gid,
    };
    snprintf(child.control_number, sizeof child.control_number, "%d", vm->control_fd);

    pid_t pid = -ENOENT;
    static int (*const ways[])(void) = {open_memory, open_file};
    for (unsigned i = 0; i < sizeof ways / sizeof *ways && pid < 0; i++) {
        child.program_fd = ways[i]();
        pid = child.program_fd < 0 ? child.program_fd : spawn(&child);
        if (child.program_fd >= 0)
            close(child.program_fd);
    }
    close(life[0]);
    if (pid < 0)
        return failed(error, -pid, "start the program");
    process->pid = pid;
    return 0;
}

void process_stop(struct direct_process *process)
{
    int status;

    process_signal(process, 0, SIGKILL);
    if (process->watched)
        pthread_join(process->watcher, NULL);
    if (process->pid > 0)
        waitpid(process->pid, &status, __WALL);
    if (process->life_fd >= 0)
        close(process->life_fd);
}

void process_signal(const struct direct_process *process, pid_t tid, int signal)
{
    if (process->pid <= 0)
        return;
    if (tid > 0)
        syscall(SYS_tgkill, process->pid, tid, signal);
    else
        kill(process->pid, signal);
}

void process_describe_death(const struct direct_process *process, char *text, size_t size)
{
    int number = process->end_signal;

    if (number == SIGSYS)
        snprintf(text, size,
                 "the guest's process was ended because it attempted a system call that it has no "
                 "use for");
    else if (number)
        snprintf(text, size, "the guest's process was ended by signal %d (%s)%s", number,
                 strsignal(number),
                 number == SIGKILL ? ", perhaps for want of memory: see dmesg" : "");
    else
        snprintf(text, size, "the guest's process ended by itself");
}
