#include "fs/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/files.h"
#include "fs/host_root.h"
#include "sandbox/filter.h"
#include "sandbox/landlock.h"
#include "util/error.h"

const struct sandbox_call keeper_calls[] = {SANDBOX_CALL(sendto), SANDBOX_CALL(recvmsg),
                                            SANDBOX_CALL(wait4), SANDBOX_END};

const struct sandbox_call keeper_own_calls[] = {SANDBOX_CALL(recvfrom), SANDBOX_CALL(sendmsg),
                                                SANDBOX_CALL(close), SANDBOX_CALL(exit_group),
                                                SANDBOX_END};

/* Flags that host_root_open_file may be called with. */
#define FLAGS                                                                                      \
    (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_DIRECTORY | O_SYNC | O_DIRECT |         \
     O_NONBLOCK | O_NOCTTY)

enum operation { OPEN_FILE, MAKE_DIRECTORY, UNLINK };

struct request {
    uint32_t operation;
    uint32_t root;
    int32_t flags;
    uint32_t mode;
    char rest[PATH_MAX]; /* sent as far as it is used, with its terminator */
};

struct keeper {
    pid_t pid;
    int socket;
    pthread_mutex_t lock; /* held from a request to its answer */
};

/* Ancillary data for one descriptor. */
union passing {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

/* The process. */

struct service {
    struct host_root *const *roots;
    size_t count;
    struct sandbox_path *paths; /* `count` of them */
    int socket;
};

static bool is_valid(const struct service *service, const struct request *request, ssize_t size)
{
    const ssize_t least = offsetof(struct request, rest) + 1;

    return size >= least && request->rest[size - least] == '\0' && request->root < service->count &&
           !(request->flags & ~FLAGS);
}

static int carry_out(const struct service *service, const struct request *request)
{
    struct host_root *root = service->roots[request->root];

    switch (request->operation) {
    case OPEN_FILE:
        return host_root_open_file(root, request->rest, request->flags, request->mode & 07777);
    case MAKE_DIRECTORY:
        return host_root_mkdir(root, request->rest, request->mode & 07777);
    case UNLINK:
        return host_root_unlink(root, request->rest);
    }
    return -EINVAL;
}

static void answer(const struct service *service, int result, int fd)
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
    while (sendmsg(service->socket, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void serve(const struct service *service)
{
    struct request request;

    for (;;) {
        ssize_t size = recv(service->socket, &request, sizeof request, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return;
        int result = is_valid(service, &request, size) ? carry_out(service, &request) : -EINVAL;
        bool opened = result >= 0 && request.operation == OPEN_FILE;
        answer(service, opened ? 0 : result, opened ? result : -1);
        if (opened)
            close(result);
    }
}

/* The next descriptor from `first` on that the process needs; INT_MAX: none. */
static int next_needed(const struct service *service, int first)
{
    int next = service->socket >= first ? service->socket : INT_MAX;

    for (size_t i = 0; i < service->count; i++) {
        struct host_root_view view;
        host_root_describe(service->roots[i], &view);
        if (view.fd >= first && view.fd < next)
            next = view.fd;
    }
    return next;
}

static int close_others(const struct service *service)
{
    for (int first = 0;;) {
        int next = next_needed(service, first);
        if (next > first && syscall(SYS_close_range, first, next - 1, 0) != 0)
            return -errno;
        if (next == INT_MAX)
            return 0;
        first = next + 1;
    }
}

static int restrict_itself(const struct service *service)
{
    const struct landlock_domain domain = {.paths = service->paths, .path_count = service->count};

    for (size_t i = 0; i < service->count; i++) {
        struct host_root_view view;
        host_root_describe(service->roots[i], &view);
        service->paths[i] = (struct sandbox_path){.fd = view.fd,
                                                  .rights = SANDBOX_READ | SANDBOX_WRITE |
                                                            SANDBOX_CREATE | SANDBOX_REMOVE};
    }
    int err = landlock_restrict(&domain, landlock_abi());
#ifndef UHYVE_SANITIZED
    prctl(PR_SET_DUMPABLE, 0);
    if (!err)
        err = filter_install(&keeper_filter, 0, (pid_t)syscall(SYS_getpid), 0);
#endif
    return err;
}

/* Signals to the process group are the VMM's affair; this process ends with its socket. */
static void __attribute__((noreturn)) run(const struct service *service)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, "uhyve-files");
    int err = close_others(service);
    if (!err)
        err = restrict_itself(service);
    answer(service, err, -1);
    if (!err)
        serve(service);
    for (;;)
        syscall(SYS_exit_group, 0);
}

/* The VMM. */

/*
 * Other threads of the program may hold locks at this moment, for ever as far as the copy is
 * concerned: it calls nothing that takes one. That is more than sanitizers can promise, whose
 * runtime must know of the copy.
 *
 * No signal at its end: the program's own handling of children must not notice this one.
 */
static pid_t copy_process(void)
{
#ifdef UHYVE_SANITIZED
    return fork();
#else
    return (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
#endif
}

/* An answer: its result, or the descriptor that came with it. */
static int receive(int socket)
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

    while ((size = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        ;
    if (size != sizeof result)
        return -EIO;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd >= 0 ? fd : result;
}

static int ask(struct keeper *keeper, struct request *request, const char *rest)
{
    size_t size = strlen(rest) + 1;
    ssize_t sent;

    if (size > sizeof request->rest)
        return -ENAMETOOLONG;
    memcpy(request->rest, rest, size);
    size += offsetof(struct request, rest);
    pthread_mutex_lock(&keeper->lock);
    while ((sent = sendto(keeper->socket, request, size, MSG_NOSIGNAL, NULL, 0)) < 0 &&
           errno == EINTR)
        ;
    int result = sent < 0 ? -EIO : receive(keeper->socket);
    pthread_mutex_unlock(&keeper->lock);
    return result;
}

int keeper_open_file(struct keeper *keeper, uint32_t root, const char *rest, int flags, mode_t mode)
{
    struct request request = {OPEN_FILE, root, flags & FLAGS, mode, ""};
    return ask(keeper, &request, rest);
}

int keeper_mkdir(struct keeper *keeper, uint32_t root, const char *rest, mode_t mode)
{
    struct request request = {MAKE_DIRECTORY, root, 0, mode, ""};
    return ask(keeper, &request, rest);
}

int keeper_unlink(struct keeper *keeper, uint32_t root, const char *rest)
{
    struct request request = {UNLINK, root, 0, 0, ""};
    return ask(keeper, &request, rest);
}

static int start(struct keeper *keeper, struct host_root *const *roots, size_t count)
{
    struct service service = {roots, count, calloc(count, sizeof *service.paths), -1};
    int sockets[2];

    if (!service.paths)
        return -ENOMEM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) {
        int err = -errno;
        free(service.paths);
        return err;
    }
    keeper->socket = sockets[0];
    service.socket = sockets[1];
    keeper->pid = copy_process();
    if (keeper->pid == 0)
        run(&service);
    int err = keeper->pid < 0 ? -errno : 0;
    close(sockets[1]);
    free(service.paths);
    return err ? err : receive(keeper->socket);
}

int keeper_start(struct keeper **result, struct host_root *const *roots, size_t count,
                 struct uhyve_error *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    int err = -ENOMEM;

    if (keeper) {
        keeper->socket = -1;
        pthread_mutex_init(&keeper->lock, NULL);
        err = start(keeper, roots, count);
    }
    if (err) {
        keeper_stop(keeper);
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot start the process that opens single mapped files: %s (map their "
                         "directories instead)",
                         strerror(-err));
    }
    *result = keeper;
    return 0;
}

void keeper_stop(struct keeper *keeper)
{
    int status;

    if (!keeper)
        return;
    if (keeper->socket >= 0)
        close(keeper->socket);
    if (keeper->pid > 0)
        while (waitpid(keeper->pid, &status, __WALL) < 0 && errno == EINTR)
            ;
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
