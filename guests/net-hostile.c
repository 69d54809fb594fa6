/*
 * A network driver that means harm. Each attack does to the card what a correct driver never does,
 * and each is followed by what a correct driver does, which must work: the VMM has survived, and
 * nothing of one attack outlives a reset. What a card answers to nonsense is its own business,
 * unless the specification says otherwise.
 *
 * Application argument: seconds to go on for with attacks at random (0: each attack once). With a
 * second CPU, that one scribbles over the rings all the while.
 */
#include <stdbool.h>

#include "lib/apic.h"
#include "lib/args.h"
#include "lib/boot.h"
#include "lib/card.h"
#include "lib/cpu.h"
#include "lib/ioapic.h"
#include "lib/pci.h"
#include "lib/smp.h"
#include "lib/tap.h"
#include "lib/text.h"
#include "lib/trap.h"

#define TYPE_NETWORK     1
#define REGISTERS        256
#define DEFAULT_BAR      UINT64_C(0xfe00000c)
#define FLAG_INDIRECT    4
#define INTERRUPT_VECTOR 0x2b

static struct virtio_device device;
static struct virtio_queue queues[2]; /* receive, send */
/*
 * The card writes to them wherever a scribbled address leads: one whose lowest 16 bits were changed
 * stays here, and the last frame has room behind. Otherwise this guest would be its own victim.
 */
#define BUFFERS 16
static uint8_t buffers[2 * BUFFERS][4096] __attribute__((aligned(65536)));
static volatile bool scribbling, finished;
static uint64_t seed = 88172645463325252;

static uint64_t random_number(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static volatile uint8_t *registers(void)
{
    return device.common - 0x88; /* spec/devices.md section 2 */
}

/* Up to DRIVER_OK, with empty queues. */
static bool bring_up(uint64_t features)
{
    if (!virtio_find(&device, TYPE_NETWORK) || !virtio_negotiate(&device, features) ||
        !virtio_set_up_queue(&device, CARD_QUEUE_RECEIVE, &queues[0]) ||
        !virtio_set_up_queue(&device, CARD_QUEUE_SEND, &queues[1]))
        return false;
    virtio_ready(&device);
    return true;
}

static void describe(unsigned queue, unsigned index, uint64_t address, uint32_t size,
                     uint16_t flags, uint16_t next)
{
    queues[queue].descriptors[index] = (struct virtio_descriptor){address, size, flags, next};
}

/* Not by what is in the queue's structure, which attacks overwrite. */
static void ring(unsigned queue)
{
    *(volatile uint16_t *)(device.notify + device.notify_multiplier * queue) = (uint16_t)queue;
}

static uint64_t buffer(unsigned number)
{
    return (uintptr_t)buffers[number];
}

/* How long to wait for the card, in milliseconds: what it had been given before can delay it. A
 * card whose queues were made unusable never answers. */
static unsigned patience = 2000;

/* Wait until so many chains of the transmit queue were used; `*last` is the number of the last. */
static bool await_used(unsigned count, uint32_t *last)
{
    uint64_t end = cpu_tsc() + patience * (uint64_t)boot_tsc_khz();

    while (count != 0 && cpu_tsc() < end) {
        const struct virtio_used *used = virtio_take(&queues[1]);
        if (used == NULL) {
            cpu_pause();
            continue;
        }
        *last = used->id;
        count--;
    }
    return count == 0;
}

/* A sensible frame out, and it comes back as used. */
static bool works(void)
{
    uint32_t last;

    memset(buffers[0], 0, 100);
    memset(buffers[0] + 12, 0xff, 6);
    describe(1, 0, buffer(0), 76, 0, 0);
    virtio_offer(&queues[1], 0);
    ring(1);
    return await_used(1, &last) && last == 0;
}

static bool broken(void)
{
    return virtio_status(&device) & VIRTIO_NEEDS_RESET;
}

/* Frames come in from outside all the time: the card meets what is in the receive queue soon. */
static bool breaks_soon(void)
{
    uint64_t end = cpu_tsc() + 100 * (uint64_t)boot_tsc_khz();

    while (cpu_tsc() < end && !broken())
        for (unsigned i = 0; i < 1000; i++)
            cpu_pause();
    return broken();
}

static bool index_too_far(void)
{
    queues[1].avail.index = (uint16_t)(VIRTIO_QUEUE_SIZE + 1 + random_number() % 60000);
    ring(1);
    return broken();
}

static bool head_out_of_range(void)
{
    virtio_offer(&queues[1], (uint16_t)(VIRTIO_QUEUE_SIZE + random_number() % 60000));
    ring(1);
    return broken();
}

static bool next_out_of_range(void)
{
    describe(1, 0, buffer(0), 12, VIRTIO_NEXT, 0xffff);
    virtio_offer(&queues[1], 0);
    ring(1);
    return broken();
}

static bool loop(void)
{
    for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++)
        describe(1, i, buffer(0), 64, VIRTIO_NEXT, (uint16_t)((i + 1) % VIRTIO_QUEUE_SIZE));
    for (uint16_t i = 0; i < VIRTIO_QUEUE_SIZE; i++)
        virtio_offer(&queues[1], i);
    ring(1);
    return broken();
}

static bool loop_of_nothing(void)
{
    describe(1, 7, buffer(0), 0, VIRTIO_NEXT, 7);
    virtio_offer(&queues[1], 7);
    ring(1);
    return broken();
}

static bool buffers_outside_of_memory(void)
{
    uint64_t end = boot_info->phys_addr_end;
    const struct {
        uint64_t address;
        uint32_t size;
    } places[] = {{end, 1},
                  {end - 1, 2},
                  {boot_info->phys_addr_start - 1, 2},
                  {0xfe000000, 64},
                  {0xfee00000, 64},
                  {UINT64_MAX, 2},
                  {UINT64_MAX - 10, UINT32_MAX},
                  {buffer(0), UINT32_MAX}};
    bool all = true;

    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        all &= bring_up(CARD_F_ALL);
        describe(1, 0, places[i].address, places[i].size, 0, 0);
        virtio_offer(&queues[1], 0);
        ring(1);
        all &= broken();
    }
    return all;
}

static bool reading_after_writing(void)
{
    describe(1, 0, buffer(0), 64, VIRTIO_WRITE | VIRTIO_NEXT, 1);
    describe(1, 1, buffer(1), 64, 0, 0);
    virtio_offer(&queues[1], 0);
    ring(1);
    return broken();
}

static bool indirect(void)
{
    describe(1, 0, buffer(0), 32, FLAG_INDIRECT, 0);
    virtio_offer(&queues[1], 0);
    ring(1);
    return broken();
}

/* Frames that make no sense are lost, and no reason to stop. */
static bool senseless_frames(void)
{
    static const struct card_header headers[] = {
        {.flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff},
        {.flags = 1, .csum_start = 60, .csum_offset = 3},
        {.flags = 0xff},
        {.gso_type = 1, .gso_size = 0},
        {.gso_type = 1, .gso_size = 0xffff, .header_length = 0xffff},
        {.gso_type = 2},
        {.gso_type = 3},
        {.gso_type = 4, .flags = 1, .gso_size = 1, .csum_start = 34, .csum_offset = 16},
        {.gso_type = 5},
        {.gso_type = 0x81, .flags = 1},
        {.gso_type = 0xff, .flags = 0xff, .gso_size = 1, .buffers = 0xffff},
    };
    static const uint32_t sizes[] = {0, 1, 11, 12, 13, 25, 26, 27, 4095, 4096};
    const unsigned offered = sizeof headers / sizeof *headers + sizeof sizes / sizeof *sizes + 1;
    uint32_t last;

    for (unsigned i = 0; i < sizeof headers / sizeof *headers; i++) {
        memcpy(buffers[i], &headers[i], sizeof headers[i]);
        describe(1, i, buffer(i), 76, 0, 0);
        virtio_offer(&queues[1], (uint16_t)i);
    }
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        describe(1, 100 + i, buffer(15), sizes[i], 0, 0);
        virtio_offer(&queues[1], (uint16_t)(100 + i));
    }
    /* As long as it gets: 1 MiB in 256 pieces, and a header in 12. */
    for (unsigned i = 0; i < 12; i++)
        describe(1, 130 + i, buffer(12) + i, 1, VIRTIO_NEXT, (uint16_t)(131 + i));
    describe(1, 142, buffer(13), 100, 0, 0);
    virtio_offer(&queues[1], 130);
    ring(1);
    if (!await_used(offered, &last))
        return false;
    for (unsigned i = 0; i < 256; i++)
        describe(1, i, buffer(i % 16), 4096, VIRTIO_NEXT, (uint16_t)(i + 1));
    describe(1, 255, buffer(15), 4096, 0, 0);
    virtio_offer(&queues[1], 0);
    ring(1);
    return await_used(1, &last) && !broken() && works();
}

static bool buffers_to_be_read_for_receiving(void)
{
    describe(0, 0, buffer(0), 4096, 0, 0);
    virtio_offer(&queues[0], 0);
    ring(0);
    return works();
}

static bool small_buffers_for_receiving(void)
{
    for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
        describe(0, i, buffer(i % 16) + i, 1 + i % 5, VIRTIO_WRITE, 0);
        virtio_offer(&queues[0], (uint16_t)i);
    }
    ring(0);
    breaks_soon();
    return !broken() && works();
}

/* The card writes frames over its own rings. Anything may come of it, but for harm. */
static bool receive_into_the_rings(void)
{
    for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
        uint64_t place = (uintptr_t)&queues[0] + 64 * (uint64_t)(i % 64);
        describe(0, i, place, 2048, VIRTIO_WRITE, 0);
        virtio_offer(&queues[0], (uint16_t)i);
    }
    ring(0);
    breaks_soon();
    return true;
}

static bool receive_out_of_memory(void)
{
    describe(0, 0, boot_info->phys_addr_end - 4, 2048, VIRTIO_WRITE, 0);
    virtio_offer(&queues[0], 0);
    ring(0);
    return breaks_soon();
}

static void fill_both(void)
{
    for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++) {
        describe(0, i, buffer(i % 8), 2048, VIRTIO_WRITE, 0);
        virtio_offer(&queues[0], (uint16_t)i);
        describe(1, i, buffer(8 + i % 8), 1500, 0, 0);
        virtio_offer(&queues[1], (uint16_t)i);
    }
}

static bool reset_in_flight(void)
{
    bool all = true;

    for (unsigned i = 0; i < 20; i++) {
        all &= bring_up(i & 1 ? CARD_F_ALL : CARD_F_MAC);
        fill_both();
        ring(0);
        ring(1);
        device.common[VIRTIO_STATUS] = 0;
        all &= virtio_status(&device) == 0;
        uint16_t seen = queues[0].used.index;
        ring(0);
        ring(1);
        all &= queues[0].used.index == seen; /* it does not touch memory any more */
    }
    return all;
}

static bool doorbells(void)
{
    fill_both();
    for (unsigned i = 0; i < 2000; i++)
        *(volatile uint16_t *)(registers() + 0xd0 + 2 * (random_number() % 4)) = (uint16_t)i;
    return !broken();
}

/* Every width at every place; what was set by accident is gone after a reset. */
static bool all_widths(void)
{
    volatile uint8_t *base = registers();

    for (unsigned offset = 0; offset < REGISTERS; offset++) {
        (void)base[offset];
        (void)*(volatile uint16_t *)(base + offset);
        (void)*(volatile uint32_t *)(base + offset);
        (void)*(volatile uint64_t *)(base + offset);
        if (offset < 0x40)
            continue; /* the BAR would move */
        base[offset] = (uint8_t)random_number();
        *(volatile uint16_t *)(base + offset) = (uint16_t)random_number();
        *(volatile uint32_t *)(base + offset) = (uint32_t)random_number();
        *(volatile uint64_t *)(base + offset) = random_number();
    }
    virtio_reset(&device);
    return base[0x40] == 9 && base[0] == 0xf4;
}

static bool configuration_space(void)
{
    bool all = true;

    for (unsigned i = 0; i < 500; i++) {
        unsigned offset = (unsigned)random_number() & 0xff;
        unsigned size = 1u << random_number() % 3;
        offset &= ~(size - 1);
        if (random_number() % 2)
            pci_write(device.function, offset, size, (uint32_t)random_number());
        else
            (void)pci_read(device.function, offset, size);
        (void)pci_read((unsigned)random_number() & 0xff, offset, size);
    }
    pci_write(device.function, PCI_BAR0, 4, (uint32_t)DEFAULT_BAR);
    pci_write(device.function, PCI_BAR0 + 4, 4, 0);
    pci_write(device.function, PCI_COMMAND, 2, 0);
    all &= pci_read(device.function, PCI_VENDOR, 4) == 0x10411af4;
    return all;
}

static bool features_not_offered(void)
{
    virtio_reset(&device);
    device.common[VIRTIO_STATUS] = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;
    for (uint32_t word = 0; word < 4; word++) {
        *(volatile uint32_t *)(device.common + VIRTIO_DRIVER_FEATURE_SELECT) = word;
        *(volatile uint32_t *)(device.common + VIRTIO_DRIVER_FEATURE) = UINT32_MAX;
    }
    device.common[VIRTIO_STATUS] = 15;
    return (virtio_status(&device) & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)) == 0;
}

static bool features_without_the_version(void)
{
    virtio_reset(&device);
    device.common[VIRTIO_STATUS] = 3;
    *(volatile uint32_t *)(device.common + VIRTIO_DRIVER_FEATURE_SELECT) = 0;
    *(volatile uint32_t *)(device.common + VIRTIO_DRIVER_FEATURE) = CARD_F_MAC;
    device.common[VIRTIO_STATUS] = 11;
    return (virtio_status(&device) & VIRTIO_FEATURES_OK) == 0;
}

static bool queues_in_strange_places(void)
{
    static const uint64_t places[] = {0, 1, 0xfe000000, 0x100000000000, UINT64_MAX};
    bool all = true;

    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        virtio_negotiate(&device, CARD_F_ALL);
        for (unsigned queue = 0; queue < 5; queue++) {
            *(volatile uint16_t *)(device.common + VIRTIO_QUEUE_SELECT) = (uint16_t)queue;
            *(volatile uint16_t *)(device.common + VIRTIO_QUEUE_SIZE_REGISTER) = 3;
            *(volatile uint16_t *)(device.common + VIRTIO_QUEUE_SIZE_REGISTER) = 0;
            *(volatile uint64_t *)(device.common + VIRTIO_QUEUE_DESC) = places[i];
            *(volatile uint64_t *)(device.common + VIRTIO_QUEUE_DRIVER) = places[i];
            *(volatile uint64_t *)(device.common + VIRTIO_QUEUE_DEVICE) = places[i];
            *(volatile uint16_t *)(device.common + VIRTIO_QUEUE_ENABLE) = 2;
            *(volatile uint16_t *)(device.common + VIRTIO_QUEUE_ENABLE) = 1;
            all &= *(volatile uint16_t *)(device.common + VIRTIO_QUEUE_ENABLE) == 0;
        }
        virtio_ready(&device);
        *(volatile uint16_t *)(device.notify) = 0;
        *(volatile uint16_t *)(device.notify + 4) = 1;
    }
    return all;
}

static bool any_status(void)
{
    for (unsigned i = 0; i < 256; i++)
        device.common[VIRTIO_STATUS] = (uint8_t)random_number();
    virtio_reset(&device);
    return virtio_status(&device) == 0;
}

static bool random_rings(void)
{
    for (unsigned round = 0; round < 20; round++) {
        bring_up(CARD_F_ALL);
        for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++)
            for (unsigned queue = 0; queue < 2; queue++)
                describe(queue, i, buffer(0) + random_number() % (sizeof buffers - 4096),
                         (uint32_t)(random_number() % 3000), (uint16_t)(random_number() & 3),
                         (uint16_t)(random_number() % VIRTIO_QUEUE_SIZE));
        for (unsigned i = 0; i < VIRTIO_QUEUE_SIZE; i++)
            for (unsigned queue = 0; queue < 2; queue++)
                virtio_offer(&queues[queue], (uint16_t)(random_number() % VIRTIO_QUEUE_SIZE));
        ring(1);
        ring(0);
    }
    return true;
}

static volatile unsigned interrupts;

static void ignore_interrupt(const struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    apic_end_of_interrupt();
}

/* A handler that does not read the ISR: the line stays active. The rest of the guest must get
 * somewhere all the same. */
static bool interrupts_without_a_handler(void)
{
    static bool ready;
    unsigned line = pci_read(device.function, PCI_INTERRUPT_LINE, 1), before = interrupts;
    uint64_t end = cpu_tsc() + 200 * (uint64_t)boot_tsc_khz();

    if (!ready) {
        trap_init();
        apic_init();
        trap_handle(INTERRUPT_VECTOR, ignore_interrupt);
        ready = true;
    }
    for (uint16_t i = 0; i < 8; i++) {
        describe(0, i, buffer(i), 2048, VIRTIO_WRITE, 0);
        virtio_offer(&queues[0], i);
    }
    ring(0);
    ioapic_route(line, INTERRUPT_VECTOR, true);
    while (cpu_tsc() < end) {
        cpu_interrupts_on();
        cpu_pause();
        cpu_interrupts_off();
    }
    ioapic_mask(line);
    return interrupts != before && works();
}

static const struct {
    const char *name;
    bool (*attack)(void);
} attacks[] = {
    {"index too far", index_too_far},
    {"head out of range", head_out_of_range},
    {"next out of range", next_out_of_range},
    {"loop", loop},
    {"loop of empty buffers", loop_of_nothing},
    {"buffers outside of memory", buffers_outside_of_memory},
    {"reading after writing", reading_after_writing},
    {"indirect descriptors", indirect},
    {"senseless frames", senseless_frames},
    {"receive queue with buffers to be read", buffers_to_be_read_for_receiving},
    {"receive queue with tiny buffers", small_buffers_for_receiving},
    {"receiving over the rings", receive_into_the_rings},
    {"receiving out of memory", receive_out_of_memory},
    {"reset in flight", reset_in_flight},
    {"many doorbells", doorbells},
    {"every width everywhere", all_widths},
    {"configuration space", configuration_space},
    {"features not offered", features_not_offered},
    {"no version", features_without_the_version},
    {"queues in strange places", queues_in_strange_places},
    {"any status", any_status},
    {"random rings", random_rings},
    {"interrupts that nobody handles", interrupts_without_a_handler},
};

#define ATTACKS (sizeof attacks / sizeof *attacks)

static void attack_all(void)
{
    for (unsigned i = 0; i < ATTACKS; i++) {
        bool ready = bring_up(CARD_F_ALL);
        bool as_expected = ready && attacks[i].attack();
        bool again = bring_up(CARD_F_ALL) && works();
        tap_ok(as_expected && again, "%s", attacks[i].name);
    }
}

static void attack_at_random(uint64_t seconds)
{
    uint64_t end = cpu_tsc() + seconds * boot_tsc_khz() * 1000;
    uint64_t count = 0;

    patience = 10;
    while (cpu_tsc() < end) {
        bring_up(random_number() % 2 ? CARD_F_ALL : CARD_F_MAC);
        scribbling = random_number() % 2;
        attacks[random_number() % ATTACKS].attack();
        count++;
    }
    scribbling = false;
    patience = 2000;
    tap_ok(bring_up(CARD_F_ALL) && works(), "the card works after %lu attacks", count);
}

/* What the other CPUs do: change what the card is reading. */
static void scribble(void)
{
    uint64_t value = 0x9e3779b97f4a7c15;

    while (!finished) {
        if (!scribbling) {
            cpu_pause();
            continue;
        }
        value = value * 6364136223846793005 + 1442695040888963407;
        volatile uint16_t *words = (volatile uint16_t *)&queues[value >> 63];
        words[(value >> 20) % (offsetof(struct virtio_queue, seen) / 2)] = (uint16_t)(value >> 44);
    }
}

static void run(uint32_t cpu)
{
    if (cpu != 0) {
        scribble();
        return;
    }
    attack_all();
    if (args_number(0, 0) != 0)
        attack_at_random((uint64_t)args_number(0, 0));
    finished = true;
}

int main(void)
{
    args_load();
    if (!virtio_find(&device, TYPE_NETWORK)) {
        tap_ok(false, "there is a network card");
        return tap_end();
    }
    smp_run(run);
    return tap_end();
}
