/*
 * Fuzz target: the other side of a network socket (net/socket.c). It sends anything, in pieces of
 * any size, and reads its side or not; the guest takes frames when it likes and sends some. What
 * arrives at the guest must be what a second reader of the same stream finds in it, in order; and
 * what the guest sends must arrive framed, whole and in order.
 *
 * Input: steps of 3 bytes: what to do (1 byte), how much (2 bytes). The bytes that are sent follow
 * each step that sends.
 *
 * The pump's thread is not started: this thread does its work, so that a run is the same each time.
 */
#include "net/socket.c" /* its insides are what is of interest */

#include <fcntl.h>

#include "fuzz.h"
#include "input.h"

#define STEPS_MAX 300
#define STORY_MAX (256 * 1024)

static struct world {
    struct stream *stream;
    struct log log;
    int peer;
    unsigned messages;
    uint8_t sent[STORY_MAX]; /* by the other side */
    size_t sent_size, read;  /* of which a second reader has looked at so much */
    bool out_of_step;        /* that reader knows that these are no frames */
    unsigned guest_sent, peer_got;
    uint8_t partial[LENGTH_SIZE + FRAME_MAX]; /* a frame that has not yet come whole */
    size_t partial_size;
} world;

static void count_message(void *context, enum uhyve_level level, const char *text)
{
    require(text[0] && !strchr(text, '\n'));
    world.messages++;
}

/* The next frame that the guest is to see; false if there is none yet, or the stream is no good. */
static bool next_frame(const uint8_t **frame, uint32_t *size)
{
    for (;;) {
        size_t left = world.sent_size - world.read;
        uint32_t length;
        if (left < LENGTH_SIZE)
            return false;
        memcpy(&length, world.sent + world.read, LENGTH_SIZE);
        length = ntohl(length);
        world.out_of_step = length > LENGTH_MAX;
        if (world.out_of_step || left - LENGTH_SIZE < length)
            return false;
        *frame = world.sent + world.read + LENGTH_SIZE;
        *size = length;
        world.read += LENGTH_SIZE + length;
        if (length > 0 && length <= FRAME_MAX)
            return true;
    }
}

static void guest_receives(unsigned count)
{
    static uint8_t buffer[sizeof(struct net_header) + FRAME_MAX];
    const struct iovec iov[] = {{buffer, 20}, {buffer + 20, sizeof buffer - 20}};
    const uint8_t *frame;
    uint32_t expected;

    for (unsigned i = 0; i < count; i++) {
        ssize_t size = frame_ring_take(&world.stream->pump.to_guest, iov, 2,
                                       sizeof(struct net_header));
        if (size < 0)
            return;
        require(next_frame(&frame, &expected));
        require((size_t)size == sizeof(struct net_header) + expected);
        require(memcmp(buffer + sizeof(struct net_header), frame, expected) == 0);
    }
}

static void guest_sends(unsigned size)
{
    uint8_t frame[FRAME_MAX + 16];
    const struct iovec iov = {frame, size % sizeof frame};

    memset(frame, (int)(world.guest_sent & 0xff), sizeof frame);
    int err = frame_ring_put(&world.stream->pump.to_host, &iov, 1, 0);
    require(err == 0 || err == -EAGAIN || (err == -EMSGSIZE && (!iov.iov_len || iov.iov_len > 14)));
    world.guest_sent += err == 0;
}

static void peer_sends(struct input *input, size_t size)
{
    struct input bytes = take_bytes(input, size);

    if (world.peer < 0 || bytes.size > STORY_MAX - world.sent_size)
        return;
    ssize_t done = send(world.peer, bytes.bytes, bytes.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done > 0)
        memcpy(world.sent + world.sent_size, bytes.bytes, (size_t)done);
    world.sent_size += done > 0 ? (size_t)done : 0;
}

/* Each frame is filled with its number. */
static void check_arrival(void)
{
    for (;;) {
        uint32_t length;
        if (world.partial_size < LENGTH_SIZE)
            return;
        memcpy(&length, world.partial, LENGTH_SIZE);
        length = ntohl(length);
        require(length > 0 && length <= FRAME_MAX);
        if (world.partial_size - LENGTH_SIZE < length)
            return;
        for (uint32_t i = 0; i < length; i++)
            require(world.partial[LENGTH_SIZE + i] == (world.peer_got & 0xff));
        world.peer_got++;
        world.partial_size -= LENGTH_SIZE + length;
        memmove(world.partial, world.partial + LENGTH_SIZE + length, world.partial_size);
    }
}

static void peer_reads(size_t size)
{
    while (size && world.peer >= 0) {
        size_t room = sizeof world.partial - world.partial_size, part = size < room ? size : room;
        ssize_t got = recv(world.peer, world.partial + world.partial_size, part, MSG_DONTWAIT);
        if (got <= 0)
            return;
        size -= (size_t)got;
        world.partial_size += (size_t)got;
        check_arrival();
    }
}

/* One round of the pump. */
static void work(void)
{
    struct pump *pump = &world.stream->pump;

    pump->choked = frame_ring_count(&pump->to_guest) == FRAME_RING_SLOTS;
    pump->poll_count = 1;
    require(stream_prepare(pump) <= 0);
    pump->ready = poll(pump->polls + 1, pump->poll_count - 1, 0);
    stream_work(pump);
    require(world.stream->in.start <= world.stream->in.end);
    require(world.stream->in.end <= BUFFER_SIZE && world.stream->out.end <= BUFFER_SIZE);
}

static void step(struct input *input)
{
    uint64_t what = take(input, 1), size = take(input, 2);

    switch (what % 6) {
    case 0:
        peer_sends(input, size);
        work();
        break;
    case 1:
        work();
        break;
    case 2:
        guest_receives((unsigned)size % 300);
        break;
    case 3:
        for (uint64_t i = 0; i < what / 6 + 1; i++)
            guest_sends((unsigned)size);
        break;
    case 4:
        peer_reads(size);
        break;
    case 5:
        if (size % 16 == 0 && world.peer >= 0) {
            close(world.peer);
            world.peer = -1;
        }
        break;
    }
}

static struct stream *make_stream(int fd)
{
    struct stream *stream = calloc(1, sizeof *stream);

    require(stream != NULL);
    stream->fd = fd;
    stream->log = &world.log;
    /* There is no process that would connect again. */
    stream->connector.socket = -1;
    stream->connected_at = INT64_MAX;
    stream->pump.net.ops = &stream_ops;
    stream->pump.net.info.frame_max = sizeof(struct net_header) + FRAME_MAX;
    require(pump_init(&stream->pump, &stream_pump_ops) == 0);
    return stream;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {bytes, size};
    int ends[2];

    world.log = (struct log){count_message, NULL, UHYVE_LEVEL_WARN};
    world.messages = world.guest_sent = world.peer_got = 0;
    world.sent_size = world.read = world.partial_size = 0;
    world.out_of_step = false;
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    world.stream = make_stream(ends[0]);
    world.peer = ends[1];
    for (unsigned i = 0; i < STEPS_MAX && input.size; i++)
        step(&input);
    /* Everything that is on its way arrives, unless the connection has ended. */
    for (unsigned i = 0; i < 64; i++) {
        work();
        guest_receives(FRAME_RING_SLOTS);
        peer_reads(STORY_MAX);
    }
    const uint8_t *frame;
    uint32_t length;
    if (world.stream->fd >= 0)
        require(!next_frame(&frame, &length) && world.peer_got == world.guest_sent);
    require(world.messages == (world.stream->fd < 0));
    require(!world.out_of_step || world.stream->fd < 0);
    stream_close(&world.stream->pump.net);
    if (world.peer >= 0)
        close(world.peer);
    return 0;
}
