#include "device/virtio_net.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "device/virtio_net_card.h"
#include "util/error.h"
#include "util/thread.h"

#define TYPE_NETWORK 1

/* struct virtio_net_config (virtio 1.2, section 5.1.4). */
#define CONFIG_MAC    0
#define CONFIG_STATUS 6
#define CONFIG_MTU    10
#define STATUS_LINK   1

/* A driver that is offered large segments keeps room for them: Hermit 8 MiB. */
#define SEGMENTS_MEMORY_MIN (64 * UHYVE_MIB)

/* How often to look whether a first interrupt is handled (virtio_hold_back). */
#define HANDLER_INTERVAL_MS 10

static const struct {
    unsigned offload;
    uint64_t host, guest; /* the features for frames to and from the back end */
} offload_features[] = {
    {NET_OFFLOAD_CSUM, NET_F_CSUM, NET_F_GUEST_CSUM},
    {NET_OFFLOAD_TSO4, NET_F_HOST_TSO4, NET_F_GUEST_TSO4},
    {NET_OFFLOAD_TSO6, NET_F_HOST_TSO6, NET_F_GUEST_TSO6},
    {NET_OFFLOAD_ECN, NET_F_HOST_ECN, NET_F_GUEST_ECN},
};

#define OFFLOAD_KINDS (sizeof offload_features / sizeof *offload_features)

static struct virtio_net *from_virtio(struct virtio *virtio)
{
    return (struct virtio_net *)(void *)((uint8_t *)virtio - offsetof(struct virtio_net, virtio));
}

static uint64_t offered_features(const struct net_info *info, const struct ram *ram)
{
    uint64_t features = NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC | NET_F_STATUS | NET_F_MRG_RXBUF;

    for (size_t i = 0; i < OFFLOAD_KINDS; i++) {
        if (!(info->offloads & offload_features[i].offload))
            continue;
        features |= offload_features[i].host;
        if (ram->size >= SEGMENTS_MEMORY_MIN)
            features |= offload_features[i].guest;
    }
    return features;
}

/* What needs something else to make sense (section 5.1.3.1). */
static uint64_t check_features(struct virtio *virtio, uint64_t features)
{
    if (!(features & NET_F_CSUM))
        features &= ~(NET_F_HOST_TSO4 | NET_F_HOST_TSO6);
    if (!(features & (NET_F_HOST_TSO4 | NET_F_HOST_TSO6)))
        features &= ~NET_F_HOST_ECN;
    if (!(features & NET_F_GUEST_CSUM))
        features &= ~(NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6);
    if (!(features & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6)))
        features &= ~NET_F_GUEST_ECN;
    return features;
}

void virtio_net_wake(struct virtio_net *net)
{
    ssize_t ignored = write(net->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)ignored; /* it is set already if this fails */
}

void virtio_net_trace_text(struct virtio_net *net, const char *format, ...)
{
    char text[128];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    net->trace(net->trace_context, text);
}

static void start_direction(struct net_direction *direction)
{
    atomic_store(&direction->running, direction->queue->enabled);
    atomic_store(&direction->blocked, false);
    atomic_store(&direction->pending, true);
}

/* Both locks, in this order. */
static void lock_both(struct virtio_net *net)
{
    pthread_mutex_lock(&net->receive.lock);
    pthread_mutex_lock(&net->send.lock);
}

static void unlock_both(struct virtio_net *net)
{
    pthread_mutex_unlock(&net->send.lock);
    pthread_mutex_unlock(&net->receive.lock);
}

static void driver_ready(struct virtio *virtio)
{
    struct virtio_net *net = from_virtio(virtio);
    struct net_backend *backend = net->backend;

    lock_both(net);
    net->receive.offloads = net->send.offloads = 0;
    for (size_t i = 0; i < OFFLOAD_KINDS; i++) {
        unsigned offload = offload_features[i].offload & backend->info.offloads;
        if (virtio->features & offload_features[i].host)
            net->send.offloads |= offload;
        if (virtio->features & offload_features[i].guest)
            net->receive.offloads |= offload;
    }
    net->held = 0;
    net->merge_buffers = virtio->features & NET_F_MRG_RXBUF;
    if (backend->ops->set_offloads)
        backend->ops->set_offloads(backend, net->receive.offloads);
    start_direction(&net->receive);
    start_direction(&net->send);
    unlock_both(net);
    log_info(net->log, "the guest's network driver is ready, features 0x%llx",
             (unsigned long long)virtio->features);
    virtio_net_trace(net, "driver ready, features 0x%llx", (unsigned long long)virtio->features);
    virtio_net_wake(net);
}

static void driver_reset(struct virtio *virtio)
{
    struct virtio_net *net = from_virtio(virtio);

    lock_both(net);
    atomic_store(&net->receive.running, false);
    atomic_store(&net->send.running, false);
    unlock_both(net);
}

static void notify(struct virtio *virtio, unsigned queue)
{
    struct virtio_net *net = from_virtio(virtio);

    net_count(&net->doorbells, 1);
    virtio_net_trace(net, "doorbell of queue %u", queue);
    if (queue == QUEUE_SEND) {
        virtio_net_send(net);
    } else if (atomic_load(&net->receive.blocked)) {
        virtio_net_receive(net);
        virtio_net_wake(net); /* it waits for the back end's descriptor again */
    }
}

static const struct virtio_ops ops = {
    .check_features = check_features,
    .start = driver_ready,
    .stop = driver_reset,
    .notify = notify,
};

/* The back end has something. On a thread of its own. */
static void backend_ready(void *context)
{
    struct virtio_net *net = context;

    virtio_net_receive(net);
    if (atomic_load(&net->send.blocked))
        virtio_net_send(net);
}

/* The events of the back end's descriptor that are of interest now. */
static short wanted_events(struct virtio_net *net)
{
    short events = 0;

    if (atomic_load(&net->backend_ended))
        return 0;
    if (atomic_load(&net->receive.running) && !atomic_load(&net->receive.blocked))
        events |= POLLIN;
    if (atomic_load(&net->send.running) && atomic_load(&net->send.blocked))
        events |= POLLOUT;
    return events;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* As long as no interrupt has been handled, take it away now and then. Returns when to look again,
 * in milliseconds; -1: there is no need. */
static int watch_interrupts(struct virtio_net *net, int64_t *next, bool *away)
{
    bool running = atomic_load(&net->receive.running) || atomic_load(&net->send.running);

    if (!running || atomic_load(&net->virtio.handled))
        return -1;
    int64_t now = now_ms();
    if (now >= *next) {
        *next = now + HANDLER_INTERVAL_MS;
        *away = !*away;
        virtio_hold_back(&net->virtio, *away);
    }
    return (int)(*next - now);
}

static void *work(void *argument)
{
    struct virtio_net *net = argument;
    int64_t next = 0;
    bool away = true;

    while (!atomic_load(&net->stopping)) {
        int timeout = watch_interrupts(net, &next, &away);
        short events = wanted_events(net);
        /* An error would be reported without being asked for. */
        struct pollfd fds[] = {
            {.fd = net->wake_fd, .events = POLLIN},
            {.fd = events ? net->backend->fd : -1, .events = events},
        };
        if (poll(fds, 2, timeout) < 0)
            continue;
        if (fds[0].revents) {
            uint64_t ignored;
            if (read(net->wake_fd, &ignored, sizeof ignored) < 0 && errno != EAGAIN)
                break;
        }
        if (fds[1].revents & (POLLIN | POLLERR | POLLHUP) || atomic_load(&net->receive.pending))
            virtio_net_receive(net);
        if (fds[1].revents & POLLOUT || atomic_load(&net->send.pending))
            virtio_net_send(net);
    }
    return NULL;
}

static void init_direction(struct net_direction *direction, struct virtqueue *queue)
{
    pthread_mutex_init(&direction->lock, NULL);
    direction->queue = queue;
}

static void fill_config(uint8_t *config, const struct net_info *info)
{
    const uint16_t status = STATUS_LINK;

    memcpy(config + CONFIG_MAC, info->mac, NET_MAC_SIZE);
    memcpy(config + CONFIG_STATUS, &status, sizeof status);
    memcpy(config + CONFIG_MTU, &info->mtu, sizeof info->mtu);
}

int virtio_net_create(const struct virtio_net_config *config, struct net_backend *backend,
                      struct virtio_net **result, struct uhyve_error *error)
{
    const struct virtio_identity identity = {
        .type = TYPE_NETWORK,
        .class_code = {0, 0, 2},
        .interrupt_line = config->interrupt_line,
        .bar0 = config->bar0,
        .features = offered_features(&backend->info, config->ram),
    };
    struct virtio_net *net = calloc(1, sizeof *net);
    if (!net)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    net->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (net->wake_fd < 0) {
        int err = errno;
        free(net);
        return error_set(error, UHYVE_STATUS_FAILED, err, "cannot create an event: %s (%s)",
                         strerror(err), error_remedy_of_call(err, "is there enough memory?"));
    }
    net->backend = backend;
    net->log = config->log;
    net->trace = config->trace;
    net->trace_context = config->trace_context;
    virtio_init(&net->virtio, &identity, &ops, config->ram, &config->line, config->log);
    fill_config(net->virtio.config, &backend->info);
    init_direction(&net->receive, &net->virtio.queues[QUEUE_RECEIVE]);
    init_direction(&net->send, &net->virtio.queues[QUEUE_SEND]);
    *result = net;
    return 0;
}

int virtio_net_start_backend(struct virtio_net *net,
                             int (*confine)(void *context, struct uhyve_error *error),
                             void *context, struct uhyve_error *error)
{
    const struct net_client client = {
        .ready = backend_ready,
        .context = net,
        .confine = confine,
        .confine_context = context,
    };

    return net->backend->ops->start ? net->backend->ops->start(net->backend, &client, error) : 0;
}

int virtio_net_start(struct virtio_net *net, struct uhyve_error *error)
{
    int err = thread_start(&net->worker, work, net, 0);
    net->has_worker = err == 0;
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot start a thread for the network: %s (" THREAD_REMEDY ")",
                         strerror(-err));
    return 0;
}

void virtio_net_stop(struct virtio_net *net)
{
    driver_reset(&net->virtio);
    if (!net->has_worker)
        return;
    atomic_store(&net->stopping, true);
    virtio_net_wake(net);
    pthread_join(net->worker, NULL);
    net->has_worker = false;
}

void virtio_net_destroy(struct virtio_net *net)
{
    if (!net)
        return;
    virtio_net_stop(net);
    net_close(net->backend);
    pthread_mutex_destroy(&net->send.lock);
    pthread_mutex_destroy(&net->receive.lock);
    virtio_destroy(&net->virtio);
    close(net->wake_fd);
    free(net);
}

const struct sandbox_call *virtio_net_calls(const struct virtio_net *net)
{
    return net->backend->ops->calls;
}

struct pci_function *virtio_net_function(struct virtio_net *net)
{
    return &net->virtio.pci;
}

void virtio_net_get_stats(struct virtio_net *net, struct uhyve_net_stats *stats)
{
    *stats = (struct uhyve_net_stats){
        .received_frames = atomic_load(&net->receive.frames),
        .received_bytes = atomic_load(&net->receive.bytes),
        .received_lost = atomic_load(&net->receive.lost),
        .sent_frames = atomic_load(&net->send.frames),
        .sent_bytes = atomic_load(&net->send.bytes),
        .sent_lost = atomic_load(&net->send.lost),
        .doorbells = atomic_load(&net->doorbells),
        .interrupts = atomic_load(&net->virtio.interrupts),
        .stalls = atomic_load(&net->receive.blocks),
    };
}
