/*
 * The back end `socket`: a UNIX stream socket on which each frame follows its length, four bytes in
 * network order. passt and QEMU's "stream" network speak this; so do switches made for QEMU.
 *
 * The other side listens; it is connected to once, at the start: a process that may connect to
 * sockets of its choice later on is not confined. When the other side is gone the guest's cable is
 * as good as pulled, and a message says so.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/pump.h"
#include "net/user.h"
#include "util/error.h"

#define MTU         1500
#define FRAME_MAX   (14 + 4 + MTU)
#define LENGTH_SIZE 4
#define BUFFER_SIZE (128 * 1024)
#define LENGTH_MAX  (64 * 1024) /* longer frames are no frames: the stream is out of step */

/* Bytes between the stream and the rings. */
struct stream_buffer {
    size_t start, end;
    uint8_t bytes[BUFFER_SIZE];
};

struct stream {
    struct pump pump;
    const struct log *log;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    int fd;       /* -1: the other side is gone */
    bool stalled; /* the ring was full before the input was empty */
    size_t poll_index;
    struct stream_buffer in, out;
};

const struct sandbox_call socket_calls[] = {
    SANDBOX_CALL(recvfrom),
    SANDBOX_CALL(sendto, SANDBOX_EQUAL(4, 0)), /* to nobody but the other side */
    SANDBOX_END,
};

static void lose(struct stream *stream, const char *why)
{
    log_warn(stream->log, "the network of the guest has ended: socket '%s': %s", stream->path, why);
    close(stream->fd);
    stream->fd = -1;
}

static int stream_prepare(struct pump *pump)
{
    struct stream *stream = (struct stream *)pump;
    short events = 0;

    stream->poll_index = 0;
    if (stream->fd < 0)
        return PUMP_FOREVER;
    pump->blocked = stream->out.start < stream->out.end;
    if (!pump->choked)
        events |= POLLIN;
    if (pump->blocked)
        events |= POLLOUT;
    /* Without any interest a hang-up would still be reported, again and again. */
    if (events)
        stream->poll_index = pump_add_poll(pump, stream->fd, events);
    return stream->stalled && !pump->choked ? 0 : PUMP_FOREVER;
}

/* Take whole frames out of the input, as long as there is room for them. False if it does not look
 * like frames. */
static bool parse_input(struct stream *stream)
{
    struct stream_buffer *in = &stream->in;

    stream->stalled = false;
    while (in->end - in->start >= LENGTH_SIZE && !stream->stalled) {
        uint32_t length;
        memcpy(&length, in->bytes + in->start, LENGTH_SIZE);
        length = ntohl(length);
        if (length > LENGTH_MAX)
            return false;
        if (in->end - in->start - LENGTH_SIZE < length)
            break;
        const struct iovec iov = {in->bytes + in->start + LENGTH_SIZE, length};
        /* One that is too large for the guest is lost. */
        stream->stalled = length <= FRAME_MAX &&
                          frame_ring_put(&stream->pump.to_guest, &iov, 1, 0) == -EAGAIN;
        if (!stream->stalled)
            in->start += LENGTH_SIZE + length;
    }
    memmove(in->bytes, in->bytes + in->start, in->end - in->start);
    in->end -= in->start;
    in->start = 0;
    return true;
}

static void read_input(struct stream *stream)
{
    struct stream_buffer *in = &stream->in;
    ssize_t size = recv(stream->fd, in->bytes + in->end, sizeof in->bytes - in->end, MSG_DONTWAIT);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        lose(stream, size < 0 ? strerror(errno) : "the other side has closed it");
        return;
    }
    in->end += (size_t)size;
    if (!parse_input(stream))
        lose(stream, "what comes is not frames with their lengths");
}

/* Put frames of the guest into the output as long as there is room. False if there are none. */
static bool fill_output(struct stream *stream)
{
    struct stream_buffer *out = &stream->out;

    out->start = out->end = 0;
    while (sizeof out->bytes - out->end >= LENGTH_SIZE + FRAME_MAX) {
        const struct iovec iov = {out->bytes + out->end + LENGTH_SIZE, FRAME_MAX};
        ssize_t size = frame_ring_take(&stream->pump.to_host, &iov, 1, 0);
        if (size <= 0)
            break;
        uint32_t length = htonl((uint32_t)size);
        memcpy(out->bytes + out->end, &length, LENGTH_SIZE);
        out->end += LENGTH_SIZE + (size_t)size;
    }
    return out->end > 0;
}

/* One buffer at a time: it is the guest's turn to wait when the other side does not read. */
static void write_output(struct stream *stream)
{
    struct stream_buffer *out = &stream->out;

    if (out->start == out->end && !fill_output(stream))
        return;
    while (out->start < out->end) {
        ssize_t size = send(stream->fd, out->bytes + out->start, out->end - out->start,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && errno == EAGAIN)
            return;
        if (size < 0) {
            lose(stream, strerror(errno));
            return;
        }
        out->start += (size_t)size;
    }
}

static void stream_work(struct pump *pump)
{
    struct stream *stream = (struct stream *)pump;

    short events = stream->poll_index ? pump->polls[stream->poll_index].revents : 0;

    if (!pump->choked && stream->stalled)
        parse_input(stream);
    if (!pump->choked && !stream->stalled && events & ~POLLOUT)
        read_input(stream);
    if (stream->fd >= 0) {
        write_output(stream);
    } else {
        /* Nobody is there: frames of the guest get lost. */
        fill_output(stream);
        stream->out.start = stream->out.end = 0;
        pump->blocked = false;
    }
}

static const struct pump_ops stream_pump_ops = {.prepare = stream_prepare, .work = stream_work};

static void stream_close(struct net_backend *net)
{
    struct stream *stream = (struct stream *)net;

    pump_stop(&stream->pump);
    if (stream->fd >= 0)
        close(stream->fd);
    pump_release(&stream->pump);
    free(stream);
}

static const struct net_ops stream_ops = {
    .name = "socket",
    .calls = socket_calls,
    .start = pump_start,
    .send = pump_send,
    .receive = pump_receive,
    .close = stream_close,
};

static int connect_stream(struct stream *stream, const char *path, struct uhyve_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return error_set(error, UHYVE_STATUS_USAGE, ENAMETOOLONG,
                         "the path of a socket can have %zu bytes at most: '%s'",
                         sizeof address.sun_path - 1, path);
    strcpy(address.sun_path, path);
    strcpy(stream->path, path);
    stream->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (stream->fd >= 0 && connect(stream->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return 0;
    int err = errno;
    const char *remedy = err == ENOENT || err == ECONNREFUSED
                             ? "start the other side first, for example: passt --socket PATH"
                             : "check the path and its permissions";
    return error_set(error, UHYVE_STATUS_FAILED, err, "cannot connect to socket '%s': %s (%s)",
                     path, strerror(err), remedy);
}

int net_socket_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
                    struct uhyve_error *error)
{
    struct stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    stream->fd = -1;
    stream->log = log;
    stream->pump.net.ops = &stream_ops;
    stream->pump.net.info = (struct net_info){
        .mtu = MTU,
        .frame_max = sizeof(struct net_header) + FRAME_MAX,
    };
    int err = pump_init(&stream->pump, &stream_pump_ops);
    if (err)
        error_set(error, UHYVE_STATUS_FAILED, -err, "cannot make a network: %s (%s)",
                  strerror(-err), error_remedy(-err, "is there enough memory?"));
    else
        err = connect_stream(stream, config->name, error);
    if (err) {
        stream_close(&stream->pump.net);
        return err;
    }
    *net = &stream->pump.net;
    return 0;
}
