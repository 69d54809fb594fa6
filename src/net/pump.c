#include "net/pump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "util/error.h"
#include "util/thread.h"

#define HIGH_WATER (FRAME_RING_SLOTS / 2) /* one round can bring many frames */
#define LOW_WATER  (FRAME_RING_SLOTS / 4)

const struct sandbox_call pump_calls[] = {
    SANDBOX_CALL(poll),
    SANDBOX_CALL(ppoll),
    SANDBOX_END,
};

int pump_init(struct pump *pump, const struct pump_ops *ops)
{
    size_t frame_max = pump->net.info.frame_max - sizeof(struct net_header);

    pump->ops = ops;
    sem_init(&pump->confined, 0, 0);
    pump->net.fd = -1;
    int err = frame_ring_init(&pump->to_guest, frame_max);
    int other = frame_ring_init(&pump->to_host, frame_max);
    pump->polls = calloc(PUMP_POLLS_MAX, sizeof *pump->polls);
    pump->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pump->event < 0)
        return -errno;
    return err || other || !pump->polls ? -ENOMEM : 0;
}

void pump_stop(struct pump *pump)
{
    if (!pump->has_thread)
        return;
    atomic_store(&pump->stopping, true);
    pump_wake(pump);
    pthread_join(pump->thread, NULL);
    pump->has_thread = false;
}

void pump_release(struct pump *pump)
{
    frame_ring_destroy(&pump->to_guest);
    frame_ring_destroy(&pump->to_host);
    if (pump->event >= 0)
        close(pump->event);
    free(pump->polls);
    sem_destroy(&pump->confined);
}

void pump_wake(struct pump *pump)
{
    if (atomic_exchange(&pump->asleep, false)) {
        ssize_t ignored = write(pump->event, &(uint64_t){1}, sizeof(uint64_t));
        (void)ignored;
    }
}

int pump_send(struct net_backend *net, const struct iovec *iov, int count)
{
    struct pump *pump = (struct pump *)net;

    int err = frame_ring_put(&pump->to_host, iov, count, sizeof(struct net_header));
    if (err == -EAGAIN) {
        atomic_store(&pump->starved, true);
        /* The ring may have been emptied before the flag was set: then nobody would call. */
        err = frame_ring_put(&pump->to_host, iov, count, sizeof(struct net_header));
    }
    if (err != -EMSGSIZE)
        pump_wake(pump);
    return err;
}

ssize_t pump_receive(struct net_backend *net, const struct iovec *iov, int count)
{
    struct pump *pump = (struct pump *)net;

    ssize_t size = frame_ring_take(&pump->to_guest, iov, count, sizeof(struct net_header));
    if (atomic_load(&pump->waiting) && frame_ring_count(&pump->to_guest) < LOW_WATER &&
        atomic_exchange(&pump->waiting, false))
        pump_wake(pump);
    return size;
}

size_t pump_add_poll(struct pump *pump, int fd, short events)
{
    if (pump->poll_count == PUMP_POLLS_MAX)
        return 0;
    pump->polls[pump->poll_count] = (struct pollfd){.fd = fd, .events = events};
    return pump->poll_count++;
}

static void clear_event(struct pump *pump)
{
    uint64_t ignored;

    if (pump->polls[0].revents && read(pump->event, &ignored, sizeof ignored) < 0)
        return; /* somebody is a little late with setting it */
}

/* Sleep, unless something came up while the thread looked around for the last time. */
static void wait_for_work(struct pump *pump, int timeout)
{
    atomic_store(&pump->asleep, true);
    if (atomic_load(&pump->stopping) || (pump->choked && !atomic_load(&pump->waiting)) ||
        (!pump->blocked && frame_ring_count(&pump->to_host)))
        timeout = 0;
    int ready = poll(pump->polls, pump->poll_count, timeout);
    atomic_store(&pump->asleep, false);
    pump->ready = ready > 0 ? ready - (pump->polls[0].revents != 0) : 0;
    clear_event(pump);
}

/* Does the guest send something within the time? */
static bool wait_for_frames(struct pump *pump, int64_t nanoseconds)
{
    const struct timespec timeout = {.tv_nsec = nanoseconds};

    atomic_store(&pump->asleep, true);
    pump->polls[0].revents = 0;
    if (!frame_ring_count(&pump->to_host) && !atomic_load(&pump->stopping))
        ppoll(pump->polls, 1, &timeout, NULL);
    atomic_store(&pump->asleep, false);
    clear_event(pump);
    return frame_ring_count(&pump->to_host) != 0;
}

/* Whether the guest has been given something. */
static bool work(struct pump *pump)
{
    pump->ops->work(pump);
    bool given = frame_ring_count(&pump->to_guest) != 0;
    bool fed = frame_ring_count(&pump->to_host) < FRAME_RING_SLOTS &&
               atomic_exchange(&pump->starved, false);
    if (fed || given)
        pump->client.ready(pump->client.context);
    return given;
}

static void run_once(struct pump *pump)
{
    pump->choked = frame_ring_count(&pump->to_guest) >= HIGH_WATER;
    atomic_store(&pump->waiting, pump->choked);
    pump->polls[0] = (struct pollfd){.fd = pump->event, .events = POLLIN};
    pump->poll_count = 1;
    wait_for_work(pump, pump->ops->prepare(pump));
    if (atomic_load(&pump->stopping))
        return;
    bool given = work(pump);
    pump->ready = 0;
    if (given && pump->patience && wait_for_frames(pump, pump->patience))
        work(pump);
}

static void *run(void *context)
{
    struct pump *pump = context;

    const struct net_client *client = &pump->client;

    prctl(PR_SET_NAME, "uhyve-network");
    if (client->confine)
        pump->confine_error = client->confine(client->confine_context, pump->start_error);
    bool failed = pump->confine_error != 0;
    sem_post(&pump->confined);
    if (failed)
        return NULL;
    while (!atomic_load(&pump->stopping))
        run_once(pump);
    if (pump->ops->finish)
        pump->ops->finish(pump);
    return NULL;
}

int pump_start(struct net_backend *net, const struct net_client *client, struct uhyve_error *error)
{
    struct pump *pump = (struct pump *)net;

    pump->client = *client;
    pump->start_error = error;
    int err = thread_start(&pump->thread, run, pump, 0);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot start a thread for the network: %s (" THREAD_REMEDY ")",
                         strerror(-err));
    pump->has_thread = true;
    while (sem_wait(&pump->confined) != 0)
        ;
    return pump->confine_error;
}
