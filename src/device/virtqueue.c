#include "device/virtqueue.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Descriptors (section 2.7.5). */
struct descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags;
    uint16_t next;
};

#define DESCRIPTOR_NEXT     1
#define DESCRIPTOR_WRITE    2
#define DESCRIPTOR_INDIRECT 4

/* Both rings: flags, index, entries, and the other side's event index. */
#define RING_FLAGS   0
#define RING_INDEX   1
#define RING_ENTRIES 2

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY     1

struct used_entry {
    uint32_t id;
    uint32_t written;
};

/* The rings as arrays of 16-bit values. */
static uint16_t load(const uint8_t *ring, size_t index)
{
    return __atomic_load_n((const uint16_t *)(ring + 2 * index), __ATOMIC_ACQUIRE);
}

static void store(uint8_t *ring, size_t index, uint16_t value)
{
    __atomic_store_n((uint16_t *)(ring + 2 * index), value, __ATOMIC_RELEASE);
}

static struct descriptor read_descriptor(const struct virtqueue *queue, size_t index)
{
    struct descriptor descriptor;

    memcpy(&descriptor, queue->descriptor_table + index * sizeof descriptor, sizeof descriptor);
    return descriptor;
}

static void write_used(const struct virtqueue *queue, size_t slot, struct used_entry entry)
{
    memcpy(queue->used + 2 * RING_ENTRIES + slot * sizeof entry, &entry, sizeof entry);
}

/* Index of the used index at which the driver wants to be interrupted, with event indexes. */
static size_t used_event(const struct virtqueue *queue)
{
    return RING_ENTRIES + (size_t)queue->size;
}

/* Index of the available index at which the device wants to be notified. */
static size_t avail_event(const struct virtqueue *queue)
{
    return RING_ENTRIES + queue->size * (sizeof(struct used_entry) / 2);
}

void virtqueue_reset(struct virtqueue *queue)
{
    *queue = (struct virtqueue){.ram = queue->ram, .size = VIRTQUEUE_SIZE_MAX};
}

bool virtqueue_enable(struct virtqueue *queue)
{
    size_t size = queue->size;

    if (queue->descriptors % 16 || queue->driver % 2 || queue->device % 4)
        return false;
    queue->descriptor_table = ram_at(queue->ram, queue->descriptors,
                                     size * sizeof(struct descriptor));
    queue->avail = ram_at(queue->ram, queue->driver, 2 * (RING_ENTRIES + size + 1));
    queue->used = ram_at(queue->ram, queue->device,
                         2 * RING_ENTRIES + size * sizeof(struct used_entry) + 2);
    if (!queue->descriptor_table || !queue->avail || !queue->used)
        return false;
    queue->enabled = true;
    store(queue->used, RING_FLAGS, queue->event_index ? 0 : USED_NO_NOTIFY);
    return true;
}

static int fail(struct virtqueue *queue, const char *reason)
{
    queue->broken = reason;
    return -EIO;
}

/* How many chains the driver has added and the device not taken. */
static int available(struct virtqueue *queue)
{
    uint16_t count = (uint16_t)(load(queue->avail, RING_INDEX) - queue->next_avail);

    if (count > queue->size)
        return fail(queue, "its index of available buffers is wrong");
    return count;
}

/* Add a descriptor's buffer to the chain. */
static int add_buffer(struct virtqueue *queue, const struct descriptor *descriptor,
                      struct iovec *iov, unsigned capacity, struct virtio_chain *chain)
{
    bool write = descriptor->flags & DESCRIPTOR_WRITE;
    unsigned count = chain->out_count + chain->in_count;

    if (descriptor->flags & DESCRIPTOR_INDIRECT)
        return fail(queue, "it uses indirect descriptors, which were not offered");
    if (!write && chain->in_count)
        return fail(queue, "a buffer to be read follows one to be written");
    void *host = ram_at(queue->ram, descriptor->address, descriptor->size);
    if (!host)
        return fail(queue, "a buffer is not in memory");
    if (descriptor->size == 0)
        return 0;
    if (count == capacity)
        return -ENOSPC;
    iov[count] = (struct iovec){host, descriptor->size};
    if (write) {
        chain->in_count++;
        chain->in_bytes += descriptor->size;
    } else {
        chain->out_count++;
        chain->out_bytes += descriptor->size;
    }
    return 0;
}

int virtqueue_peek(struct virtqueue *queue, uint16_t ahead, struct iovec *iov, unsigned capacity,
                   struct virtio_chain *chain)
{
    struct descriptor descriptor;

    if (queue->broken)
        return -EIO;
    int count = available(queue);
    if (count < 0)
        return count;
    if (ahead >= count)
        return 0;
    uint16_t slot = (uint16_t)(queue->next_avail + ahead) % queue->size;
    uint16_t index = load(queue->avail, RING_ENTRIES + slot);
    chain->head = index;
    chain->out_count = chain->in_count = 0;
    chain->out_bytes = chain->in_bytes = 0;
    /*@ loop invariant i <= queue->size && chain->out_count + chain->in_count <= capacity;
        loop assigns i, index, descriptor, *chain, iov[0 .. capacity - 1], queue->broken;
        loop variant queue->size - i; */
    for (unsigned i = 0; i < queue->size; i++) {
        if (index >= queue->size)
            return fail(queue, "the number of a descriptor is too large");
        descriptor = read_descriptor(queue, index);
        int err = add_buffer(queue, &descriptor, iov, capacity, chain);
        if (err)
            return err;
        if (!(descriptor.flags & DESCRIPTOR_NEXT))
            return 1;
        index = descriptor.next;
    }
    return fail(queue, "a chain of descriptors has no end");
}

void virtqueue_use(struct virtqueue *queue, const struct virtio_chain *chain, uint32_t written)
{
    write_used(queue, queue->next_used % queue->size, (struct used_entry){chain->head, written});
    queue->next_used++;
    queue->next_avail++;
}

void virtqueue_publish(struct virtqueue *queue)
{
    queue->published = queue->next_used;
    store(queue->used, RING_INDEX, queue->published);
}

/* Orders what was stored before against what is loaded after. The sanitizer knows no fences; with
 * it an atomic operation of the same effect on the processor takes its place. */
static void fence(void)
{
#ifdef __SANITIZE_THREAD__
    static uint32_t word;
    __atomic_fetch_add(&word, 1, __ATOMIC_SEQ_CST);
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

bool virtqueue_interrupt_wanted(struct virtqueue *queue)
{
    uint16_t old = queue->signalled, new = queue->published;

    if (old == new)
        return false;
    queue->signalled = new;
    /* The driver must see the entries before it is asked: it looks at them after it changed its
     * mind. */
    fence();
    if (!queue->event_index)
        return !(load(queue->avail, RING_FLAGS) & AVAIL_NO_INTERRUPT);
    /* Section 2.7.10: has the event index been passed? */
    uint16_t event = load(queue->avail, used_event(queue));
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

void virtqueue_refuse_notifications(struct virtqueue *queue)
{
    /* With event indexes the driver keeps quiet after the one that was asked for. */
    if (!queue->event_index)
        store(queue->used, RING_FLAGS, USED_NO_NOTIFY);
}

bool virtqueue_want_notifications(struct virtqueue *queue, uint16_t ahead)
{
    uint16_t awaited = (uint16_t)(queue->next_avail + ahead);

    if (queue->event_index)
        store(queue->used, avail_event(queue), awaited);
    else
        store(queue->used, RING_FLAGS, 0);
    /* Before looking again: the driver adds a chain, then looks here. */
    fence();
    return load(queue->avail, RING_INDEX) != awaited;
}
