/* The virtio transport and the network card on it, register by register, with a back end of the
 * test's own. No thread runs: the test calls what the worker would. */
#include "unit.h"

#include <errno.h>

#include "device/virtio_net_card.h"

#define BASE   UINT64_C(0x100000000)
#define MEMORY (UINT64_C(64) << 20)
#define BAR    UINT64_C(0xfe000000)

#define COMMON(field) (VIRTIO_COMMON + (field))
#define STATUS        COMMON(20)

#define FEATURES_ALL                                                                               \
    (NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | \
     NET_F_GUEST_ECN | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN | NET_F_MRG_RXBUF |      \
     NET_F_STATUS)

/* Rings of queue N are in memory at N * 0x10000: descriptors, driver's ring, device's ring. */
#define RINGS(queue)   (BASE + 0x10000 * (uint64_t)(queue))
#define DRIVER(queue)  (RINGS(queue) + 0x2000)
#define DEVICE(queue)  (RINGS(queue) + 0x4000)
#define BUFFER(number) (BASE + 0x40000 + 0x1000 * (uint64_t)(number))

static struct ram ram;
static struct pci_bus bus;
static struct virtio_net *card;
static bool line;
static unsigned line_changes;

/* The back end: one frame to be received, the last one sent. */
static uint8_t incoming[NET_FRAME_MAX + 500], outgoing[NET_FRAME_MAX];
static size_t incoming_size, outgoing_size;
static unsigned incoming_count, outgoing_count, offloads;
static int send_result;

static int send_frame(struct net_backend *net, const struct iovec *iov, int count)
{
    if (send_result)
        return send_result;
    outgoing_size = 0;
    for (int i = 0; i < count; i++) {
        memcpy(outgoing + outgoing_size, iov[i].iov_base, iov[i].iov_len);
        outgoing_size += iov[i].iov_len;
    }
    outgoing_count++;
    return 0;
}

static ssize_t receive_frame(struct net_backend *net, const struct iovec *iov, int count)
{
    size_t done = 0;

    if (!incoming_count)
        return -EAGAIN;
    incoming_count--;
    for (int i = 0; i < count && done < incoming_size; i++) {
        size_t part = incoming_size - done < iov[i].iov_len ? incoming_size - done : iov[i].iov_len;
        memcpy(iov[i].iov_base, incoming + done, part);
        done += part;
    }
    return (ssize_t)done;
}

static void set_offloads(struct net_backend *net, unsigned value)
{
    offloads = value;
}

static void close_nothing(struct net_backend *net)
{
}

static const struct net_ops ops = {.name = "test",
                                   .send = send_frame,
                                   .receive = receive_frame,
                                   .set_offloads = set_offloads,
                                   .close = close_nothing};

static struct net_backend backend = {
    .ops = &ops,
    .info = {.mac = {2, 0, 0, 0, 0, 7},
             .mtu = 1500,
             .offloads = NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN,
             .frame_max = NET_FRAME_MAX},
    .fd = -1,
};

static void set_line(void *context, bool level)
{
    line_changes++;
    line = level;
}

static int create(void **state)
{
    static const struct ram_options options;
    static const struct log quiet;
    const struct virtio_net_config config = {
        .ram = &ram, .log = &quiet, .line = {set_line, NULL}, .interrupt_line = 11, .bar0 = BAR};

    if (ram_alloc(&ram, BASE, MEMORY, &options, NULL) != 0)
        return -1;
    line = false;
    line_changes = incoming_count = outgoing_count = offloads = 0;
    send_result = 0;
    if (virtio_net_create(&config, &backend, &card, NULL) != 0)
        return -1;
    bus.function = virtio_net_function(card);
    return 0;
}

static int destroy(void **state)
{
    virtio_net_destroy(card);
    ram_free(&ram);
    return 0;
}

/* The driver. */

static uint64_t get(unsigned offset, unsigned size)
{
    uint64_t value = 0;
    assert_true(pci_memory(&bus, BAR + offset, size, false, (uint8_t *)&value));
    return value;
}

static void put(unsigned offset, unsigned size, uint64_t value)
{
    assert_true(pci_memory(&bus, BAR + offset, size, true, (uint8_t *)&value));
}

static uint64_t offered(void)
{
    put(COMMON(0), 4, 0);
    uint64_t low = get(COMMON(4), 4);
    put(COMMON(0), 4, 1);
    return low | get(COMMON(4), 4) << 32;
}

static void accept(uint64_t features)
{
    put(COMMON(8), 4, 0);
    put(COMMON(12), 4, (uint32_t)features);
    put(COMMON(8), 4, 1);
    put(COMMON(12), 4, features >> 32);
}

static void negotiate(uint64_t features)
{
    put(STATUS, 1, 0);
    put(STATUS, 1, 1);
    put(STATUS, 1, 3);
    accept(features | VIRTIO_F_VERSION_1);
    put(STATUS, 1, 11);
    assert_int_equal(get(STATUS, 1), 11);
}

static void bring_up(uint64_t features)
{
    negotiate(features);
    memset(ram.host, 0, 0x40000);
    for (unsigned i = 0; i < 2; i++) {
        put(COMMON(22), 2, i);
        put(COMMON(32), 4, (uint32_t)RINGS(i));
        put(COMMON(36), 4, RINGS(i) >> 32);
        put(COMMON(40), 8, DRIVER(i));
        put(COMMON(48), 8, DEVICE(i));
        put(COMMON(28), 2, 1);
        assert_int_equal(get(COMMON(28), 2), 1);
    }
    put(STATUS, 1, 15);
    assert_int_equal(get(STATUS, 1), 15);
}

static uint16_t *words(uint64_t gpa)
{
    return ram_at(&ram, gpa, 4096);
}

static void describe(unsigned queue, unsigned index, uint64_t address, uint32_t size,
                     uint16_t flags, uint16_t next)
{
    uint8_t *to = ram_at(&ram, RINGS(queue) + 16 * index, 16);
    memcpy(to, &address, 8);
    memcpy(to + 8, &size, 4);
    memcpy(to + 12, &flags, 2);
    memcpy(to + 14, &next, 2);
}

static void offer(unsigned queue, uint16_t head)
{
    uint16_t *ring = words(DRIVER(queue));
    ring[2 + ring[1] % 256] = head;
    ring[1]++;
}

static void ring_bell(unsigned queue)
{
    put(VIRTIO_NOTIFY + 4 * queue, 2, queue);
}

static uint16_t used(unsigned queue)
{
    return words(DEVICE(queue))[1];
}

static uint32_t written(unsigned queue, unsigned entry)
{
    uint32_t value;
    memcpy(&value, words(DEVICE(queue)) + 2 + 4 * entry + 2, sizeof value);
    return value;
}

static void frame_comes(size_t size)
{
    for (size_t i = 0; i < size; i++)
        incoming[i] = i < sizeof(struct net_header) ? 0 : (uint8_t)i;
    incoming_size = size;
    incoming_count++;
    virtio_net_receive(card);
}

static void after_start(void **state)
{
    assert_int_equal(get(STATUS, 1), 0);
    assert_int_equal(get(COMMON(18), 2), 2);
    assert_int_equal(get(COMMON(16), 2), 0xffff);
    assert_int_equal(get(COMMON(24), 2), 256);
    assert_int_equal(get(COMMON(26), 2), 0xffff);
    assert_int_equal(get(COMMON(21), 1), get(COMMON(21), 1));
    assert_int_equal(get(0xf0, 8), 0);
    assert_int_equal(get(0xf8, 8), 0);
    assert_int_equal(get(VIRTIO_NOTIFY, 4), 0);
    assert_int_equal(get(VIRTIO_ISR, 1), 0);
    put(COMMON(22), 2, 1);
    assert_int_equal(get(COMMON(30), 2), 1);
    put(COMMON(22), 2, 2);
    assert_int_equal(get(COMMON(24), 2), 0);
    put(COMMON(22), 2, 0);
    assert_int_equal(get(COMMON(24), 2), 256);
}

static void the_configuration_of_the_card(void **state)
{
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(get(VIRTIO_CONFIG + i, 1), backend.info.mac[i]);
    assert_int_equal(get(VIRTIO_CONFIG + 6, 2), 1);
    assert_int_equal(get(VIRTIO_CONFIG + 8, 2), 0);
    assert_int_equal(get(VIRTIO_CONFIG + 10, 2), 1500);
    put(VIRTIO_CONFIG, 4, 0);
    assert_int_equal(get(VIRTIO_CONFIG, 1), 2);
}

static void the_capabilities(void **state)
{
    static const struct {
        unsigned at, next, size, type, offset, length;
    } expected[] = {
        {0x40, 0x50, 16, 1, 0x88, 64},
        {0x50, 0x60, 16, 3, 0xc8, 1},
        {0x60, 0x78, 20, 2, 0xd0, 8},
        {0x78, 0, 16, 4, 0xd8, 24},
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        assert_int_equal(get(expected[i].at, 1), 9);
        assert_int_equal(get(expected[i].at + 1, 1), expected[i].next);
        assert_int_equal(get(expected[i].at + 2, 1), expected[i].size);
        assert_int_equal(get(expected[i].at + 3, 1), expected[i].type);
        assert_int_equal(get(expected[i].at + 4, 1), 0);
        assert_int_equal(get(expected[i].at + 8, 4), expected[i].offset);
        assert_int_equal(get(expected[i].at + 12, 4), expected[i].length);
    }
    assert_int_equal(get(0x70, 4), 4);
}

static void features_word_by_word(void **state)
{
    assert_int_equal(offered(), FEATURES_ALL | VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX);
    put(COMMON(0), 4, 2);
    assert_int_equal(get(COMMON(4), 4), 0);
    put(COMMON(0), 4, UINT32_MAX);
    assert_int_equal(get(COMMON(4), 4), 0);
    accept(NET_F_MAC | VIRTIO_F_VERSION_1);
    put(COMMON(8), 4, 2);
    put(COMMON(12), 4, UINT32_MAX);
    assert_int_equal(get(COMMON(12), 4), 0);
    put(COMMON(8), 4, 0);
    assert_int_equal(get(COMMON(12), 4), NET_F_MAC);
    put(COMMON(8), 4, 1);
    assert_int_equal(get(COMMON(12), 4), 1);
}

static void features_that_do_not_go_together(void **state)
{
    static const uint64_t bad[] = {
        NET_F_MAC,                                               /* no version */
        VIRTIO_F_VERSION_1 | UINT64_C(1) << 17,                  /* not offered */
        VIRTIO_F_VERSION_1 | UINT64_C(1) << 34,                  /* not offered */
        VIRTIO_F_VERSION_1 | NET_F_HOST_TSO4,                    /* needs CSUM */
        VIRTIO_F_VERSION_1 | NET_F_GUEST_TSO6,                   /* needs GUEST_CSUM */
        VIRTIO_F_VERSION_1 | NET_F_CSUM | NET_F_HOST_ECN,        /* needs TSO */
        VIRTIO_F_VERSION_1 | NET_F_GUEST_CSUM | NET_F_GUEST_ECN, /* needs TSO */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put(STATUS, 1, 0);
        put(STATUS, 1, 3);
        accept(bad[i]);
        put(STATUS, 1, 11);
        assert_int_equal(get(STATUS, 1), 3);
        put(STATUS, 1, 15);
        assert_int_equal(get(STATUS, 1), 3);
    }
}

static void the_status_only_grows(void **state)
{
    bring_up(0);
    put(STATUS, 1, 1);
    assert_int_equal(get(STATUS, 1), 15);
    put(STATUS, 1, 128);
    assert_int_equal(get(STATUS, 1), 143);
    accept(FEATURES_ALL);
    put(COMMON(8), 4, 0);
    assert_int_equal(get(COMMON(12), 4), 0); /* too late */
    put(STATUS, 1, 0);
    assert_int_equal(get(STATUS, 1), 0);
    assert_int_equal(get(COMMON(28), 2), 0);
    bring_up(0);
}

static void queues_are_checked(void **state)
{
    put(COMMON(32), 8, 0x1000); /* before the features */
    assert_int_equal(get(COMMON(32), 8), 0);
    negotiate(0);
    put(COMMON(24), 2, 100);
    put(COMMON(24), 2, 512);
    put(COMMON(24), 2, 0);
    assert_int_equal(get(COMMON(24), 2), 256);
    put(COMMON(24), 2, 16);
    assert_int_equal(get(COMMON(24), 2), 16);
    put(COMMON(28), 2, 1); /* at address 0: no memory */
    assert_int_equal(get(COMMON(28), 2), 0);
    put(COMMON(32), 8, RINGS(0));
    put(COMMON(40), 8, DRIVER(0));
    put(COMMON(48), 8, DEVICE(0));
    put(COMMON(28), 2, 2);
    assert_int_equal(get(COMMON(28), 2), 0);
    put(COMMON(28), 2, 1);
    assert_int_equal(get(COMMON(28), 2), 1);
    put(COMMON(32), 8, 0);
    put(COMMON(24), 2, 8);
    put(COMMON(28), 2, 0);
    assert_int_equal(get(COMMON(32), 8), RINGS(0));
    assert_int_equal(get(COMMON(24), 2), 16);
    assert_int_equal(get(COMMON(28), 2), 1);
}

static void parts_of_registers(void **state)
{
    negotiate(0);
    for (unsigned i = 0; i < 8; i++)
        put(COMMON(32) + i, 1, 0x10 + i);
    assert_int_equal(get(COMMON(32), 8), UINT64_C(0x1716151413121110));
    put(COMMON(34), 4, 0xaabbccdd);
    assert_int_equal(get(COMMON(32), 8), UINT64_C(0x1716aabbccdd1110));
    put(COMMON(22), 8, 0x0000000000200001); /* queue 1, size 32, and what follows */
    assert_int_equal(get(COMMON(22), 4), 0x00200001);
    assert_int_equal(get(COMMON(21), 4), 0x20000100);
}

static void a_frame_is_sent(void **state)
{
    bring_up(0);
    memset(ram_at(&ram, BUFFER(0), 12), 0, 12);
    memset(ram_at(&ram, BUFFER(1), 100), 0x55, 100);
    describe(1, 0, BUFFER(0), 12, 1, 1);
    describe(1, 1, BUFFER(1), 100, 0, 0);
    offer(1, 0);
    ring_bell(1);
    assert_int_equal(outgoing_count, 1);
    assert_int_equal(outgoing_size, 112);
    assert_memory_equal(outgoing + 12, ram_at(&ram, BUFFER(1), 100), 100);
    assert_int_equal(used(1), 1);
    assert_int_equal(written(1, 0), 0);
    assert_true(line); /* the driver did not say it does not want to know */
    assert_int_equal(get(VIRTIO_ISR, 1), 1);
    assert_false(line);
    assert_int_equal(get(VIRTIO_ISR, 1), 0);
}

/* The header in pieces, and the frame right behind it. */
static void a_header_in_pieces(void **state)
{
    bring_up(0);
    memset(ram_at(&ram, BUFFER(0), 64), 0, 64);
    describe(1, 0, BUFFER(0), 5, 1, 1);
    describe(1, 1, BUFFER(0) + 5, 6, 1, 2);
    describe(1, 2, BUFFER(0) + 11, 50, 0, 0);
    offer(1, 0);
    ring_bell(1);
    assert_int_equal(outgoing_count, 1);
    assert_int_equal(outgoing_size, 61);
}

static void send_header(const struct net_header *header)
{
    memcpy(ram_at(&ram, BUFFER(0), 12), header, 12);
    describe(1, 0, BUFFER(0), 112, 0, 0);
    offer(1, 0);
    ring_bell(1);
}

static void only_negotiated_offloads_pass(void **state)
{
    const struct net_header checksum = {
        .flags = NET_HEADER_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
    struct net_header segment = checksum;

    bring_up(0);
    send_header(&checksum);
    assert_int_equal(outgoing_count, 0);
    assert_int_equal(used(1), 1); /* lost, but given back */
    bring_up(NET_F_CSUM);
    send_header(&checksum);
    assert_int_equal(outgoing_count, 1);
    segment.gso_type = NET_GSO_TCPV4;
    segment.gso_size = 50;
    send_header(&segment);
    assert_int_equal(outgoing_count, 1);
    bring_up(NET_F_CSUM | NET_F_HOST_TSO4);
    send_header(&segment);
    assert_int_equal(outgoing_count, 2);
    segment.gso_type = NET_GSO_TCPV6;
    send_header(&segment);
    segment.gso_type = 3; /* UFO */
    send_header(&segment);
    segment.gso_type = NET_GSO_TCPV4;
    segment.csum_start = 90; /* beyond the end */
    send_header(&segment);
    assert_int_equal(outgoing_count, 2);
}

static void frames_wait_for_room(void **state)
{
    bring_up(0);
    send_result = -EAGAIN;
    memset(ram_at(&ram, BUFFER(0), 112), 0, 112);
    describe(1, 0, BUFFER(0), 112, 0, 0);
    offer(1, 0);
    ring_bell(1);
    assert_int_equal(used(1), 0);
    send_result = 0;
    virtio_net_send(card);
    assert_int_equal(used(1), 1);
    assert_int_equal(outgoing_count, 1);
}

static void a_frame_is_received(void **state)
{
    bring_up(0);
    describe(0, 0, BUFFER(0), 12, 3, 1);
    describe(0, 1, BUFFER(1), 1514, 2, 0);
    offer(0, 0);
    frame_comes(12 + 100);
    assert_int_equal(used(0), 1);
    assert_int_equal(written(0, 0), 112);
    assert_int_equal(((uint8_t *)ram_at(&ram, BUFFER(0), 12))[10], 1); /* num_buffers */
    assert_memory_equal(ram_at(&ram, BUFFER(1), 100), incoming + 12, 100);
    assert_true(line);
}

static void interrupts_are_suppressed(void **state)
{
    bring_up(0);
    words(DRIVER(0))[0] = 1;
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    frame_comes(112);
    assert_int_equal(used(0), 1);
    assert_false(line);
    assert_int_equal(get(VIRTIO_ISR, 1), 0);
}

static void interrupts_are_disabled_in_configuration_space(void **state)
{
    bring_up(0);
    put(PCI_COMMAND, 2, PCI_COMMAND_NO_INTX);
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    frame_comes(112);
    assert_false(line);
    put(PCI_COMMAND, 2, 0);
    assert_true(line);
    assert_int_equal(get(VIRTIO_ISR, 1), 1);
    assert_false(line);
}

static void without_merging_a_large_frame_is_lost(void **state)
{
    bring_up(0);
    describe(0, 0, BUFFER(0), 500, 2, 0);
    offer(0, 0);
    frame_comes(600);
    assert_int_equal(used(0), 0);
    frame_comes(500);
    assert_int_equal(used(0), 1);
}

static void buffers_are_merged(void **state)
{
    bring_up(NET_F_MRG_RXBUF);
    for (uint16_t i = 0; i < 4; i++) {
        describe(0, i, BUFFER(i), 512, 2, 0);
        offer(0, i);
    }
    frame_comes(12 + 1100);
    assert_int_equal(used(0), 3);
    assert_int_equal(written(0, 0), 512);
    assert_int_equal(written(0, 1), 512);
    assert_int_equal(written(0, 2), 88);
    assert_int_equal(((uint8_t *)ram_at(&ram, BUFFER(0), 12))[10], 3);
    assert_memory_equal(ram_at(&ram, BUFFER(2), 88), incoming + 1024, 88);
}

static void a_frame_waits_for_enough_buffers(void **state)
{
    bring_up(NET_F_MRG_RXBUF);
    describe(0, 0, BUFFER(0), 512, 2, 0);
    describe(0, 1, BUFFER(1), 512, 2, 0);
    offer(0, 0);
    frame_comes(12 + 800);
    assert_int_equal(used(0), 0);
    assert_int_equal(words(DEVICE(0))[0], 0); /* wants to be told */
    offer(0, 1);
    ring_bell(0);
    assert_int_equal(used(0), 2);
    assert_memory_equal((uint8_t *)ram_at(&ram, BUFFER(0), 512) + 12, incoming + 12, 500);
    assert_memory_equal(ram_at(&ram, BUFFER(1), 300), incoming + 512, 300);
    assert_int_equal(words(DEVICE(0))[0], 0); /* there is none again */
}

static void a_frame_beyond_what_can_be_held_is_lost(void **state)
{
    bring_up(NET_F_MRG_RXBUF);
    describe(0, 0, BUFFER(0), 512, 2, 0);
    offer(0, 0);
    frame_comes(NET_FRAME_MAX + 1);
    assert_int_equal(used(0), 0);
    frame_comes(112);
    assert_int_equal(used(0), 1);
    assert_int_equal(written(0, 0), 112);
}

static void the_back_end_learns_what_it_may_send(void **state)
{
    bring_up(NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
    assert_int_equal(offloads, NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4);
    bring_up(NET_F_CSUM | NET_F_HOST_TSO6);
    assert_int_equal(offloads, 0);
}

static void a_broken_queue_needs_a_reset(void **state)
{
    bring_up(0);
    offer(1, 999);
    ring_bell(1);
    assert_int_equal(get(STATUS, 1), 15 | 64);
    assert_true(line);
    assert_int_equal(get(VIRTIO_ISR, 1), 2); /* the configuration has changed */
    describe(1, 0, BUFFER(0), 112, 0, 0);
    offer(1, 0);
    ring_bell(1);
    assert_int_equal(outgoing_count, 0);
    bring_up(0);
    memset(ram_at(&ram, BUFFER(0), 112), 0, 112);
    describe(1, 0, BUFFER(0), 112, 0, 0);
    offer(1, 0);
    ring_bell(1);
    assert_int_equal(outgoing_count, 1);
}

static void after_a_reset_memory_is_left_alone(void **state)
{
    bring_up(0);
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    put(STATUS, 1, 0);
    assert_false(line);
    frame_comes(112);
    ring_bell(0);
    ring_bell(1);
    assert_int_equal(used(0), 0);
    assert_int_equal(incoming_count, 1); /* it waits */
}

static void an_unhandled_interrupt_is_taken_away(void **state)
{
    bring_up(0);
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    frame_comes(112);
    assert_true(line);
    virtio_hold_back(&card->virtio, true);
    assert_false(line);
    virtio_hold_back(&card->virtio, false);
    assert_true(line);
    assert_int_equal(get(VIRTIO_ISR, 1), 1);
    offer(0, 0);
    frame_comes(112);
    virtio_hold_back(&card->virtio, true); /* this driver has a handler */
    assert_true(line);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(after_start),
        TEST(the_configuration_of_the_card),
        TEST(the_capabilities),
        TEST(features_word_by_word),
        TEST(features_that_do_not_go_together),
        TEST(the_status_only_grows),
        TEST(queues_are_checked),
        TEST(parts_of_registers),
        TEST(a_frame_is_sent),
        TEST(a_header_in_pieces),
        TEST(only_negotiated_offloads_pass),
        TEST(frames_wait_for_room),
        TEST(a_frame_is_received),
        TEST(interrupts_are_suppressed),
        TEST(interrupts_are_disabled_in_configuration_space),
        TEST(without_merging_a_large_frame_is_lost),
        TEST(buffers_are_merged),
        TEST(a_frame_waits_for_enough_buffers),
        TEST(a_frame_beyond_what_can_be_held_is_lost),
        TEST(the_back_end_learns_what_it_may_send),
        TEST(a_broken_queue_needs_a_reset),
        TEST(after_a_reset_memory_is_left_alone),
        TEST(an_unhandled_interrupt_is_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
