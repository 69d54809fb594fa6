/*
 * A virtio device on PCI, and its split queues, from the driver's side (virtio 1.2, sections 2.7,
 * 3.1 and 4.1). CPU 0 only.
 */
#ifndef GUESTS_LIB_VIRTIO_H
#define GUESTS_LIB_VIRTIO_H

#include <stdbool.h>
#include <stdint.h>

#define VIRTIO_VENDOR     0x1af4
#define VIRTIO_QUEUE_SIZE 256

#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)

enum virtio_status {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED = 128,
};

/* Offsets in the common configuration structure. */
enum virtio_common {
    VIRTIO_DEVICE_FEATURE_SELECT = 0,
    VIRTIO_DEVICE_FEATURE = 4,
    VIRTIO_DRIVER_FEATURE_SELECT = 8,
    VIRTIO_DRIVER_FEATURE = 12,
    VIRTIO_NUM_QUEUES = 18,
    VIRTIO_STATUS = 20,
    VIRTIO_GENERATION = 21,
    VIRTIO_QUEUE_SELECT = 22,
    VIRTIO_QUEUE_SIZE_REGISTER = 24,
    VIRTIO_QUEUE_ENABLE = 28,
    VIRTIO_QUEUE_NOTIFY_OFF = 30,
    VIRTIO_QUEUE_DESC = 32,
    VIRTIO_QUEUE_DRIVER = 40,
    VIRTIO_QUEUE_DEVICE = 48,
};

struct virtio_descriptor {
    uint64_t address;
    uint32_t size;
    uint16_t flags, next;
};

enum {
    VIRTIO_NEXT = 1,
    VIRTIO_WRITE = 2,
};

struct virtio_used {
    uint32_t id, written;
};

/* One queue with its rings; `size` of the entries are used. */
struct virtio_queue {
    struct virtio_descriptor descriptors[VIRTIO_QUEUE_SIZE] __attribute__((aligned(16)));
    struct {
        uint16_t flags, index, ring[VIRTIO_QUEUE_SIZE], used_event;
    } avail __attribute__((aligned(2)));
    struct {
        uint16_t flags, index;
        struct virtio_used ring[VIRTIO_QUEUE_SIZE];
        uint16_t avail_event;
    } used __attribute__((aligned(4)));
    uint16_t seen;     /* used entries that were taken */
    uint16_t notified; /* avail.index of the last notification */
    uint16_t number;
    volatile uint16_t *doorbell;
};

struct virtio_device {
    unsigned function; /* PCI */
    volatile uint8_t *common, *isr, *notify, *config;
    uint32_t notify_multiplier;
    uint64_t features; /* as negotiated */
};

/* Find the device of this type (1: network) and map its registers. False if there is none. */
bool virtio_find(struct virtio_device *device, uint16_t type);

uint64_t virtio_offered(struct virtio_device *device);

/* Reset, then negotiate the wanted features that are offered, up to FEATURES_OK. */
bool virtio_negotiate(struct virtio_device *device, uint64_t wanted);

/* Give the device an empty queue, between virtio_negotiate and virtio_ready. */
bool virtio_set_up_queue(struct virtio_device *device, unsigned number, struct virtio_queue *queue);

void virtio_ready(struct virtio_device *device);
void virtio_reset(struct virtio_device *device);
uint8_t virtio_status(const struct virtio_device *device);

/* Offer the chain that starts with this descriptor; virtio_notify tells the device, if it wants to
 * be told. */
void virtio_offer(struct virtio_queue *queue, uint16_t head);
void virtio_notify(struct virtio_device *device, struct virtio_queue *queue);

/* The next chain that came back, or NULL. */
const struct virtio_used *virtio_take(struct virtio_queue *queue);

/* Ask for interrupts from this queue, or for none. After asking, look at the queue again. */
void virtio_want_interrupts(struct virtio_device *device, struct virtio_queue *queue, bool wanted);

#endif
