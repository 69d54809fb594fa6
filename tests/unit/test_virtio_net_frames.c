/* The network card: frames to and from the back end, and the guest's buffers for them. No thread
 * runs: the test calls what the worker would. */
#include "unit.h"

#include "card_fixture.h"

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

static void frames_of_impossible_sizes_are_lost(void **state)
{
    bring_up(0);
    memset(ram_at(&ram, BUFFER(0), NET_FRAME_MAX + 1), 0, NET_FRAME_MAX + 1);
    describe(1, 0, BUFFER(0), 12 + 13, 0, 0);
    describe(1, 1, BUFFER(0), 12 + 14, 0, 0);
    describe(1, 2, BUFFER(0), NET_FRAME_MAX, 0, 0);
    describe(1, 3, BUFFER(0), NET_FRAME_MAX + 1, 0, 0);
    offer(1, 0);
    offer(1, 3);
    ring_bell(1);
    assert_int_equal(used(1), 2);
    assert_int_equal(outgoing_count, 0);
    assert_string_equal(last_trace, "sent 65554 bytes, lost: Invalid argument");
    offer(1, 1);
    ring_bell(1);
    assert_int_equal(outgoing_size, 12 + 14);
    assert_string_equal(last_trace, "sent 14 bytes");
    offer(1, 2);
    ring_bell(1);
    assert_int_equal(outgoing_size, NET_FRAME_MAX);
    struct uhyve_net_stats stats;
    virtio_net_get_stats(card, &stats);
    assert_int_equal(stats.sent_lost, 2);
    assert_int_equal(stats.sent_frames, 2);
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
    segment.csum_start = 34;
    segment.gso_type = NET_GSO_TCPV4 | NET_GSO_ECN;
    send_header(&segment);
    assert_int_equal(outgoing_count, 2);
    bring_up(NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_ECN);
    send_header(&segment);
    assert_int_equal(outgoing_count, 3);
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

static void send_too(void)
{
    offer(1, 0);
    ring_bell(1);
}

/* A doorbell while another thread is at it: that one looks again. */
static void no_doorbell_is_lost(void **state)
{
    bring_up(0);
    memset(ram_at(&ram, BUFFER(0), 112), 0, 112);
    describe(1, 0, BUFFER(0), 112, 0, 0);
    offer(1, 0);
    meanwhile = send_too;
    ring_bell(1);
    assert_int_equal(used(1), 2);
    assert_int_equal(outgoing_count, 2);
}

static struct net_client client;

static int keep_client(struct net_backend *net, const struct net_client *value,
                       struct uhyve_error *error)
{
    client = *value;
    return 0;
}

/* One with a thread of its own calls when something has come, or there is room again. */
static void the_back_end_calls(void **state)
{
    static const struct net_ops calling = {.name = "calling",
                                           .start = keep_client,
                                           .send = send_frame,
                                           .receive = receive_frame,
                                           .close = close_nothing};

    backend.ops = &calling;
    assert_int_equal(virtio_net_start_backend(card, NULL, NULL, NULL), 0);
    bring_up(0);
    memset(ram_at(&ram, BUFFER(0), 112), 0, 112);
    describe(1, 0, BUFFER(0), 112, 0, 0);
    send_result = -EAGAIN;
    offer(1, 0);
    ring_bell(1);
    send_result = 0;
    incoming_size = 112;
    incoming_count = 1;
    describe(0, 0, BUFFER(1), 2000, 2, 0);
    offer(0, 0);
    client.ready(client.context);
    assert_int_equal(used(0), 1);
    assert_int_equal(used(1), 1);
    assert_int_equal(outgoing_count, 1);
    backend.ops = &ops;
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

static void one_more_comes(void)
{
    frame_comes(112);
    assert_int_equal(used(0), 0); /* the other one is at it */
}

static void no_frame_is_forgotten(void **state)
{
    bring_up(0);
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    describe(0, 1, BUFFER(1), 2000, 2, 0);
    offer(0, 0);
    offer(0, 1);
    meanwhile = one_more_comes;
    virtio_net_receive(card);
    assert_int_equal(used(0), 1);
    assert_string_equal(last_trace, "received 100 bytes in 1 buffer");
}

/* How many buffers there are stands at the end of the header, wherever that is. */
static void the_header_may_be_in_pieces(void **state)
{
    bring_up(0);
    memset(ram_at(&ram, BUFFER(0), 4096), 0xff, 4096);
    describe(0, 0, BUFFER(0), 5, 3, 1);
    describe(0, 1, BUFFER(0) + 100, 6, 3, 2);
    describe(0, 2, BUFFER(0) + 200, 101, 2, 0);
    offer(0, 0);
    frame_comes(112);
    assert_int_equal(used(0), 1);
    assert_int_equal(written(0, 0), 112);
    const uint8_t *bytes = ram_at(&ram, BUFFER(0), 4096);
    assert_int_equal(bytes[105], 1);
    assert_int_equal(bytes[200], 0);
    assert_memory_equal(bytes + 201, incoming + 12, 100);
    assert_int_equal(bytes[5], 0xff);
    assert_int_equal(bytes[106], 0xff);
    assert_int_equal(bytes[301], 0xff);
}

static void a_back_end_that_has_ended(void **state)
{
    bring_up(0);
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    receive_result = -EPIPE;
    virtio_net_receive(card);
    assert_string_equal(last_message,
                        "the network card receives nothing any more: test: Broken pipe");
    receive_result = 0;
    frame_comes(112); /* too late */
    virtio_net_receive(card);
    assert_int_equal(messages, 1);
    assert_int_equal(used(0), 0);
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

/* Waiting would be for ever: there is a limit to how many are merged. */
static void a_frame_for_too_many_buffers_is_lost(void **state)
{
    bring_up(NET_F_MRG_RXBUF);
    for (uint16_t i = 0; i < 80; i++) {
        describe(0, i, BUFFER(0) + 8 * i, 8, 2, 0);
        offer(0, i);
    }
    frame_comes(64 * 8 + 1);
    assert_int_equal(used(0), 0);
    assert_string_equal(last_trace, "lost 513 bytes for the guest, whose buffers have 512");
    frame_comes(64 * 8);
    assert_int_equal(used(0), 64);
    assert_string_equal(last_trace, "received 500 bytes in 64 buffers");
    struct uhyve_net_stats stats;
    virtio_net_get_stats(card, &stats);
    assert_int_equal(stats.received_lost, 1);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_frame_is_sent),
        TEST(a_header_in_pieces),
        TEST(frames_of_impossible_sizes_are_lost),
        TEST(only_negotiated_offloads_pass),
        TEST(frames_wait_for_room),
        TEST(no_doorbell_is_lost),
        TEST(the_back_end_calls),
        TEST(a_frame_is_received),
        TEST(no_frame_is_forgotten),
        TEST(the_header_may_be_in_pieces),
        TEST(a_back_end_that_has_ended),
        TEST(interrupts_are_suppressed),
        TEST(interrupts_are_disabled_in_configuration_space),
        TEST(without_merging_a_large_frame_is_lost),
        TEST(buffers_are_merged),
        TEST(a_frame_waits_for_enough_buffers),
        TEST(a_frame_for_too_many_buffers_is_lost),
        TEST(a_frame_beyond_what_can_be_held_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
