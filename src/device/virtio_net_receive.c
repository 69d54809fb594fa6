/*
 * Frames from the back end to the guest.
 *
 * How large the next frame is shows only when it is read. It is read straight into the guest's
 * buffers, with net->spill behind them. A frame that turns out to need more buffers than there are
 * is moved to the spill as a whole, and held there until the guest has added enough.
 */
#include <errno.h>
#include <string.h>

#include "device/virtio_net_card.h"

#define BATCH      64 /* frames before somebody else may have a turn */
#define CHAINS_MAX 64 /* buffers merged for one frame */
#define IOV_MOST   (VIRTQUEUE_SIZE_MAX + 2 * CHAINS_MAX)

/* The guest's buffers for the next frame. */
struct room {
    struct iovec iov[IOV_MOST + 1];
    unsigned count;
    struct virtio_chain chains[CHAINS_MAX];
    unsigned chain_count;
    uint64_t bytes;
};

/*
 * Collect buffers for `wanted` bytes, or as many as there are. Without merging it is one chain,
 * whatever it holds. Returns false if there is none.
 */
static bool find_room(struct virtio_net *net, struct room *room, size_t wanted)
{
    struct virtqueue *queue = net->receive.queue;
    unsigned most = net->merge_buffers ? CHAINS_MAX : 1;

    room->count = room->chain_count = 0;
    room->bytes = 0;
    while (room->chain_count < most && room->bytes < wanted) {
        struct virtio_chain *chain = &room->chains[room->chain_count];
        int err = virtqueue_peek(queue, (uint16_t)room->chain_count, room->iov + room->count,
                                 IOV_MOST - room->count, chain);
        if (err == -EIO) {
            virtio_fail(&net->virtio, queue->broken);
            return false;
        }
        if (err != 1)
            break;
        /* Buffers to be read have no business here. */
        memmove(room->iov + room->count, room->iov + room->count + chain->out_count,
                chain->in_count * sizeof *room->iov);
        room->count += chain->in_count;
        room->bytes += chain->in_bytes;
        room->chain_count++;
    }
    return room->chain_count > 0;
}

/* Copy between [offset, offset + size) of the guest's buffers and `bytes`. */
static void copy(const struct room *room, size_t offset, uint8_t *bytes, size_t size, bool store)
{
    for (unsigned i = 0; i < room->count && size; i++) {
        const struct iovec *part = &room->iov[i];
        if (offset >= part->iov_len) {
            offset -= part->iov_len;
            continue;
        }
        uint8_t *guest = (uint8_t *)part->iov_base + offset;
        size_t length = size < part->iov_len - offset ? size : part->iov_len - offset;
        memcpy(store ? guest : bytes, store ? bytes : guest, length);
        bytes += length;
        size -= length;
        offset = 0;
    }
}

/* Hand `size` bytes to the guest, in as many chains as they fill. */
static void deliver(struct virtio_net *net, struct room *room, size_t size)
{
    struct virtqueue *queue = net->receive.queue;
    size_t rest = size;
    uint16_t used = 0;

    do {
        const struct virtio_chain *chain = &room->chains[used++];
        size_t part = rest < chain->in_bytes ? rest : chain->in_bytes;
        virtqueue_use(queue, chain, (uint32_t)part);
        rest -= part;
    } while (rest);
    copy(room, offsetof(struct net_header, buffers), (uint8_t *)&used, sizeof used, true);
    virtqueue_publish(queue);
    virtio_net_trace(net, "received %zu bytes in %u buffer%s", size - sizeof(struct net_header),
                     used, used == 1 ? "" : "s");
    net_count(&net->receive.frames, 1);
    net_count(&net->receive.bytes, size - sizeof(struct net_header));
}

/*
 * There is not enough beyond these buffers. Ask the driver to say when there is; true if there is
 * already. The back end's frames wait where they are.
 */
static bool wait_for_buffers(struct virtio_net *net, const struct room *room)
{
    struct net_direction *receive = &net->receive;

    if (receive->queue->broken)
        return false;
    atomic_store(&receive->blocked, true);
    if (!virtqueue_want_notifications(receive->queue, (uint16_t)room->chain_count)) {
        net_count(&receive->blocks, 1);
        virtio_net_trace(net, "no buffer to receive into");
        return false;
    }
    virtqueue_refuse_notifications(receive->queue);
    atomic_store(&receive->blocked, false);
    return true;
}

/* The frame of `size` bytes is partly in the buffers, partly in the spill. */
static void hold(struct virtio_net *net, const struct room *room, size_t size)
{
    memmove(net->spill + room->bytes, net->spill, size - room->bytes);
    copy(room, 0, net->spill, room->bytes, false);
    net->held = size;
}

/* What the back end gave, `size` bytes in the buffers or beyond. */
static void take(struct virtio_net *net, struct room *room, size_t size)
{
    bool fits = size <= room->bytes;
    /* Buffers and spill together take more than the spill, which is to hold the whole frame. */
    bool can_wait = net->merge_buffers && room->chain_count < CHAINS_MAX &&
                    size <= sizeof net->spill;

    if (size >= sizeof(struct net_header) && fits)
        deliver(net, room, size);
    else if (!fits && can_wait)
        hold(net, room, size);
    else {
        net_count(&net->receive.lost, 1);
        virtio_net_trace(net, "lost %zu bytes for the guest, whose buffers have %llu", size,
                         (unsigned long long)room->bytes);
    }
}

static bool receive_frame(struct virtio_net *net, struct room *room)
{
    struct net_backend *backend = net->backend;

    room->iov[room->count] = (struct iovec){net->spill, sizeof net->spill};
    ssize_t size = backend->ops->receive(backend, room->iov, (int)room->count + 1);
    if (size == -EAGAIN)
        return false;
    if (size < 0) {
        atomic_store(&net->backend_ended, true);
        log_warn(net->log, "the network card receives nothing any more: %s: %s", backend->ops->name,
                 strerror((int)-size));
        return false;
    }
    take(net, room, (size_t)size);
    return true;
}

/* Returns whether the back end may have more. */
static bool receive_batch(struct virtio_net *net)
{
    struct room room;

    for (unsigned i = 0; i < BATCH; i++) {
        bool found = find_room(net, &room, net->held ? net->held : net->backend->info.frame_max);
        if (!found || (net->held && room.bytes < net->held)) {
            if (!wait_for_buffers(net, &room))
                return false;
        } else if (net->held) {
            copy(&room, 0, net->spill, net->held, true);
            deliver(net, &room, net->held);
            net->held = 0;
        } else if (!receive_frame(net, &room)) {
            return false;
        }
    }
    return true;
}

void virtio_net_receive(struct virtio_net *net)
{
    struct net_direction *receive = &net->receive;
    bool more = false;

    atomic_store(&receive->pending, true);
    while (!more && atomic_load(&receive->pending)) {
        if (pthread_mutex_trylock(&receive->lock) != 0)
            return;
        atomic_store(&receive->pending, false);
        if (receive->running && !atomic_load(&net->backend_ended)) {
            if (atomic_exchange(&receive->blocked, false))
                virtqueue_refuse_notifications(receive->queue);
            more = receive_batch(net);
            if (virtqueue_interrupt_wanted(receive->queue))
                virtio_interrupt(&net->virtio);
        }
        pthread_mutex_unlock(&receive->lock);
    }
    if (more) {
        atomic_store(&receive->pending, true);
        virtio_net_wake(net);
    }
}
