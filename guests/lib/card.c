#include "lib/card.h"

#include "lib/apic.h"
#include "lib/cpu.h"
#include "lib/ioapic.h"
#include "lib/pci.h"
#include "lib/text.h"
#include "lib/trap.h"

#define TYPE_NETWORK     1
#define INTERRUPT_VECTOR 0x2a
#define MTU_DEFAULT      1500
#define CONFIG_MTU       10

#define BUFFER_SIZE 2048
#define SEND_SLOTS  (VIRTIO_QUEUE_SIZE / 2) /* two descriptors each */
#define FRAME_MAX   65600

struct card card;

static struct virtio_queue receive_queue, send_queue;
static uint8_t receive_buffers[VIRTIO_QUEUE_SIZE][BUFFER_SIZE] __attribute__((aligned(64)));
static struct {
    struct card_header header;
    uint8_t head[CARD_HEAD_MAX];
} send_slots[SEND_SLOTS] __attribute__((aligned(64)));
static uint16_t free_slots[SEND_SLOTS];
static unsigned free_slot_count;
static uint8_t merged[FRAME_MAX];
static uint16_t in_use[VIRTIO_QUEUE_SIZE]; /* buffers of the last frame */
static unsigned in_use_count;
static bool traps_ready;

static void on_interrupt(const struct trap_frame *frame)
{
    (void)frame;
    if (*card.device.isr != 0) /* ends the interrupt */
        card.interrupt_count++;
    apic_end_of_interrupt();
}

void card_route_interrupts(enum card_interrupts interrupts)
{
    unsigned line = pci_read(card.device.function, PCI_INTERRUPT_LINE, 1);

    card.interrupts = interrupts;
    if (interrupts == CARD_POLL)
        return;
    if (!traps_ready) {
        trap_init();
        apic_init_for_lines();
        traps_ready = true;
    }
    trap_handle(INTERRUPT_VECTOR, on_interrupt);
    ioapic_route(line, INTERRUPT_VECTOR, interrupts == CARD_LEVEL);
}

static void offer_buffer(uint16_t number)
{
    receive_queue.descriptors[number] = (struct virtio_descriptor){
        .address = (uintptr_t)receive_buffers[number], .size = BUFFER_SIZE, .flags = VIRTIO_WRITE};
    virtio_offer(&receive_queue, number);
}

bool card_start(uint64_t wanted, enum card_interrupts interrupts)
{
    struct virtio_device *device = &card.device;

    if (!virtio_find(device, TYPE_NETWORK) || !virtio_negotiate(device, wanted) ||
        !virtio_set_up_queue(device, CARD_QUEUE_RECEIVE, &receive_queue) ||
        !virtio_set_up_queue(device, CARD_QUEUE_SEND, &send_queue))
        return false;
    for (unsigned i = 0; i < sizeof card.mac; i++)
        card.mac[i] = device->config[i];
    card.mtu = MTU_DEFAULT;
    if (device->features & CARD_F_MTU)
        card.mtu = *(const volatile uint16_t *)(device->config + CONFIG_MTU);
    card.interrupt_count = card.lost = 0;
    in_use_count = 0;
    for (uint16_t i = 0; i < VIRTIO_QUEUE_SIZE; i++)
        offer_buffer(i);
    for (uint16_t i = 0; i < SEND_SLOTS; i++)
        free_slots[i] = i;
    free_slot_count = SEND_SLOTS;
    virtio_want_interrupts(device, &send_queue, false);
    virtio_want_interrupts(device, &receive_queue, interrupts != CARD_POLL);
    card_route_interrupts(interrupts);
    virtio_ready(device);
    virtio_notify(device, &receive_queue);
    return true;
}

static void give_back(void)
{
    for (unsigned i = 0; i < in_use_count; i++)
        offer_buffer(in_use[i]);
    if (in_use_count != 0)
        virtio_notify(&card.device, &receive_queue);
    in_use_count = 0;
}

/* The other buffers of a frame that did not fit into one. */
static const uint8_t *merge(const uint8_t *first, size_t *size, unsigned buffers)
{
    memcpy(merged, first, *size);
    for (unsigned i = 1; i < buffers; i++) {
        const struct virtio_used *used = virtio_take(&receive_queue);
        if (used == NULL || used->id >= VIRTIO_QUEUE_SIZE || *size + used->written > FRAME_MAX) {
            card.lost++;
            return NULL;
        }
        memcpy(merged + *size, receive_buffers[used->id], used->written);
        *size += used->written;
        in_use[in_use_count++] = (uint16_t)used->id;
    }
    return merged;
}

const uint8_t *card_receive(size_t *size, const struct card_header **header)
{
    give_back();
    const struct virtio_used *used = virtio_take(&receive_queue);
    if (used == NULL)
        return NULL;
    const uint8_t *buffer = receive_buffers[used->id % VIRTIO_QUEUE_SIZE];
    in_use[in_use_count++] = (uint16_t)used->id;
    *header = (const struct card_header *)buffer;
    *size = used->written - sizeof **header;
    unsigned buffers = card.device.features & CARD_F_MRG_RXBUF ? (*header)->buffers : 1;
    return buffers == 1 ? buffer + sizeof **header : merge(buffer + sizeof **header, size, buffers);
}

static void reclaim(void)
{
    const struct virtio_used *used;

    while ((used = virtio_take(&send_queue)) != NULL)
        free_slots[free_slot_count++] = (uint16_t)(used->id / 2);
}

void card_send(const void *head, size_t head_size, const void *body, size_t body_size,
               const struct card_header *header)
{
    static const struct card_header plain;

    reclaim();
    while (free_slot_count == 0) {
        card_flush();
        cpu_pause();
        reclaim();
    }
    uint16_t slot = free_slots[--free_slot_count], index = (uint16_t)(2 * slot);
    send_slots[slot].header = header == NULL ? plain : *header;
    memcpy(send_slots[slot].head, head, head_size);
    send_queue.descriptors[index] = (struct virtio_descriptor){
        .address = (uintptr_t)&send_slots[slot],
        .size = (uint32_t)(sizeof plain + head_size),
        .flags = body_size != 0 ? VIRTIO_NEXT : 0,
        .next = (uint16_t)(index + 1),
    };
    send_queue.descriptors[index + 1] = (struct virtio_descriptor){
        .address = (uintptr_t)body,
        .size = (uint32_t)body_size,
    };
    virtio_offer(&send_queue, index);
}

void card_flush(void)
{
    virtio_notify(&card.device, &send_queue);
}

static bool has_received(void)
{
    return __atomic_load_n(&receive_queue.used.index, __ATOMIC_ACQUIRE) != receive_queue.seen;
}

void card_wait(void)
{
    give_back();
    while (!has_received()) {
        if (card.interrupts == CARD_POLL) {
            cpu_pause();
            continue;
        }
        virtio_want_interrupts(&card.device, &receive_queue, true);
        if (!has_received())
            cpu_wait_for_interrupt();
    }
}
