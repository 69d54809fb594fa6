/*
 * The virtio 1.x PCI transport: what is common to all virtio devices (virtio 1.2, sections 2, 3 and
 * 4.1; the places of the registers are those of spec/devices.md section 2).
 *
 * A device embeds a struct virtio, offers features, and is told when a driver is ready, when it
 * has reset the device, and when it notifies a queue. The transport keeps status, features and the
 * registers of the queues; their rings are the device's business from `start` until `stop`.
 *
 * Locks: registers are accessed under `lock`, and so are `start` and `stop`. `notify` is called
 * without a lock. virtio_interrupt and virtio_fail may be called from any thread, also with locks
 * held that `start`, `stop` and `notify` take.
 */
#ifndef DEVICE_VIRTIO_H
#define DEVICE_VIRTIO_H

#include "device/pci.h"
#include "device/virtqueue.h"
#include "util/log.h"

#define VIRTIO_QUEUES      2
#define VIRTIO_CONFIG_SIZE 24

/* Offsets in the function and in BAR 0. */
#define VIRTIO_COMMON 0x88
#define VIRTIO_ISR    0xc8
#define VIRTIO_NOTIFY 0xd0 /* 4 bytes for each queue */
#define VIRTIO_CONFIG 0xd8
#define VIRTIO_END    0xf0 /* zeros from here on */

#define VIRTIO_NOTIFY_STRIDE 4

#define VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1 (UINT64_C(1) << 32)

struct virtio;

struct virtio_ops {
    /* Returns the features without those that make no sense together with the others. */
    uint64_t (*check_features)(struct virtio *virtio, uint64_t features);
    /* A driver is ready: `features` and `queues` are set up, and stay until `stop`. */
    void (*start)(struct virtio *virtio);
    /* The driver has reset the device. When this returns nothing of the guest's is used any more.
     */
    void (*stop)(struct virtio *virtio);
    /* The driver has added something to a queue. On the thread of its vCPU. */
    void (*notify)(struct virtio *virtio, unsigned queue);
};

/* How the device reaches the guest's interrupt controller. */
struct virtio_line {
    void (*set)(void *context, bool level);
    void *context;
};

struct virtio {
    struct pci_function pci;
    const struct virtio_ops *ops;
    const struct log *log;
    struct virtio_line line;

    pthread_mutex_t lock;
    uint64_t offered;
    uint64_t features; /* what the driver has accepted; final from FEATURES_OK on */
    uint32_t offered_select, accepted_select;
    uint8_t status;
    uint16_t queue_select;
    struct virtqueue queues[VIRTIO_QUEUES];
    uint8_t config[VIRTIO_CONFIG_SIZE]; /* the device's own registers; read only */
    atomic_bool needs_reset;
    struct log_limit complaints;

    pthread_mutex_t interrupt_lock;
    uint8_t isr;
    bool asserted;                    /* the line, as it was last set */
    bool held_back;                   /* see virtio_hold_back */
    atomic_bool handled;              /* the driver has read an ISR that was set */
    atomic_uint_least64_t interrupts; /* how often the line was asserted */
};

struct virtio_identity {
    uint16_t type; /* 1: network card */
    uint8_t class_code[3];
    uint8_t interrupt_line;
    gpa_t bar0;
    uint64_t features;
};

void virtio_init(struct virtio *virtio, const struct virtio_identity *identity,
                 const struct virtio_ops *ops, const struct ram *ram,
                 const struct virtio_line *line, const struct log *log);
void virtio_destroy(struct virtio *virtio);

/* Interrupt the driver: it is to look at its queues. */
void virtio_interrupt(struct virtio *virtio);

/* The driver has done what it must not: the device does nothing until it is reset. `reason`
 * completes "the guest's driver is at fault: ..." Only between `start` and `stop`. */
void virtio_fail(struct virtio *virtio, const char *reason);

/*
 * An interrupt that nobody handles: until the driver has read the ISR once, take the line away for
 * a moment (`away`) and give it back. A kernel that unmasks the interrupt before it has a handler
 * would get no further otherwise, since the line stays asserted until the ISR is read.
 */
void virtio_hold_back(struct virtio *virtio, bool away);

#endif
