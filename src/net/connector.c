#include "net/connector.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandbox/filter.h"
#include "sandbox/landlock.h"

const struct sandbox_call connector_own_calls[] = {
    SANDBOX_CALL(socket, SANDBOX_EQUAL(0, AF_UNIX)),
    SANDBOX_CALL(connect),
    SANDBOX_CALL(recvfrom),
    SANDBOX_CALL(sendmsg),
    SANDBOX_CALL(close),
    SANDBOX_CALL(exit_group),
    SANDBOX_END,
};

const struct sandbox_call connector_calls[] = {SANDBOX_CALL(wait4), SANDBOX_END};

struct service {
    struct sockaddr_un address;
    bool restricted;
};

/* Not blocking: the other side may listen without ever accepting. */
static int connect_once(const struct service *service)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 ||
        connect(fd, (const struct sockaddr *)&service->address, sizeof service->address) == 0)
        return fd < 0 ? -errno : fd;
    int err = -errno;
    close(fd);
    return err;
}

static void serve(int socket, void *context)
{
    char request;
    ssize_t size;

    while ((size = recv(socket, &request, sizeof request, 0)) > 0 || (size < 0 && errno == EINTR)) {
        if (size < 0)
            continue;
        int result = connect_once(context);
        helper_answer(socket, result < 0 ? result : -EMFILE, result);
        if (result >= 0)
            close(result);
    }
}

static int restrict_itself(void *context)
{
    const struct service *service = context;
    const struct landlock_domain nothing = {.path_count = 0};
    int abi = landlock_abi(), err = 0;

    if (!service->restricted)
        return 0;
    if (abi > 0)
        err = landlock_restrict(&nothing, abi);
#ifndef UHYVE_SANITIZED
    if (!err && prctl(PR_SET_DUMPABLE, 0) != 0)
        err = -errno;
    if (!err)
        err = filter_install(&connector_filter, 0, 0, 0);
#endif
    return err;
}

int connector_start(struct helper *helper, const char *path, bool restricted)
{
    struct service service = {.address.sun_family = AF_UNIX, .restricted = restricted};
    const struct helper_job job = {
        .name = "uhyve-connect",
        .restrict_itself = restrict_itself,
        .serve = serve,
        .context = &service,
    };

    strncpy(service.address.sun_path, path, sizeof service.address.sun_path - 1);
    return helper_start(helper, &job);
}

int connector_connect(struct helper *helper)
{
    const char request = 0;

    int err = helper_send(helper, &request, sizeof request);
    return err ? err : helper_receive(helper);
}
