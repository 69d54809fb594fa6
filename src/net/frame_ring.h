/*
 * Frames on their way between two threads: a queue of fixed size, with its own lock. Each frame
 * stands without the 12-byte header, in a slot of its own.
 */
#ifndef NET_FRAME_RING_H
#define NET_FRAME_RING_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FRAME_RING_SLOTS 256

struct frame_ring {
    pthread_mutex_t lock;
    unsigned first, count;
    size_t frame_max; /* bytes of the largest frame */
    uint32_t sizes[FRAME_RING_SLOTS];
    uint8_t *bytes; /* FRAME_RING_SLOTS * frame_max */
};

/* Returns 0 or -ENOMEM; frame_ring_destroy may be called then, too. */
int frame_ring_init(struct frame_ring *ring, size_t frame_max);
void frame_ring_destroy(struct frame_ring *ring);

/*
 * Put in what `iov` has behind its first `skip` bytes. Returns 0, -EAGAIN if the ring is full, or
 * -EMSGSIZE if the frame is too large or nothing is left of it. The memory may change meanwhile.
 */
int frame_ring_put(struct frame_ring *ring, const struct iovec *iov, int count, size_t skip);

/*
 * Take out the first frame: `lead` zeros, then the frame. Returns the bytes stored, -EAGAIN if the
 * ring is empty, or -EMSGSIZE if the vector has no room for the frame, which is lost.
 */
ssize_t frame_ring_take(struct frame_ring *ring, const struct iovec *iov, int count, size_t lead);

/* How many there are at the moment. */
unsigned frame_ring_count(struct frame_ring *ring);

#endif
