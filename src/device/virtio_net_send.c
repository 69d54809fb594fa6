/*
 * Frames from the guest to the back end.
 */
#include <errno.h>
#include <string.h>

#include "device/virtio_net_card.h"

#define BATCH          64 /* frames before the vCPU goes on and the worker takes over */
#define ETHERNET_BYTES 14

/*
 * Take the header out of the frame, into `header`: the first entry of the vector becomes that copy,
 * which the guest cannot change any more. Returns the new number of entries, or 0 if the frame is
 * too short or too long.
 */
static unsigned take_header(struct iovec *iov, const struct virtio_chain *chain,
                            struct net_header *header)
{
    size_t missing = sizeof *header;
    unsigned i = 0;

    if (chain->out_bytes < sizeof *header + ETHERNET_BYTES || chain->out_bytes > NET_FRAME_MAX)
        return 0;
    /* iov[0] is free, the frame starts at iov[1]. */
    while (missing) {
        struct iovec *part = &iov[1 + i];
        size_t size = missing < part->iov_len ? missing : part->iov_len;
        memcpy((uint8_t *)header + sizeof *header - missing, part->iov_base, size);
        missing -= size;
        part->iov_base = (uint8_t *)part->iov_base + size;
        part->iov_len -= size;
        if (!part->iov_len)
            i++;
    }
    memmove(&iov[1], &iov[1 + i], (chain->out_count - i) * sizeof *iov);
    iov[0] = (struct iovec){header, sizeof *header};
    return 1 + chain->out_count - i;
}

/* May the frame ask for what it asks for? */
static bool header_is_valid(const struct net_header *header, unsigned offloads, uint64_t size)
{
    unsigned needed = 0;

    if (header->flags & NET_HEADER_NEEDS_CSUM) {
        needed |= NET_OFFLOAD_CSUM;
        if ((uint64_t)header->csum_start + header->csum_offset + 2 > size)
            return false;
    }
    switch (header->gso_type & ~NET_GSO_ECN) {
    case NET_GSO_NONE:
        break;
    case NET_GSO_TCPV4:
        needed |= NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4;
        break;
    case NET_GSO_TCPV6:
        needed |= NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO6;
        break;
    default:
        return false;
    }
    if (header->gso_type & NET_GSO_ECN)
        needed |= NET_OFFLOAD_ECN;
    return (offloads & needed) == needed;
}

/* Returns 0, -EAGAIN, or another -errno for a frame that is lost. */
static int send_frame(struct virtio_net *net, struct iovec *iov, const struct virtio_chain *chain)
{
    struct net_header header;
    unsigned count = take_header(iov, chain, &header);

    if (count < 2)
        return -EINVAL;
    header.flags &= NET_HEADER_NEEDS_CSUM;
    header.buffers = 0;
    if (!header_is_valid(&header, net->send.offloads, chain->out_bytes - sizeof header))
        return -EINVAL;
    return net->backend->ops->send(net->backend, iov, (int)count);
}

/* Returns whether the guest may have more. */
static bool send_batch(struct virtio_net *net)
{
    struct net_direction *send = &net->send;
    struct iovec iov[1 + VIRTQUEUE_SIZE_MAX];
    struct virtio_chain chain;

    virtqueue_refuse_notifications(send->queue);
    for (unsigned i = 0; i < BATCH; i++) {
        int found = virtqueue_peek(send->queue, 0, iov + 1, VIRTQUEUE_SIZE_MAX, &chain);
        if (found == 0 && !virtqueue_want_notifications(send->queue, 0))
            return false;
        if (found == 0) {
            virtqueue_refuse_notifications(send->queue);
            continue;
        }
        if (found < 0) {
            virtio_fail(&net->virtio, send->queue->broken);
            return false;
        }
        int err = send_frame(net, iov, &chain);
        if (err == -EAGAIN) {
            /* Room that came before this was known to be missing has been announced already. */
            if (!atomic_exchange(&send->blocked, true))
                continue;
            net_count(&send->blocks, 1);
            virtio_net_wake(net);
            return false;
        }
        atomic_store(&send->blocked, false);
        virtio_net_trace(net, "sent %llu bytes%s%s",
                         (unsigned long long)chain.out_bytes - sizeof(struct net_header),
                         err ? ", lost: " : "", err ? strerror(-err) : "");
        if (err) {
            net_count(&send->lost, 1);
        } else {
            net_count(&send->frames, 1);
            net_count(&send->bytes, chain.out_bytes - sizeof(struct net_header));
        }
        virtqueue_use(send->queue, &chain, 0);
        virtqueue_publish(send->queue);
    }
    return true;
}

void virtio_net_send(struct virtio_net *net)
{
    struct net_direction *send = &net->send;
    bool more = false;

    atomic_store(&send->pending, true);
    while (!more && atomic_load(&send->pending)) {
        if (pthread_mutex_trylock(&send->lock) != 0)
            return;
        atomic_store(&send->pending, false);
        if (send->running) {
            atomic_store(&send->blocked, false);
            more = send_batch(net);
            if (virtqueue_interrupt_wanted(send->queue))
                virtio_interrupt(&net->virtio);
        }
        pthread_mutex_unlock(&send->lock);
    }
    if (more) {
        atomic_store(&send->pending, true);
        virtio_net_wake(net);
    }
}
