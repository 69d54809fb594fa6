/*
 * Reading a driver's rings and descriptors stays within guest RAM, the rings as they were when the
 * queue was enabled, and the caller's I/O vector; a chain ends.
 *
 * prove: used_event avail_event fail available add_buffer
 *        virtqueue_reset virtqueue_enable virtqueue_peek virtqueue_use virtqueue_publish
 *        virtqueue_interrupt_wanted virtqueue_refuse_notifications virtqueue_want_notifications
 * follow: main
 * within: any queue of 1 to 256 entries, any rings and descriptors, any I/O vector
 * assumed: the contracts of access.h; the queue, the I/O vector and guest RAM do not overlap
 */
#include "access.h"

/* Whatever the guest has stored there just now. */
/*@ requires \valid_read(from);
    assigns \result \from *from; */
uint16_t prove_load(const uint16_t *from);

/*@ requires \valid(to);
    assigns *to \from value; */
void prove_store(uint16_t *to, uint16_t value);

#define __atomic_load_n(from, order)       prove_load(from)
#define __atomic_store_n(to, value, order) prove_store(to, value)
#define __atomic_thread_fence(order)

#include "device/virtqueue.c"

/*@ predicate sized(struct virtqueue *queue) =
        \valid(queue) && 1 <= queue->size <= VIRTQUEUE_SIZE_MAX;
    predicate rings(struct virtqueue *queue) =
        sized(queue) && \valid_read(queue->ram) &&
        \valid_read(queue->descriptor_table + (0 .. 16 * queue->size - 1)) &&
        \valid(queue->avail + (0 .. 2 * queue->size + 5)) &&
        \valid(queue->used + (0 .. 8 * queue->size + 5)); */

/* The four that know the layout; main() below is their proof. */
/*@ requires \valid_read(ring + (2 * index .. 2 * index + 1));
    assigns \result \from ring[2 * index .. 2 * index + 1]; */
static uint16_t load(const uint8_t *ring, size_t index);

/*@ requires \valid(ring + (2 * index .. 2 * index + 1));
    assigns ring[2 * index .. 2 * index + 1] \from value; */
static void store(uint8_t *ring, size_t index, uint16_t value);

/*@ requires \valid_read(queue->descriptor_table + (16 * index .. 16 * index + 15));
    assigns \result \from queue->descriptor_table[16 * index .. 16 * index + 15]; */
static struct descriptor read_descriptor(const struct virtqueue *queue, size_t index);

/*@ requires \valid(queue->used + (8 * slot + 4 .. 8 * slot + 11));
    assigns queue->used[8 * slot + 4 .. 8 * slot + 11] \from entry; */
static void write_used(const struct virtqueue *queue, size_t slot, struct used_entry entry);

/*@ requires sized(queue);
    assigns \result \from queue->size;
    ensures \result == queue->size + 2; */
static size_t used_event(const struct virtqueue *queue);

/*@ requires sized(queue);
    assigns \result \from queue->size;
    ensures \result == 4 * queue->size + 2; */
static size_t avail_event(const struct virtqueue *queue);

/*@ requires \valid(queue);
    assigns queue->broken, \result \from reason;
    ensures \result < 0; */
static int fail(struct virtqueue *queue, const char *reason);

/*@ requires \valid(queue);
    assigns *queue \from queue->ram; */
void virtqueue_reset(struct virtqueue *queue);

/*@ requires sized(queue) && ram_valid(queue->ram);
    requires \separated(queue, queue->ram, queue->ram->host + (0 .. queue->ram->size - 1));
    assigns queue->descriptor_table, queue->avail, queue->used, queue->enabled,
            queue->ram->host[0 .. queue->ram->size - 1], \result \from *queue, *queue->ram;
    ensures \result == 1 ==> rings(queue); */
bool virtqueue_enable(struct virtqueue *queue);

/*@ requires rings(queue);
    assigns queue->broken, \result \from *queue, queue->avail[0 .. 2 * queue->size + 5];
    ensures \result <= queue->size; */
static int available(struct virtqueue *queue);

/*@ predicate vector(struct virtqueue *queue, struct iovec *iov, unsigned capacity,
                     struct virtio_chain *chain) =
        \valid(iov + (0 .. capacity - 1)) && \valid(chain) &&
        \separated(queue, queue->ram, chain, iov + (0 .. capacity - 1)); */

/*@ requires \valid(queue) && \valid_read(queue->ram) && \valid_read(descriptor);
    requires vector(queue, iov, capacity, chain);
    requires \separated(descriptor, queue, chain, iov + (0 .. capacity - 1));
    requires chain->out_count + chain->in_count <= capacity;
    assigns queue->broken, *chain, iov[0 .. capacity - 1], \result
            \from *descriptor, *chain, capacity, *queue->ram;
    ensures \result <= 0 && chain->out_count + chain->in_count <= capacity; */
static int add_buffer(struct virtqueue *queue, const struct descriptor *descriptor,
                      struct iovec *iov, unsigned capacity, struct virtio_chain *chain);

/*@ requires rings(queue) && vector(queue, iov, capacity, chain);
    assigns queue->broken, *chain, iov[0 .. capacity - 1], \result
            \from *queue, queue->avail[0 .. 2 * queue->size + 5], ahead, capacity;
    ensures \result <= 1;
    ensures \result == 1 ==> chain->out_count + chain->in_count <= capacity; */
int virtqueue_peek(struct virtqueue *queue, uint16_t ahead, struct iovec *iov, unsigned capacity,
                   struct virtio_chain *chain);

/*@ requires rings(queue) && \valid_read(chain);
    assigns queue->used[0 .. 8 * queue->size + 5], queue->next_used, queue->next_avail
            \from *queue, *chain, written; */
void virtqueue_use(struct virtqueue *queue, const struct virtio_chain *chain, uint32_t written);

/*@ requires rings(queue);
    assigns queue->used[0 .. 8 * queue->size + 5], queue->published \from *queue; */
void virtqueue_publish(struct virtqueue *queue);

//@ assigns \nothing;
static void fence(void);

/*@ requires rings(queue);
    assigns queue->signalled, \result \from *queue, queue->avail[0 .. 2 * queue->size + 5]; */
bool virtqueue_interrupt_wanted(struct virtqueue *queue);

/*@ requires rings(queue);
    assigns queue->used[0 .. 8 * queue->size + 5] \from *queue; */
void virtqueue_refuse_notifications(struct virtqueue *queue);

/*@ requires rings(queue);
    assigns queue->used[0 .. 8 * queue->size + 5], \result
            \from *queue, queue->avail[0 .. 2 * queue->size + 5], ahead; */
bool virtqueue_want_notifications(struct virtqueue *queue, uint16_t ahead);

/* The accesses to memory at their limits, for queues of every size. */
int main(void)
{
    static uint8_t table[16 * VIRTQUEUE_SIZE_MAX], ring[8 * VIRTQUEUE_SIZE_MAX + 6];
    const struct used_entry entry = {(uint32_t)any_u64(), (uint32_t)any_u64()};

    //@ loop unroll 256;
    for (unsigned size = 1; size <= VIRTQUEUE_SIZE_MAX; size++) {
        /* So that they end where what they belong to ends. */
        const struct virtqueue queue = {
            .descriptor_table = table + sizeof table - 16 * size,
            .used = ring + sizeof ring - (8 * size + 6),
        };
        uint64_t index = any_u64();
        if (index < size) {
            read_descriptor(&queue, index);
            write_used(&queue, index, entry);
        }
        if (index < size + 3)
            load(ring + sizeof ring - (2 * size + 6), index);
        if (index < 4 * size + 3)
            store(queue.used, index, 0);
    }
    return 0;
}
