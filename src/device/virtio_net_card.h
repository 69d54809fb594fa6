/*
 * What the files of the network card share: virtio_net.c has its life, virtio_net_receive.c and
 * virtio_net_send.c the two directions.
 */
#ifndef DEVICE_VIRTIO_NET_CARD_H
#define DEVICE_VIRTIO_NET_CARD_H

#include "device/virtio_net.h"

#define QUEUE_RECEIVE 0
#define QUEUE_SEND    1

/* Features (virtio 1.2, section 5.1.3). */
#define NET_F_CSUM       (UINT64_C(1) << 0)
#define NET_F_GUEST_CSUM (UINT64_C(1) << 1)
#define NET_F_MTU        (UINT64_C(1) << 3)
#define NET_F_MAC        (UINT64_C(1) << 5)
#define NET_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define NET_F_GUEST_TSO6 (UINT64_C(1) << 8)
#define NET_F_GUEST_ECN  (UINT64_C(1) << 9)
#define NET_F_HOST_TSO4  (UINT64_C(1) << 11)
#define NET_F_HOST_TSO6  (UINT64_C(1) << 12)
#define NET_F_HOST_ECN   (UINT64_C(1) << 13)
#define NET_F_MRG_RXBUF  (UINT64_C(1) << 15)
#define NET_F_STATUS     (UINT64_C(1) << 16)

/* One direction. What `lock` protects: the queue while the card runs, and the fields up to the
 * counters. */
struct net_direction {
    pthread_mutex_t lock;
    struct virtqueue *queue;
    atomic_bool running; /* between start and stop, with a usable queue; written under lock */
    unsigned offloads;   /* NET_OFFLOAD_... that headers of this direction may use */
    atomic_bool pending; /* there may be something to do: whoever holds the lock looks again */
    atomic_bool blocked; /* no room: the guest's buffers, or the back end's */
    atomic_uint_least64_t frames, bytes, lost, blocks;
};

struct virtio_net {
    struct virtio virtio;
    struct net_backend *backend;
    const struct log *log;
    void (*trace)(void *context, const char *text);
    void *trace_context;
    struct net_direction receive, send;
    bool merge_buffers; /* NET_F_MRG_RXBUF; protected by receive.lock */
    atomic_bool backend_ended;
    atomic_uint_least64_t doorbells;

    int wake_fd; /* eventfd: the worker is to look around */
    pthread_t worker;
    bool has_worker;
    atomic_bool stopping;

    /* A frame for which the guest has not enough buffers: see virtio_net_receive.c. Protected by
     * receive.lock. */
    uint8_t spill[NET_FRAME_MAX];
    size_t held; /* bytes of a whole frame in `spill` */
};

void virtio_net_wake(struct virtio_net *net);

/*
 * Move what there is to move, until there is no more, no room, or it has been a while; in that last
 * case the worker is woken. From any thread; a thread that finds another one at it leaves it to
 * that.
 */
void virtio_net_receive(struct virtio_net *net);
void virtio_net_send(struct virtio_net *net);

/* For the call trace; the arguments are looked at only if there is one. */
void virtio_net_trace_text(struct virtio_net *net, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define virtio_net_trace(net, ...)                                                                 \
    do {                                                                                           \
        if ((net)->trace)                                                                          \
            virtio_net_trace_text(net, __VA_ARGS__);                                               \
    } while (0)

static inline void net_count(atomic_uint_least64_t *counter, uint64_t value)
{
    atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

#endif
