/*
 * A split virtqueue as the device sees it (virtio 1.2, section 2.7): the driver's rings in guest
 * memory, read with suspicion.
 *
 * The driver can change all of its memory at any time. Addresses of the rings are checked when the
 * queue is enabled; indexes and descriptors are copied before they are used, each descriptor's
 * range is checked against guest RAM, and a chain has at most as many descriptors as the queue has
 * entries. What cannot be sensible makes the queue `broken`: it stays so until it is reset.
 *
 * One thread at a time may use a queue; its device sees to that.
 */
#ifndef DEVICE_VIRTQUEUE_H
#define DEVICE_VIRTQUEUE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "memory/ram.h"

#define VIRTQUEUE_SIZE_MAX 256

struct virtqueue {
    const struct ram *ram;

    /* What the driver has chosen. */
    uint16_t size; /* a power of two up to VIRTQUEUE_SIZE_MAX */
    bool enabled;
    bool event_index; /* VIRTIO_F_EVENT_IDX was negotiated */
    gpa_t descriptors, driver, device;

    /* The rings in memory, valid while `enabled`. */
    const uint8_t *descriptor_table;
    uint8_t *avail;
    uint8_t *used;

    uint16_t next_avail; /* the next chain to take */
    uint16_t next_used;  /* the next entry to fill, beyond what was published */
    uint16_t published;  /* the used index that the driver sees */
    uint16_t signalled;  /* the used index when the driver was last told, or asked whether to */
    const char *broken;  /* NULL, or what is wrong with the driver's rings */
};

/* A chain of descriptors: buffers for the device to read, then buffers for it to write. */
struct virtio_chain {
    uint16_t head;
    unsigned out_count, in_count; /* entries of the I/O vector */
    uint64_t out_bytes, in_bytes;
};

/* As after a reset of the device. */
void virtqueue_reset(struct virtqueue *queue);

/*
 * The driver has set size and addresses. False if the rings are not in guest RAM or not aligned as
 * they must be; then the queue stays disabled. The driver is told that it need not notify, until
 * virtqueue_want_notifications.
 */
bool virtqueue_enable(struct virtqueue *queue);

/*
 * The chain `ahead` entries after the next one, without taking it. Its buffers are stored in `iov`,
 * empty ones left out. Returns 1; 0 if there is none yet; -ENOSPC if `iov` is too small, which does
 * not happen from VIRTQUEUE_SIZE_MAX on; -EIO if the queue is broken.
 */
int virtqueue_peek(struct virtqueue *queue, uint16_t ahead, struct iovec *iov, unsigned capacity,
                   struct virtio_chain *chain);

/* Take the next chain: it is given back, with `written` bytes stored in it. The driver does not see
 * it before virtqueue_publish. */
void virtqueue_use(struct virtqueue *queue, const struct virtio_chain *chain, uint32_t written);
void virtqueue_publish(struct virtqueue *queue);

/* Does the driver want to be told of what was published since it was last asked? */
bool virtqueue_interrupt_wanted(struct virtqueue *queue);

/*
 * Ask the driver (not) to notify when it adds a chain beyond the next `ahead` ones. If
 * virtqueue_want_notifications returns true there is one already.
 */
void virtqueue_refuse_notifications(struct virtqueue *queue);
bool virtqueue_want_notifications(struct virtqueue *queue, uint16_t ahead);

#endif
