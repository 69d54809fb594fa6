#include "sandbox/helper.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef UHYVE_COVERAGE
#include <gcov.h>
#endif

/* Ancillary data for one descriptor. */
union passing {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

static void __attribute__((noreturn)) leave(void)
{
#ifdef UHYVE_COVERAGE
    __gcov_dump();
#endif
    for (;;)
        syscall(SYS_exit_group, 0);
}

void helper_answer(int socket, int result, int fd)
{
    struct iovec iov = {&result, sizeof result};
    union passing passing = {.header = {.cmsg_level = SOL_SOCKET,
                                        .cmsg_type = SCM_RIGHTS,
                                        .cmsg_len = CMSG_LEN(sizeof fd)}};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

    if (fd >= 0) {
        memcpy(CMSG_DATA(&passing.header), &fd, sizeof fd);
        message.msg_control = &passing;
        message.msg_controllen = sizeof passing;
    }
    while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
        if (errno == EINTR)
            continue;
        /* The VMM waits: for the answer without the descriptor, or for the end of the socket. */
        if (!message.msg_control)
            leave();
        result = -errno;
        message.msg_control = NULL;
        message.msg_controllen = 0;
    }
}

/* What errno says, on the VMM's side. */
static int failure(void)
{
    return errno == EPIPE || errno == ECONNRESET ? -EIO : -errno;
}

int helper_send(const struct helper *helper, const void *request, size_t size)
{
    ssize_t sent;

    while ((sent = sendto(helper->socket, request, size, MSG_NOSIGNAL, NULL, 0)) < 0 &&
           errno == EINTR)
        ;
    return sent < 0 ? failure() : 0;
}

int helper_receive(struct helper *helper)
{
    int result, fd = -1;
    struct iovec iov = {&result, sizeof result};
    union passing passing;
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &passing,
        .msg_controllen = sizeof passing,
    };
    ssize_t size;

    if (helper->lost)
        return -EIO;
    while ((size = recvmsg(helper->socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (size != sizeof result) {
        helper->lost = true;
        return size < 0 ? failure() : -EIO;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd >= 0 ? fd : result;
}

/* The next descriptor from `first` on that the process needs; INT_MAX: none. */
static int next_needed(const struct helper_job *job, int socket, int first)
{
    int next = socket >= first ? socket : INT_MAX;

    for (size_t i = 0; i < job->fd_count; i++)
        if (job->fds[i] >= first && job->fds[i] < next)
            next = job->fds[i];
    return next;
}

static int close_others(const struct helper_job *job, int socket)
{
    for (int first = 0;;) {
        int next = next_needed(job, socket, first);
        if (next > first && syscall(SYS_close_range, first, next - 1, 0) != 0)
            return -errno;
        if (next == INT_MAX)
            return 0;
        first = next + 1;
    }
}

/* Signals to the process group are the VMM's affair; this process ends with its socket. */
static void __attribute__((noreturn)) run(const struct helper_job *job, int socket)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, job->name);
    int err = close_others(job, socket);
    if (!err)
        err = job->restrict_itself(job->context);
    helper_answer(socket, err, -1);
    if (!err)
        job->serve(socket, job->context);
    leave();
}

/*
 * Other threads of the program may hold locks at this moment, for ever as far as the copy is
 * concerned: it calls nothing that takes one. That is more than sanitizers can promise, whose
 * runtime must know of the copy.
 *
 * Signals are blocked: Linux hands a SIGSTOP for the process group on to a process that is just
 * being made, but takes it back at SIGCONT only if that is not ignored by the maker, and what is
 * blocked is not. The copy would stay stopped.
 *
 * No signal at its end: the program's own handling of children must not notice this one.
 */
static pid_t copy_process(void)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
#ifdef UHYVE_SANITIZED
    pid_t pid = fork();
#else
    pid_t pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
#endif
    if (pid != 0) {
        int err = errno;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        errno = err;
    }
    return pid;
}

int helper_start(struct helper *helper, const struct helper_job *job)
{
    int sockets[2];

    *helper = (struct helper){.socket = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0)
        return -errno;
    helper->socket = sockets[0];
    helper->pid = copy_process();
    if (helper->pid == 0)
        run(job, sockets[1]);
    int err = helper->pid < 0 ? -errno : 0;
    close(sockets[1]);
    return err ? err : helper_receive(helper);
}

void helper_stop(struct helper *helper)
{
    int status;

    if (helper->socket >= 0)
        close(helper->socket);
    if (helper->pid > 0)
        while (waitpid(helper->pid, &status, __WALL) < 0 && errno == EINTR)
            ;
    *helper = (struct helper){.socket = -1};
}
