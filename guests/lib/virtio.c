#include "lib/virtio.h"

#include "lib/paging.h"
#include "lib/pci.h"
#include "lib/text.h"

#define DEVICE_MODERN     0x1040
#define CAPABILITY_VENDOR 9
#define CAPABILITIES_MAX  48

enum {
    CAPABILITY_COMMON = 1,
    CAPABILITY_NOTIFY = 2,
    CAPABILITY_ISR = 3,
    CAPABILITY_DEVICE = 4,
};

static uint32_t read32(const volatile uint8_t *base, unsigned offset)
{
    return *(const volatile uint32_t *)(base + offset);
}

static void write32(volatile uint8_t *base, unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(base + offset) = value;
}

static uint16_t read16(const volatile uint8_t *base, unsigned offset)
{
    return *(const volatile uint16_t *)(base + offset);
}

static void write16(volatile uint8_t *base, unsigned offset, uint16_t value)
{
    *(volatile uint16_t *)(base + offset) = value;
}

/* Each of 64 bits as two of 32 (section 4.1.3.1). */
static void write64(volatile uint8_t *base, unsigned offset, uint64_t value)
{
    write32(base, offset, (uint32_t)value);
    write32(base, offset + 4, (uint32_t)(value >> 32));
}

static void add_capability(struct virtio_device *device, unsigned at)
{
    unsigned type = pci_read(device->function, at + 3, 1);
    unsigned bar = pci_read(device->function, at + 4, 1);
    uint64_t address = bar < 6 ? pci_bar(device->function, bar) : 0;
    if (address == 0)
        return;
    address += pci_read(device->function, at + 8, 4);
    volatile uint8_t *pointer = paging_map(address);
    switch (type) {
    case CAPABILITY_COMMON:
        device->common = pointer;
        break;
    case CAPABILITY_NOTIFY:
        device->notify = pointer;
        device->notify_multiplier = pci_read(device->function, at + 16, 4);
        break;
    case CAPABILITY_ISR:
        device->isr = pointer;
        break;
    case CAPABILITY_DEVICE:
        device->config = pointer;
        break;
    }
}

bool virtio_find(struct virtio_device *device, uint16_t type)
{
    int function = pci_find(VIRTIO_VENDOR, (uint16_t)(DEVICE_MODERN + type));

    *device = (struct virtio_device){.function = (unsigned)function};
    if (function < 0)
        return false;
    pci_write(device->function, PCI_COMMAND, 2,
              pci_read(device->function, PCI_COMMAND, 2) | PCI_COMMAND_MEMORY |
                  PCI_COMMAND_BUS_MASTER);
    unsigned at = pci_read(device->function, PCI_CAPABILITIES, 1) & 0xfc;
    for (unsigned i = 0; at != 0 && i < CAPABILITIES_MAX; i++) {
        if (pci_read(device->function, at, 1) == CAPABILITY_VENDOR)
            add_capability(device, at);
        at = pci_read(device->function, at + 1, 1) & 0xfc;
    }
    return device->common && device->notify && device->isr && device->config;
}

uint8_t virtio_status(const struct virtio_device *device)
{
    return device->common[VIRTIO_STATUS];
}

static void add_status(struct virtio_device *device, uint8_t bits)
{
    device->common[VIRTIO_STATUS] = virtio_status(device) | bits;
}

void virtio_reset(struct virtio_device *device)
{
    device->common[VIRTIO_STATUS] = 0;
    while (virtio_status(device) != 0)
        ;
}

uint64_t virtio_offered(struct virtio_device *device)
{
    uint64_t features = 0;

    for (unsigned word = 0; word < 2; word++) {
        write32(device->common, VIRTIO_DEVICE_FEATURE_SELECT, word);
        features |= (uint64_t)read32(device->common, VIRTIO_DEVICE_FEATURE) << (32 * word);
    }
    return features;
}

bool virtio_negotiate(struct virtio_device *device, uint64_t wanted)
{
    virtio_reset(device);
    add_status(device, VIRTIO_ACKNOWLEDGE);
    add_status(device, VIRTIO_DRIVER);
    device->features = virtio_offered(device) & (wanted | VIRTIO_F_VERSION_1);
    for (unsigned word = 0; word < 2; word++) {
        write32(device->common, VIRTIO_DRIVER_FEATURE_SELECT, word);
        write32(device->common, VIRTIO_DRIVER_FEATURE, (uint32_t)(device->features >> (32 * word)));
    }
    add_status(device, VIRTIO_FEATURES_OK);
    return virtio_status(device) & VIRTIO_FEATURES_OK;
}

bool virtio_set_up_queue(struct virtio_device *device, unsigned number, struct virtio_queue *queue)
{
    memset(queue, 0, sizeof *queue);
    write16(device->common, VIRTIO_QUEUE_SELECT, (uint16_t)number);
    if (read16(device->common, VIRTIO_QUEUE_SIZE_REGISTER) < VIRTIO_QUEUE_SIZE)
        return false;
    write16(device->common, VIRTIO_QUEUE_SIZE_REGISTER, VIRTIO_QUEUE_SIZE);
    write64(device->common, VIRTIO_QUEUE_DESC, (uintptr_t)queue->descriptors);
    write64(device->common, VIRTIO_QUEUE_DRIVER, (uintptr_t)&queue->avail);
    write64(device->common, VIRTIO_QUEUE_DEVICE, (uintptr_t)&queue->used);
    uint32_t offset = read16(device->common, VIRTIO_QUEUE_NOTIFY_OFF) * device->notify_multiplier;
    queue->number = (uint16_t)number;
    queue->doorbell = (volatile uint16_t *)(device->notify + offset);
    write16(device->common, VIRTIO_QUEUE_ENABLE, 1);
    return read16(device->common, VIRTIO_QUEUE_ENABLE) == 1;
}

void virtio_ready(struct virtio_device *device)
{
    add_status(device, VIRTIO_DRIVER_OK);
}

void virtio_offer(struct virtio_queue *queue, uint16_t head)
{
    uint16_t index = queue->avail.index;

    queue->avail.ring[index % VIRTIO_QUEUE_SIZE] = head;
    __atomic_store_n(&queue->avail.index, (uint16_t)(index + 1), __ATOMIC_RELEASE);
}

void virtio_notify(struct virtio_device *device, struct virtio_queue *queue)
{
    uint16_t new = queue->avail.index, old = queue->notified;
    bool wanted;

    if (new == old)
        return;
    queue->notified = new;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (device->features & VIRTIO_F_EVENT_IDX) {
        uint16_t event = __atomic_load_n(&queue->used.avail_event, __ATOMIC_RELAXED);
        wanted = (uint16_t)(new - event - 1) < (uint16_t)(new - old);
    } else {
        wanted = !(__atomic_load_n(&queue->used.flags, __ATOMIC_RELAXED) & 1);
    }
    if (wanted)
        *queue->doorbell = queue->number;
}

const struct virtio_used *virtio_take(struct virtio_queue *queue)
{
    if (__atomic_load_n(&queue->used.index, __ATOMIC_ACQUIRE) == queue->seen)
        return NULL;
    return &queue->used.ring[queue->seen++ % VIRTIO_QUEUE_SIZE];
}

void virtio_want_interrupts(struct virtio_device *device, struct virtio_queue *queue, bool wanted)
{
    if (device->features & VIRTIO_F_EVENT_IDX)
        queue->avail.used_event = (uint16_t)(wanted ? queue->seen : queue->seen - 1);
    else
        queue->avail.flags = !wanted;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
