/*
 * Fuzz target: the reader of descriptor chains. Rings and descriptors are anything; whatever chain
 * comes out of them must lie in guest memory, and be no longer than a chain can be.
 *
 * Input: log2 of the queue size (1 byte), how many chains to take before looking ahead (1 byte),
 * capacity of the I/O vector (1 byte), then the guest's memory: available ring, right behind it the
 * descriptor table, used ring at DEVICE.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtqueue.h"
#include "fuzz.h"
#include "input.h"

#define MEMORY_BASE UINT64_C(0x10000)
#define MEMORY_SIZE 16384
#define DEVICE      (MEMORY_BASE + 8192)

static void check(const struct ram *ram, const struct iovec *iov, const struct virtio_chain *chain,
                  unsigned capacity)
{
    uint64_t bytes = 0;

    require(chain->out_count + chain->in_count <= capacity);
    for (unsigned i = 0; i < chain->out_count + chain->in_count; i++) {
        const uint8_t *start = iov[i].iov_base;
        require(iov[i].iov_len > 0 && iov[i].iov_len <= MEMORY_SIZE);
        require(start >= ram->host && start + iov[i].iov_len <= ram->host + MEMORY_SIZE);
        bytes += iov[i].iov_len;
    }
    require(bytes == chain->out_bytes + chain->in_bytes);
}

/* The driver cannot have added more chains than the queue has entries. */
static bool is_index_possible(const struct virtqueue *queue)
{
    uint16_t index;
    memcpy(&index, queue->ram->host + (queue->driver - MEMORY_BASE) + 2, sizeof index);
    return (uint16_t)(index - queue->next_avail) <= queue->size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ram ram = {.base = MEMORY_BASE, .size = MEMORY_SIZE, .host = NULL};
    struct virtqueue queue = {.ram = &ram};
    struct iovec iov[VIRTQUEUE_SIZE_MAX];
    struct virtio_chain chain;

    if (size < 3)
        return 0;
    ram.host = aligned_alloc(4096, MEMORY_SIZE);
    require(ram.host != NULL);
    memset(ram.host, 0, MEMORY_SIZE);
    memcpy(ram.host, data + 3, size - 3 < MEMORY_SIZE ? size - 3 : MEMORY_SIZE);
    virtqueue_reset(&queue);
    queue.size = (uint16_t)(1u << data[0] % 9);
    queue.event_index = data[0] & 0x80;
    queue.driver = MEMORY_BASE;
    queue.descriptors = (MEMORY_BASE + 2 * (3 + (uint64_t)queue.size) + 15) & ~UINT64_C(15);
    queue.device = DEVICE;
    require(virtqueue_enable(&queue));
    unsigned capacity = data[2] ? data[2] : VIRTQUEUE_SIZE_MAX;
    for (unsigned i = 0; i < data[1]; i++) {
        bool possible = is_index_possible(&queue);
        int result = virtqueue_peek(&queue, 0, iov, capacity, &chain);
        require(possible || result == -EIO);
        if (result != 1) {
            require(result == 0 || result == -ENOSPC || (result == -EIO && queue.broken));
            break;
        }
        check(&ram, iov, &chain, capacity);
        virtqueue_use(&queue, &chain, i);
        virtqueue_publish(&queue);
        virtqueue_interrupt_wanted(&queue);
    }
    for (uint16_t ahead = 0; virtqueue_peek(&queue, ahead, iov, capacity, &chain) == 1; ahead++)
        check(&ram, iov, &chain, capacity);
    virtqueue_want_notifications(&queue, 1);
    virtqueue_refuse_notifications(&queue);
    free(ram.host);
    return 0;
}
