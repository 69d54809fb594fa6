#include "net/frame_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int frame_ring_init(struct frame_ring *ring, size_t frame_max)
{
    *ring = (struct frame_ring){.frame_max = frame_max};
    pthread_mutex_init(&ring->lock, NULL);
    ring->bytes = malloc(FRAME_RING_SLOTS * frame_max); /* touched when used */
    return ring->bytes ? 0 : -ENOMEM;
}

void frame_ring_destroy(struct frame_ring *ring)
{
    pthread_mutex_destroy(&ring->lock);
    free(ring->bytes);
}

static uint8_t *slot_bytes(struct frame_ring *ring, unsigned slot)
{
    return ring->bytes + slot * ring->frame_max;
}

unsigned frame_ring_count(struct frame_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    unsigned count = ring->count;
    pthread_mutex_unlock(&ring->lock);
    return count;
}

/* Copy the vector from its byte `skip` on. Returns the bytes; more than `room`: it does not fit. */
static size_t gather(uint8_t *to, size_t room, const struct iovec *iov, int count, size_t skip)
{
    size_t size = 0;

    for (int i = 0; i < count; i++) {
        size_t part = iov[i].iov_len, start = skip < part ? skip : part;
        skip -= start;
        part -= start;
        if (part > room - size)
            return room + 1;
        if (part)
            memcpy(to + size, (const uint8_t *)iov[i].iov_base + start, part);
        size += part;
    }
    return size;
}

int frame_ring_put(struct frame_ring *ring, const struct iovec *iov, int count, size_t skip)
{
    int err = -EAGAIN;

    pthread_mutex_lock(&ring->lock);
    if (ring->count < FRAME_RING_SLOTS) {
        unsigned slot = (ring->first + ring->count) % FRAME_RING_SLOTS;
        size_t size = gather(slot_bytes(ring, slot), ring->frame_max, iov, count, skip);
        err = size && size <= ring->frame_max ? 0 : -EMSGSIZE;
        if (!err) {
            ring->sizes[slot] = (uint32_t)size;
            ring->count++;
        }
    }
    pthread_mutex_unlock(&ring->lock);
    return err;
}

/* Copy `size` bytes to the vector from its byte *offset on; no bytes: zeros. */
static void scatter(const struct iovec *iov, int count, size_t *offset, const void *bytes,
                    size_t size)
{
    size_t skip = *offset;

    *offset += size;
    for (int i = 0; i < count && size; i++) {
        size_t start = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        size_t part = iov[i].iov_len - start;
        uint8_t *to = (uint8_t *)iov[i].iov_base + start;
        skip -= start;
        part = part < size ? part : size;
        if (bytes && part) {
            memcpy(to, bytes, part);
            bytes = (const uint8_t *)bytes + part;
        } else if (part) {
            memset(to, 0, part);
        }
        size -= part;
    }
}

ssize_t frame_ring_take(struct frame_ring *ring, const struct iovec *iov, int count, size_t lead)
{
    size_t room = 0, offset = 0;
    ssize_t result = -EAGAIN;

    for (int i = 0; i < count; i++)
        room += iov[i].iov_len;
    pthread_mutex_lock(&ring->lock);
    if (ring->count) {
        size_t size = ring->sizes[ring->first];
        result = -EMSGSIZE;
        if (room >= lead && room - lead >= size) {
            scatter(iov, count, &offset, NULL, lead);
            scatter(iov, count, &offset, slot_bytes(ring, ring->first), size);
            result = (ssize_t)offset;
        }
        ring->first = (ring->first + 1) % FRAME_RING_SLOTS;
        ring->count--;
    }
    pthread_mutex_unlock(&ring->lock);
    return result;
}
