#include "console/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Buffers handed to one system call; more are taken in several calls. */
#define SINK_VECTORS 16

const struct sandbox_call sink_calls[] = {
    SANDBOX_CALL(writev),
    SANDBOX_CALL(sendmsg), /* sockets */
    SANDBOX_CALL(poll),
    SANDBOX_END,
};

void sink_open(struct sink *sink, int fd, int stop_fd)
{
    *sink = (struct sink){.kind = SINK_POLLED, .fd = fd, .stop_fd = stop_fd};
    struct stat status;
    if (fd < 0) {
        sink->kind = SINK_NONE;
    } else if (fstat(fd, &status) < 0) {
        return;
    } else if (S_ISREG(status.st_mode)) {
        sink->kind = SINK_FILE;
    } else if (S_ISSOCK(status.st_mode)) {
        sink->kind = SINK_SOCKET;
    } else if (S_ISFIFO(status.st_mode) || isatty(fd)) {
        char path[sizeof "/proc/self/fd/" + 3 * sizeof fd];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own >= 0) {
            sink->kind = SINK_DIRECT;
            sink->fd = own;
        }
    }
}

void sink_close(struct sink *sink)
{
    if (sink->kind == SINK_DIRECT)
        close(sink->fd);
    sink->kind = SINK_NONE;
}

/* Wait until the sink takes bytes: 0, or -EINTR if the VM has stopped and it does not. */
static int sink_wait(const struct sink *sink)
{
    struct pollfd fds[] = {
        {.fd = sink->fd, .events = POLLOUT},
        {.fd = sink->stop_fd, .events = POLLIN},
    };
    while (poll(fds, 2, -1) < 0)
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    return fds[0].revents ? 0 : -EINTR; /* the write tells what an error event means */
}

static bool sink_stopped(const struct sink *sink)
{
    struct pollfd stop = {.fd = sink->stop_fd, .events = POLLIN};
    return poll(&stop, 1, 0) > 0;
}

/* Where the next byte comes from. */
struct position {
    const struct iovec *iov;
    size_t count;
    size_t offset; /* into iov[0] */
};

static void position_advance(struct position *at, size_t size)
{
    at->offset += size;
    while (at->count && at->offset >= at->iov->iov_len) {
        at->offset -= at->iov->iov_len;
        at->iov++, at->count--;
    }
}

/* One system call: bytes written, or -errno. */
static ssize_t sink_write_some(const struct sink *sink, const struct position *at)
{
    struct iovec vectors[SINK_VECTORS];
    size_t count = 0, room = sink->kind == SINK_POLLED ? PIPE_BUF : SSIZE_MAX;
    for (; count < SINK_VECTORS && count < at->count && room; count++) {
        const struct iovec *from = &at->iov[count];
        size_t skip = count ? 0 : at->offset, size = from->iov_len - skip;
        size = size < room ? size : room;
        vectors[count] = (struct iovec){(char *)from->iov_base + skip, size};
        room -= size;
    }
    ssize_t size;
    if (sink->kind == SINK_SOCKET) {
        struct msghdr message = {.msg_iov = vectors, .msg_iovlen = count};
        size = sendmsg(sink->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        size = writev(sink->fd, vectors, (int)count);
    }
    return size < 0 ? -errno : size;
}

int sink_write(const struct sink *sink, const struct iovec *iov, size_t count, size_t *written)
{
    struct position at = {.iov = iov, .count = count};
    *written = 0;
    position_advance(&at, 0); /* over empty buffers */
    while (at.count) {
        int err = sink->kind == SINK_POLLED ? sink_wait(sink) : 0;
        if (err)
            return err;
        ssize_t size = sink->kind == SINK_NONE ? (ssize_t)(at.iov->iov_len - at.offset)
                                               : sink_write_some(sink, &at);
        if (size == -EAGAIN)
            size = sink_wait(sink);
        else if (size == -EINTR)
            size = sink_stopped(sink) ? -EINTR : 0;
        else if (size == 0)
            return -EIO; /* a device that takes nothing: trying again would never end */
        if (size < 0)
            return (int)size;
        *written += (size_t)size;
        position_advance(&at, (size_t)size);
    }
    return 0;
}
