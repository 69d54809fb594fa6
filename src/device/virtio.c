#include "device/virtio.h"

#include <string.h>

#define VENDOR_VIRTIO   0x1af4
#define DEVICE_MODERN   0x1040 /* plus the type */
#define SUBSYSTEM_FIRST 0x40
#define BAR_SIZE        UINT64_C(0x200000)

/* Device status (section 2.1). */
#define STATUS_ACKNOWLEDGE 0x01
#define STATUS_DRIVER      0x02
#define STATUS_DRIVER_OK   0x04
#define STATUS_FEATURES_OK 0x08
#define STATUS_NEEDS_RESET 0x40
#define STATUS_FAILED      0x80
#define STATUS_BY_DRIVER                                                                           \
    (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK | STATUS_FEATURES_OK | STATUS_FAILED)

#define ISR_QUEUE  0x01
#define ISR_CONFIG 0x02

#define NO_VECTOR 0xffff /* there is no MSI-X */

/* struct virtio_pci_common_cfg of section 4.1.4.3. */
struct common {
    uint32_t device_feature_select;
    uint32_t device_feature;
    uint32_t driver_feature_select;
    uint32_t driver_feature;
    uint16_t config_msix_vector;
    uint16_t num_queues;
    uint8_t device_status;
    uint8_t config_generation;
    uint16_t queue_select;
    uint16_t queue_size;
    uint16_t queue_msix_vector;
    uint16_t queue_enable;
    uint16_t queue_notify_off;
    uint64_t queue_desc;
    uint64_t queue_driver;
    uint64_t queue_device;
    uint16_t queue_notify_data;
    uint16_t queue_reset;
    uint32_t padding;
};

_Static_assert(sizeof(struct common) == VIRTIO_ISR - VIRTIO_COMMON, "spec/devices.md section 2");

/* struct virtio_pci_cap and virtio_pci_notify_cap of section 4.1.4. */
struct capability {
    uint8_t vendor, next, size, type, bar, id, padding[2];
    uint32_t offset, length, multiplier;
};

static const struct {
    uint8_t at;
    struct capability capability;
} capabilities[] = {
    {0x40, {PCI_CAPABILITY_VENDOR, 0x50, 16, 1, .offset = VIRTIO_COMMON, .length = 64}},
    {0x50, {PCI_CAPABILITY_VENDOR, 0x60, 16, 3, .offset = VIRTIO_ISR, .length = 1}},
    {0x60,
     {PCI_CAPABILITY_VENDOR, 0x78, 20, 2, .offset = VIRTIO_NOTIFY,
      .length = VIRTIO_NOTIFY_STRIDE * VIRTIO_QUEUES, .multiplier = VIRTIO_NOTIFY_STRIDE}},
    {0x78,
     {PCI_CAPABILITY_VENDOR, 0, 16, 4, .offset = VIRTIO_CONFIG, .length = VIRTIO_CONFIG_SIZE}},
};

static struct virtio *from_pci(struct pci_function *function)
{
    return (struct virtio *)(void *)((uint8_t *)function - offsetof(struct virtio, pci));
}

/* Interrupts. */

/* With interrupt_lock held: bring the line to where it should be. */
static void update_line(struct virtio *virtio)
{
    bool level = virtio->isr && !virtio->held_back && !pci_interrupts_disabled(&virtio->pci);

    if (level == virtio->asserted)
        return;
    virtio->asserted = level;
    if (level)
        atomic_fetch_add_explicit(&virtio->interrupts, 1, memory_order_relaxed);
    virtio->line.set(virtio->line.context, level);
}

static void set_isr(struct virtio *virtio, uint8_t bit)
{
    pthread_mutex_lock(&virtio->interrupt_lock);
    virtio->isr |= bit;
    update_line(virtio);
    pthread_mutex_unlock(&virtio->interrupt_lock);
}

/* Reading clears it and ends the interrupt (section 4.1.4.5). */
static uint8_t take_isr(struct virtio *virtio)
{
    pthread_mutex_lock(&virtio->interrupt_lock);
    uint8_t isr = virtio->isr;
    virtio->isr = 0;
    virtio->held_back = false;
    update_line(virtio);
    pthread_mutex_unlock(&virtio->interrupt_lock);
    if (isr)
        atomic_store_explicit(&virtio->handled, true, memory_order_relaxed);
    return isr;
}

void virtio_interrupt(struct virtio *virtio)
{
    set_isr(virtio, ISR_QUEUE);
}

void virtio_hold_back(struct virtio *virtio, bool away)
{
    pthread_mutex_lock(&virtio->interrupt_lock);
    virtio->held_back = away && virtio->isr && !atomic_load(&virtio->handled);
    update_line(virtio);
    pthread_mutex_unlock(&virtio->interrupt_lock);
}

void virtio_fail(struct virtio *virtio, const char *reason)
{
    bool last;

    if (atomic_exchange(&virtio->needs_reset, true))
        return;
    if (log_limit_pass(&virtio->complaints, &last))
        log_warn(virtio->log, "the network card stops, the guest's driver is at fault: %s%s",
                 reason, last ? " (further faults are not reported)" : "");
    set_isr(virtio, ISR_CONFIG);
}

/* Status and features. */

static void reset(struct virtio *virtio)
{
    virtio->ops->stop(virtio);
    virtio->status = 0;
    virtio->features = 0;
    virtio->offered_select = virtio->accepted_select = 0;
    virtio->queue_select = 0;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        virtqueue_reset(&virtio->queues[i]);
    atomic_store(&virtio->needs_reset, false);
    take_isr(virtio);
    atomic_store(&virtio->handled, false);
}

static bool features_are_valid(struct virtio *virtio)
{
    uint64_t features = virtio->features;

    if (!(features & VIRTIO_F_VERSION_1) || features & ~virtio->offered)
        return false;
    return virtio->ops->check_features(virtio, features) == features;
}

/* The driver adds bits, step by step, or resets the device with 0 (section 3.1.1). */
static void set_status(struct virtio *virtio, uint64_t value)
{
    uint8_t added = (uint8_t)(value & STATUS_BY_DRIVER & ~virtio->status);

    if (value == 0) {
        reset(virtio);
        return;
    }
    if (added & STATUS_FEATURES_OK && !features_are_valid(virtio))
        added &= (uint8_t)~STATUS_FEATURES_OK;
    if (added & STATUS_DRIVER_OK && !((virtio->status | added) & STATUS_FEATURES_OK))
        added &= (uint8_t)~STATUS_DRIVER_OK;
    virtio->status |= added;
    if (added & STATUS_DRIVER_OK)
        virtio->ops->start(virtio);
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static void set_driver_feature(struct virtio *virtio, uint64_t value)
{
    unsigned shift = 32 * virtio->accepted_select;

    if (virtio->accepted_select > 1 || virtio->status & STATUS_FEATURES_OK)
        return;
    virtio->features &= ~(UINT64_C(0xffffffff) << shift);
    virtio->features |= (value & UINT32_MAX) << shift;
}

/* Queues. */

/* The selected queue if its registers may be written now, else NULL. */
static struct virtqueue *writable_queue(struct virtio *virtio)
{
    if (virtio->queue_select >= VIRTIO_QUEUES || !(virtio->status & STATUS_FEATURES_OK) ||
        virtio->queues[virtio->queue_select].enabled)
        return NULL;
    return &virtio->queues[virtio->queue_select];
}

static void set_queue_size(struct virtio *virtio, uint64_t value)
{
    struct virtqueue *queue = writable_queue(virtio);

    if (queue && value && value <= VIRTQUEUE_SIZE_MAX && !(value & (value - 1)))
        queue->size = (uint16_t)value;
}

static void set_queue_enable(struct virtio *virtio, uint64_t value)
{
    struct virtqueue *queue = writable_queue(virtio);
    bool last;

    /* The device looks at its queues when the driver is ready. */
    if (!queue || value != 1 || virtio->status & STATUS_DRIVER_OK)
        return;
    queue->event_index = virtio->features & VIRTIO_F_EVENT_IDX;
    if (!virtqueue_enable(queue) && log_limit_pass(&virtio->complaints, &last))
        log_warn(virtio->log, "the guest's network driver has put queue %u where no memory is%s",
                 virtio->queue_select, last ? " (further faults are not reported)" : "");
}

/* Registers. */

static void read_common(const struct virtio *virtio, struct common *common)
{
    static const struct virtqueue none;
    bool exists = virtio->queue_select < VIRTIO_QUEUES;
    const struct virtqueue *queue = exists ? &virtio->queues[virtio->queue_select] : &none;

    *common = (struct common){
        .device_feature_select = virtio->offered_select,
        .device_feature = feature_word(virtio->offered, virtio->offered_select),
        .driver_feature_select = virtio->accepted_select,
        .driver_feature = feature_word(virtio->features, virtio->accepted_select),
        .config_msix_vector = NO_VECTOR,
        .num_queues = VIRTIO_QUEUES,
        .device_status = (uint8_t)(virtio->status |
                                   (atomic_load(&virtio->needs_reset) ? STATUS_NEEDS_RESET : 0)),
        .queue_select = virtio->queue_select,
        .queue_size = queue->size,
        .queue_msix_vector = NO_VECTOR,
        .queue_enable = queue->enabled,
        .queue_notify_off = exists ? virtio->queue_select : 0,
        .queue_desc = queue->descriptors,
        .queue_driver = queue->driver,
        .queue_device = queue->device,
    };
}

static void set_offered_select(struct virtio *virtio, uint64_t value)
{
    virtio->offered_select = (uint32_t)value;
}

static void set_accepted_select(struct virtio *virtio, uint64_t value)
{
    virtio->accepted_select = (uint32_t)value;
}

static void set_queue_select(struct virtio *virtio, uint64_t value)
{
    virtio->queue_select = (uint16_t)value;
}

static void set_descriptors(struct virtio *virtio, uint64_t value)
{
    struct virtqueue *queue = writable_queue(virtio);
    if (queue)
        queue->descriptors = value;
}

static void set_driver_ring(struct virtio *virtio, uint64_t value)
{
    struct virtqueue *queue = writable_queue(virtio);
    if (queue)
        queue->driver = value;
}

static void set_device_ring(struct virtio *virtio, uint64_t value)
{
    struct virtqueue *queue = writable_queue(virtio);
    if (queue)
        queue->device = value;
}

/* The registers that can be written, in order of their place. */
#define REGISTER(field, function)                                                                  \
    {                                                                                              \
        offsetof(struct common, field), sizeof(((struct common *)NULL)->field), function           \
    }

static const struct {
    uint8_t offset, size;
    void (*set)(struct virtio *virtio, uint64_t value);
} registers[] = {
    REGISTER(device_feature_select, set_offered_select),
    REGISTER(driver_feature_select, set_accepted_select),
    REGISTER(driver_feature, set_driver_feature),
    REGISTER(device_status, set_status),
    REGISTER(queue_select, set_queue_select),
    REGISTER(queue_size, set_queue_size),
    REGISTER(queue_enable, set_queue_enable),
    REGISTER(queue_desc, set_descriptors),
    REGISTER(queue_driver, set_driver_ring),
    REGISTER(queue_device, set_device_ring),
};

/* What [start, start + size) and [offset, offset + length) share. */
static bool overlap(unsigned start, unsigned size, unsigned offset, unsigned length,
                    unsigned *first, unsigned *count)
{
    unsigned end = start + size < offset + length ? start + size : offset + length;

    *first = start > offset ? start : offset;
    *count = end > *first ? end - *first : 0;
    return *count;
}

/* Any width at any place: a register of which a part is written keeps its other bytes. */
static void write_common(struct virtio *virtio, unsigned offset, const uint8_t *data, unsigned size)
{
    for (size_t i = 0; i < sizeof registers / sizeof *registers; i++) {
        unsigned at = registers[i].offset, first, count;
        uint64_t value = 0;
        struct common common;
        if (!overlap(offset, size, at, registers[i].size, &first, &count))
            continue;
        read_common(virtio, &common);
        memcpy(&value, (const uint8_t *)&common + at, registers[i].size);
        memcpy((uint8_t *)&value + (first - at), data + (first - offset), count);
        registers[i].set(virtio, value);
    }
}

static void read_registers(struct pci_function *function, unsigned offset, uint8_t *data,
                           unsigned size)
{
    struct virtio *virtio = from_pci(function);
    struct common common;
    unsigned first, count;

    memset(data, 0, size);
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        if (overlap(offset, size, capabilities[i].at, capabilities[i].capability.size, &first,
                    &count))
            memcpy(data + (first - offset),
                   (const uint8_t *)&capabilities[i].capability + (first - capabilities[i].at),
                   count);
    if (overlap(offset, size, VIRTIO_COMMON, sizeof common, &first, &count)) {
        pthread_mutex_lock(&virtio->lock);
        read_common(virtio, &common);
        pthread_mutex_unlock(&virtio->lock);
        memcpy(data + (first - offset), (const uint8_t *)&common + (first - VIRTIO_COMMON), count);
    }
    if (overlap(offset, size, VIRTIO_ISR, 1, &first, &count))
        data[first - offset] = take_isr(virtio);
    if (overlap(offset, size, VIRTIO_CONFIG, VIRTIO_CONFIG_SIZE, &first, &count))
        memcpy(data + (first - offset), virtio->config + (first - VIRTIO_CONFIG), count);
}

static void write_registers(struct pci_function *function, unsigned offset, const uint8_t *data,
                            unsigned size)
{
    struct virtio *virtio = from_pci(function);
    unsigned first, count;

    if (overlap(offset, size, VIRTIO_COMMON, sizeof(struct common), &first, &count)) {
        pthread_mutex_lock(&virtio->lock);
        write_common(virtio, first - VIRTIO_COMMON, data + (first - offset), count);
        pthread_mutex_unlock(&virtio->lock);
    }
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
        if (overlap(offset, size, VIRTIO_NOTIFY + VIRTIO_NOTIFY_STRIDE * i, VIRTIO_NOTIFY_STRIDE,
                    &first, &count))
            virtio->ops->notify(virtio, i);
}

static void header_written(struct pci_function *function)
{
    struct virtio *virtio = from_pci(function);

    pthread_mutex_lock(&virtio->interrupt_lock);
    update_line(virtio);
    pthread_mutex_unlock(&virtio->interrupt_lock);
}

static const struct pci_ops pci_ops = {
    .read = read_registers,
    .write = write_registers,
    .header_written = header_written,
};

void virtio_init(struct virtio *virtio, const struct virtio_identity *identity,
                 const struct virtio_ops *ops, const struct ram *ram,
                 const struct virtio_line *line, const struct log *log)
{
    struct pci_identity pci = {
        .vendor = VENDOR_VIRTIO,
        .device = DEVICE_MODERN + identity->type,
        .subsystem_vendor = VENDOR_VIRTIO,
        .subsystem = SUBSYSTEM_FIRST + identity->type,
        .revision = 1,
        .capabilities = capabilities[0].at,
        .interrupt_line = identity->interrupt_line,
        .bar0 = identity->bar0,
        .bar0_size = BAR_SIZE,
    };

    *virtio = (struct virtio){.ops = ops, .log = log, .line = *line};
    memcpy(pci.class_code, identity->class_code, sizeof pci.class_code);
    pci_function_init(&virtio->pci, &pci, &pci_ops);
    pthread_mutex_init(&virtio->lock, NULL);
    pthread_mutex_init(&virtio->interrupt_lock, NULL);
    virtio->offered = identity->features | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX;
    for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
        virtio->queues[i].ram = ram;
        virtqueue_reset(&virtio->queues[i]);
    }
}

void virtio_destroy(struct virtio *virtio)
{
    pthread_mutex_destroy(&virtio->interrupt_lock);
    pthread_mutex_destroy(&virtio->lock);
    pci_function_destroy(&virtio->pci);
}
