/*
 * The back end `socket`: a UNIX stream socket on which each frame follows its length, four bytes in
 * network order. passt and QEMU's "stream" network speak this; so do switches made for QEMU.
 *
 * The other side listens. When it goes away, what the guest sends is lost, and a process that may
 * do nothing else (connector.h) tries to connect again, in intervals that grow. The guest is not
 * told: the driver of Hermit's kernels ends in a panic when the card reports a change of its link.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net/connector.h"
#include "net/pump.h"
#include "net/user.h"
#include "util/error.h"
#include "util/thread.h"

#define MTU         1500
#define FRAME_MAX   (14 + 4 + MTU)
#define LENGTH_SIZE 4
#define BUFFER_SIZE (128 * 1024)
#define LENGTH_MAX  (64 * 1024) /* longer frames are no frames: the stream is out of step */

/* Milliseconds between attempts to connect again. A connection that lasts no longer than the
 * longest interval does not shorten it. */
#define RETRY_SHORTEST 50
#define RETRY_LONGEST  5000

/* Bytes between the stream and the rings. */
struct stream_buffer {
    size_t start, end;
    uint8_t bytes[BUFFER_SIZE];
};

struct stream {
    struct pump pump;
    const struct log *log;
    char path[sizeof((struct sockaddr_un *)NULL)->sun_path];
    struct helper connector;
    int fd;               /* -1: the other side is gone */
    int64_t connected_at; /* ms, monotonic */
    int64_t retry_at;
    int interval; /* ms: the next one; 0: it cannot be tried any more */
    bool broken;  /* the user knows that there is no connection ... */
    bool refused; /* ... and that it is not for want of a listener */
    struct log_limit complaints;
    bool stalled; /* the ring was full before the input was empty */
    size_t poll_index;
    struct stream_buffer in, out;
};

const struct sandbox_call socket_calls[] = {
    SANDBOX_CALL(recvfrom),
    SANDBOX_CALL(sendto, SANDBOX_EQUAL(4, 0)), /* to nobody but the other side */
    SANDBOX_CALL(recvmsg),                     /* from the connector */
    SANDBOX_END,
};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void lose(struct stream *stream, const char *why)
{
    int64_t now = now_ms();
    bool last;

    if (!stream->broken && log_limit_pass(&stream->complaints, &last))
        log_warn(stream->log,
                 "the guest's network is interrupted: socket '%s': %s (uhyve goes on trying to "
                 "connect to it)%s",
                 stream->path, why, last ? " (further interruptions are not reported)" : "");
    close(stream->fd);
    stream->fd = -1;
    stream->broken = true;
    stream->in.start = stream->in.end = stream->out.start = stream->out.end = 0;
    stream->stalled = stream->pump.blocked = false;
    if (now - stream->connected_at > RETRY_LONGEST)
        stream->interval = RETRY_SHORTEST;
    stream->retry_at = now + stream->interval;
}

/* Of errors that will pass by themselves nothing is said. */
static void note_failure(struct stream *stream, int err)
{
    if (err == EIO) {
        stream->interval = 0;
        log_warn(stream->log,
                 "the guest's network has ended: the process that connects to socket '%s' is gone",
                 stream->path);
    } else if (!stream->refused && err != ENOENT && err != ECONNREFUSED && err != EAGAIN) {
        stream->refused = true;
        log_warn(stream->log, "cannot connect to socket '%s' again: %s%s", stream->path,
                 strerror(err),
                 err == EACCES ? " (root's capabilities are given up: run the other side as the "
                                 "user who runs uhyve)"
                               : "");
    }
}

static void try_again(struct stream *stream)
{
    int64_t now = now_ms();

    if (!stream->interval || now < stream->retry_at)
        return;
    int result = connector_connect(&stream->connector);
    stream->interval = 2 * stream->interval < RETRY_LONGEST ? 2 * stream->interval : RETRY_LONGEST;
    stream->retry_at = now + stream->interval;
    if (result >= 0) {
        stream->fd = result;
        stream->connected_at = now;
        stream->refused = false;
    } else {
        note_failure(stream, -result);
    }
}

/* A connection that lasts is told of: not one that a listener ends at once, again and again. */
static void note_connection(struct stream *stream)
{
    bool last;

    if (!stream->broken)
        return;
    stream->broken = false;
    if (log_limit_pass(&stream->complaints, &last))
        log_warn(stream->log, "the guest's network is back: socket '%s'%s", stream->path,
                 last ? " (further interruptions are not reported)" : "");
}

/* How long to wait while there is no connection, or nothing has come over it yet. */
static int until_next_step(const struct stream *stream)
{
    int64_t left = stream->retry_at - now_ms();

    if (stream->fd >= 0 || !stream->interval)
        return PUMP_FOREVER;
    return left > 0 ? (int)left : 0;
}

static int stream_prepare(struct pump *pump)
{
    struct stream *stream = (struct stream *)pump;
    short events = 0;

    stream->poll_index = 0;
    if (stream->fd < 0)
        return until_next_step(stream);
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

static void take_input(struct stream *stream)
{
    if (!parse_input(stream))
        lose(stream, "what comes is not frames with their lengths");
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
    note_connection(stream);
    in->end += (size_t)size;
    take_input(stream);
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

    if (stream->fd < 0)
        try_again(stream);
    if (!pump->choked && stream->stalled)
        take_input(stream);
    if (stream->fd >= 0 && !pump->choked && !stream->stalled && events & ~POLLOUT)
        read_input(stream);
    if (stream->fd >= 0) {
        write_output(stream);
    } else {
        /* Nobody is there: frames of the guest get lost. */
        fill_output(stream);
        stream->out.start = stream->out.end = 0;
    }
}

static const struct pump_ops stream_pump_ops = {.prepare = stream_prepare, .work = stream_work};

static int stream_start(struct net_backend *net, const struct net_client *client,
                        struct uhyve_error *error)
{
    struct stream *stream = (struct stream *)net;

    int err = connector_start(&stream->connector, stream->path, client->confine != NULL);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot start the process that connects to socket '%s': %s (%s)",
                         stream->path, strerror(-err), error_remedy_of_call(-err, THREAD_REMEDY));
    return pump_start(net, client, error);
}

static void stream_close(struct net_backend *net)
{
    struct stream *stream = (struct stream *)net;

    pump_stop(&stream->pump);
    helper_stop(&stream->connector);
    if (stream->fd >= 0)
        close(stream->fd);
    pump_release(&stream->pump);
    free(stream);
}

static const struct net_ops stream_ops = {
    .name = "socket",
    .calls = socket_calls,
    .start = stream_start,
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
    stream->fd = stream->connector.socket = -1;
    stream->interval = RETRY_SHORTEST;
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
