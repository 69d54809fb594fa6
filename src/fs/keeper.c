#include "fs/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/files.h"
#include "fs/host_root.h"
#include "sandbox/filter.h"
#include "sandbox/helper.h"
#include "sandbox/landlock.h"
#include "util/error.h"
#include "util/thread.h"

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
    struct helper process;
    pthread_mutex_t lock; /* held from a request to its answer */
};

/* The process. */

struct service {
    struct host_root *const *roots;
    size_t count;
    struct sandbox_path *paths; /* `count` of them */
    int *fds;                   /* the same */
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

static void serve(int socket, void *context)
{
    const struct service *service = context;
    struct request request;

    for (;;) {
        ssize_t size = recv(socket, &request, sizeof request, 0);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0)
            return;
        int result = is_valid(service, &request, size) ? carry_out(service, &request) : -EINVAL;
        bool opened = result >= 0 && request.operation == OPEN_FILE;
        helper_answer(socket, opened ? -EMFILE : result, opened ? result : -1);
        if (opened)
            close(result);
    }
}

static int restrict_itself(void *context)
{
    const struct service *service = context;
    const struct landlock_domain domain = {.paths = service->paths, .path_count = service->count};

    for (size_t i = 0; i < service->count; i++)
        service->paths[i] = (struct sandbox_path){.fd = service->fds[i],
                                                  .rights = SANDBOX_READ | SANDBOX_WRITE |
                                                            SANDBOX_CREATE | SANDBOX_REMOVE};
    int abi = landlock_abi();
    int err = abi < 0 ? abi : landlock_restrict(&domain, abi);
#ifndef UHYVE_SANITIZED
    if (!err && prctl(PR_SET_DUMPABLE, 0) != 0)
        err = -errno;
    if (!err)
        err = filter_install(&keeper_filter, 0, (pid_t)syscall(SYS_getpid), 0);
#endif
    return err;
}

/* The VMM. */

static int ask(struct keeper *keeper, struct request *request, const char *rest)
{
    size_t size = strlen(rest) + 1;

    if (size > sizeof request->rest)
        return -ENAMETOOLONG;
    memcpy(request->rest, rest, size);
    size += offsetof(struct request, rest);
    pthread_mutex_lock(&keeper->lock);
    int result = helper_send(&keeper->process, request, size);
    if (!result)
        result = helper_receive(&keeper->process);
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
    struct service service = {
        .roots = roots,
        .count = count,
        .paths = calloc(count, sizeof *service.paths),
        .fds = calloc(count, sizeof *service.fds),
    };
    const struct helper_job job = {
        .name = "uhyve-files",
        .fds = service.fds,
        .fd_count = count,
        .restrict_itself = restrict_itself,
        .serve = serve,
        .context = &service,
    };
    int err = -ENOMEM;

    if (service.paths && service.fds) {
        for (size_t i = 0; i < count; i++) {
            struct host_root_view view;
            host_root_describe(roots[i], &view);
            service.fds[i] = view.fd;
        }
        err = helper_start(&keeper->process, &job);
    }
    free(service.paths);
    free(service.fds);
    return err;
}

int keeper_start(struct keeper **result, struct host_root *const *roots, size_t count,
                 struct uhyve_error *error)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);
    int err = -ENOMEM;

    if (keeper) {
        keeper->process.socket = -1;
        pthread_mutex_init(&keeper->lock, NULL);
        err = start(keeper, roots, count);
    }
    if (err) {
        keeper_stop(keeper);
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot start the process that opens single mapped files: %s (map their "
                         "directories instead, or %s)",
                         strerror(-err), error_remedy_of_call(-err, THREAD_REMEDY));
    }
    *result = keeper;
    return 0;
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper)
        return;
    helper_stop(&keeper->process);
    pthread_mutex_destroy(&keeper->lock);
    free(keeper);
}
