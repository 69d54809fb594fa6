/*
 * The back end `user`: a network for which nobody needs to be root. Connections of the guest become
 * sockets of this process, which libslirp sees to (user_slirp.h), on a thread of its own (pump.h).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "net/pump.h"
#include "net/user.h"
#include "net/user_ended.h"
#include "net/user_filter.h"
#include "net/user_slirp.h"
#include "net/wire.h"
#include "util/error.h"

/* More than an Ethernet's, since there is none: data becomes that of the host's sockets. */
#define MTU        16384
#define FRAME_MAX  (14 + 4 + MTU)
#define BATCH      64 /* frames of the guest between two looks at the sockets */
#define TIMERS_MAX 8
#define BUSY_MAX   64

/* Descriptors that connections leave for others. */
#define SPARE_DESCRIPTORS 64
#define NEVER             INT64_MAX
#define MINUTE            60000 /* ms */

/* A walk over libslirp's sockets that takes longer (ns) is put off as long as it would take itself.
 */
#define WALK_CHEAP   4000
#define WALK_LONGEST 500000

struct user_timer {
    bool used;
    int64_t expires; /* ms of the clock below */
    SlirpTimerCb callback;
    void *context;
};

struct user {
    struct pump pump;
    struct user_slirp slirp;
    struct user_filter filter;
    struct user_ended ended;
    int busy[BUSY_MAX]; /* sockets that libslirp has something for */
    size_t busy_count;  /* may be larger */
    size_t connections_max;
    struct user_timer timers[TIMERS_MAX];
    int64_t poll_due; /* ns of the clock below: when libslirp wants to be called at the latest */
    uint8_t frame[FRAME_MAX]; /* on its way to libslirp */
};

/* Callbacks of libslirp, on its thread. */

static ssize_t put_frame(const void *bytes, size_t size, void *context)
{
    struct user *user = context;
    const struct iovec iov = {(void *)(uintptr_t)bytes, size}; /* only read */

    user_filter_note(&user->filter, bytes, size);
    user_ended_from_host(&user->ended, bytes, size);
    /* If there is no room the frame is lost, as on a wire. */
    frame_ring_put(&user->pump.to_guest, &iov, 1, 0);
    return (ssize_t)size;
}

static void ignore_guest_error(const char *text, void *context)
{
}

static int64_t get_clock(void *context)
{
    const struct user *user = context;
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + user->slirp.clock_offset;
}

static void *new_timer(SlirpTimerCb callback, void *timer_context, void *context)
{
    struct user *user = context;

    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (!user->timers[i].used) {
            user->timers[i] = (struct user_timer){true, NEVER, callback, timer_context};
            return &user->timers[i];
        }
    return NULL; /* there is one of them, for router advertisements */
}

static void free_timer(void *timer, void *context)
{
    if (timer)
        ((struct user_timer *)timer)->used = false;
}

static void set_timer(void *timer, int64_t expires, void *context)
{
    if (timer)
        ((struct user_timer *)timer)->expires = expires;
}

static void ignore_fd(int fd, void *context)
{
}

static void note_fd(int fd, void *context)
{
    user_slirp_note_socket(&((struct user *)context)->slirp, fd);
}

static void notify(void *context)
{
    pump_wake(context);
}

static const SlirpCb callbacks = {
    .send_packet = put_frame,
    .guest_error = ignore_guest_error,
    .clock_get_ns = get_clock,
    .timer_new = new_timer,
    .timer_free = free_timer,
    .timer_mod = set_timer,
    .register_poll_fd = note_fd,
    .unregister_poll_fd = ignore_fd,
    .notify = notify,
};

static int add_poll(int fd, int events, void *context)
{
    int flags = (events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                (events & SLIRP_POLL_PRI ? POLLPRI : 0);
    struct user *user = context;

    /* Listeners come last. A connection for which there is no descriptor is to wait without asking
     * again and again. */
    if (user->pump.poll_count > user->connections_max && user_slirp_is_listener(&user->slirp, fd))
        return 0;
    if (flags & POLLOUT && user->busy_count++ < BUSY_MAX)
        user->busy[user->busy_count - 1] = fd;
    return (int)pump_add_poll(context, fd, (short)flags);
}

static int get_events(int index, void *context)
{
    static const struct {
        int slirp;
        short poll;
    } flags[] = {
        {SLIRP_POLL_IN, POLLIN},   {SLIRP_POLL_OUT, POLLOUT}, {SLIRP_POLL_PRI, POLLPRI},
        {SLIRP_POLL_ERR, POLLERR}, {SLIRP_POLL_HUP, POLLHUP},
    };
    const struct user *user = context;
    int events = 0;

    /* Index 0 is that of sockets which found no place. */
    if (!user->pump.ready || index <= 0 || (size_t)index >= user->pump.poll_count)
        return 0;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (user->pump.polls[index].revents & flags[i].poll)
            events |= flags[i].slirp;
    return events;
}

/* Milliseconds until the next timer, at most `timeout`. */
static int until_timer(struct user *user, uint32_t timeout)
{
    int64_t now = get_clock(user) / 1000000, wait = timeout < MINUTE ? timeout : MINUTE;

    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (user->timers[i].used && user->timers[i].expires != NEVER) {
            int64_t left = user->timers[i].expires - now;
            left = left > 0 ? left : 0;
            wait = left < wait ? left : wait;
        }
    return (int)wait;
}

static void run_timers(struct user *user)
{
    int64_t now = get_clock(user) / 1000000;

    for (size_t i = 0; i < TIMERS_MAX; i++)
        if (user->timers[i].used && user->timers[i].expires <= now) {
            user->timers[i].expires = NEVER;
            user->timers[i].callback(user->timers[i].context);
        }
}

/* The other sides' ports of connections that libslirp has something for; sockets that are not
 * connected yet do not count. */
struct busy_ports {
    bool all; /* there are too many to tell */
    size_t count;
    uint16_t ports[BUSY_MAX];
};

static void find_busy_ports(const struct user *user, struct busy_ports *busy)
{
    busy->all = user->busy_count > BUSY_MAX;
    busy->count = 0;
    for (size_t i = 0; i < user->busy_count && !busy->all; i++) {
        struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
        socklen_t size = sizeof peer;
        /* The port is at the same place in both families. */
        if (getpeername(user->busy[i], (struct sockaddr *)&peer, &size) == 0)
            busy->ports[busy->count++] = ntohs(((struct sockaddr_in *)&peer)->sin_port);
    }
}

static bool is_busy(void *context, uint16_t host_port)
{
    const struct busy_ports *busy = context;

    for (size_t i = 0; i < busy->count; i++)
        if (busy->ports[i] == host_port)
            return true;
    return busy->all;
}

/* After a `fill`, which has told what is busy. */
static void forget_ended(struct user *user)
{
    uint8_t frame[USER_ENDED_FRAME];
    struct busy_ports busy;
    size_t size;

    if (!user->ended.over_count)
        return;
    find_busy_ports(user, &busy);
    while ((size = user_ended_next(&user->ended, is_busy, &busy, frame)))
        user->slirp.input(user->slirp.slirp, frame, (int)size);
}

/*
 * libslirp looks at all its sockets in both `fill` and `poll`, and it keeps those of connections
 * that have ended for a while, thousands perhaps. So `poll` is called only if it has something to
 * do, and before the next `fill` the guest gets the time to answer what it has just got.
 */
static int user_prepare(struct pump *pump)
{
    struct user *user = (struct user *)pump;
    uint32_t timeout = UINT32_MAX;

    pump->patience = 0;
    if (pump->choked)
        return until_timer(user, timeout);
    int64_t start = get_clock(user);
    user->busy_count = 0;
    user->slirp.fill(user->slirp.slirp, &timeout, add_poll, user);
    int64_t end = get_clock(user), walk = end - start;
    if (walk > WALK_CHEAP)
        pump->patience = (long)(walk < WALK_LONGEST ? walk : WALK_LONGEST);
    user->poll_due = end + (int64_t)timeout * 1000000;
    forget_ended(user);
    return until_timer(user, timeout);
}

/* Does it have libslirp do something in `poll`? All but the segments of connections may. */
static bool is_for_poll(const uint8_t *frame, ssize_t size)
{
    return size < ETHERNET_SIZE + IPV4_SIZE || wire_get16(frame + ETHERNET_TYPE) != TYPE_IPV4 ||
           frame[ETHERNET_SIZE + IPV4_PROTOCOL] != PROTOCOL_TCP;
}

static void user_work(struct pump *pump)
{
    struct user *user = (struct user *)pump;
    const struct iovec iov = {user->frame, sizeof user->frame};
    bool poll = pump->ready || get_clock(user) >= user->poll_due;
    ssize_t size;

    for (unsigned i = 0; i < BATCH && (size = frame_ring_take(&pump->to_host, &iov, 1, 0)) > 0; i++)
        if (user_filter_permits(&user->filter, user->frame, (size_t)size)) {
            user_ended_from_guest(&user->ended, user->frame, (size_t)size);
            user->slirp.input(user->slirp.slirp, user->frame, (int)size);
            poll = poll || is_for_poll(user->frame, size);
        }
    if (poll && !pump->choked)
        user->slirp.poll(user->slirp.slirp, 0, get_events, user);
    run_timers(user);
}

/* Here, since no other thread may do what libslirp does with sockets. */
static void user_finish(struct pump *pump)
{
    user_slirp_close(&((struct user *)pump)->slirp);
}

static const struct pump_ops user_pump_ops = {
    .prepare = user_prepare,
    .work = user_work,
    .finish = user_finish,
};

static void user_close(struct net_backend *net)
{
    struct user *user = (struct user *)net;

    pump_stop(&user->pump);
    user_slirp_close(&user->slirp);
    pump_release(&user->pump);
    free(user);
}

static const struct net_ops user_ops = {
    .name = "user",
    .calls = user_slirp_calls,
    .start = pump_start,
    .send = pump_send,
    .receive = pump_receive,
    .close = user_close,
};

static size_t most_connections(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_cur > PUMP_POLLS_MAX + SPARE_DESCRIPTORS)
        return PUMP_POLLS_MAX;
    return limit.rlim_cur > 2 * SPARE_DESCRIPTORS ? limit.rlim_cur - SPARE_DESCRIPTORS
                                                  : limit.rlim_cur / 2;
}

int net_user_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
                  struct uhyve_error *error)
{
    struct user *user = calloc(1, sizeof *user);

    if (!user)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    user->pump.net.ops = &user_ops;
    user->pump.net.info = (struct net_info){
        .mtu = MTU,
        .frame_max = sizeof(struct net_header) + FRAME_MAX,
    };
    user->connections_max = most_connections();
    int err = pump_init(&user->pump, &user_pump_ops);
    if (err)
        error_set(error, UHYVE_STATUS_FAILED, -err, "cannot make a network: %s (%s)",
                  strerror(-err), error_remedy(-err, "is there enough memory?"));
    else
        err = user_slirp_open(&user->slirp, config, MTU, &callbacks, user, error);
    if (err) {
        user_close(&user->pump.net);
        return err;
    }
    /* What came of preparations is not for the guest. */
    user->pump.to_guest.count = 0;
    for (size_t i = 0; i < config->forward_count; i++)
        log_info(log, "%s port %u of the host goes to port %u of the guest",
                 config->forwards[i].udp ? "UDP" : "TCP", config->forwards[i].host_port,
                 config->forwards[i].guest_port);
    *net = &user->pump.net;
    return 0;
}
