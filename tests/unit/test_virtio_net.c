/* The virtio transport and the network card on it, register by register. No thread runs: the test
 * calls what the worker would. */
#include "unit.h"

#include "card_fixture.h"

#define FEATURES_ALL                                                                               \
    (NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_MTU | NET_F_MAC | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | \
     NET_F_GUEST_ECN | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN | NET_F_MRG_RXBUF |      \
     NET_F_STATUS)

static uint64_t offered(void)
{
    put(COMMON(0), 4, 0);
    uint64_t low = get(COMMON(4), 4);
    put(COMMON(0), 4, 1);
    return low | get(COMMON(4), 4) << 32;
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
    accept_features(NET_F_MAC | VIRTIO_F_VERSION_1);
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
        accept_features(bad[i]);
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
    accept_features(FEATURES_ALL);
    put(COMMON(8), 4, 0);
    assert_int_equal(get(COMMON(12), 4), 0); /* too late */
    put(STATUS, 1, 0);
    assert_int_equal(get(STATUS, 1), 0);
    assert_int_equal(get(COMMON(28), 2), 0);
    bring_up(0);
}

static void queues_are_checked(void **state)
{
    for (unsigned ring = 32; ring <= 48; ring += 8) {
        put(COMMON(ring), 8, 0x1000); /* before the features */
        assert_int_equal(get(COMMON(ring), 8), 0);
    }
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
    put(COMMON(40), 8, 0);
    put(COMMON(48), 8, 0);
    assert_int_equal(get(COMMON(32), 8), RINGS(0));
    assert_int_equal(get(COMMON(40), 8), DRIVER(0));
    assert_int_equal(get(COMMON(48), 8), DEVICE(0));
    assert_int_equal(get(COMMON(24), 2), 16);
    assert_int_equal(get(COMMON(28), 2), 1);
    put(COMMON(22), 2, VIRTIO_QUEUES); /* there is none */
    put(COMMON(24), 2, 8);
    put(COMMON(32), 8, RINGS(0));
    put(COMMON(28), 2, 1);
    assert_int_equal(get(COMMON(24), 2), 0);
    assert_int_equal(get(COMMON(32), 8), 0);
    assert_int_equal(get(COMMON(28), 2), 0);
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

/* The other queue does not help. */
static void a_broken_queue_for_receiving_needs_a_reset(void **state)
{
    bring_up(0);
    offer(0, 999);
    frame_comes(112);
    assert_int_equal(get(STATUS, 1), 15 | 64);
    assert_int_equal(get(VIRTIO_ISR, 1), 2);
    assert_int_equal(used(0), 0);
    assert_int_equal(incoming_count, 1);
    assert_int_equal(messages, 1);
    bring_up(0);
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    ring_bell(0);
    virtio_net_receive(card);
    assert_int_equal(used(0), 1);
}

/* However often a driver is at fault: somebody reads this. */
static void complaints_end(void **state)
{
    for (unsigned i = 0; i < LOG_LIMIT + 2; i++) {
        bring_up(0);
        offer(1, 999);
        ring_bell(1);
        ring_bell(1);
        assert_int_equal(get(STATUS, 1), 15 | 64);
        assert_int_equal(messages, i < LOG_LIMIT ? i + 1 : LOG_LIMIT);
        assert_int_equal(strstr(last_message, "(further faults are not reported)") != NULL,
                         i >= LOG_LIMIT - 1);
    }
    assert_non_null(strstr(last_message, "the guest's driver is at fault: "));
}

static void complaints_about_queues_end(void **state)
{
    negotiate(0);
    put(COMMON(32), 8, UINT64_MAX - 15);
    for (unsigned i = 0; i < LOG_LIMIT + 2; i++) {
        put(COMMON(28), 2, 1);
        assert_int_equal(get(COMMON(28), 2), 0);
        assert_int_equal(messages, i < LOG_LIMIT ? i + 1 : LOG_LIMIT);
        assert_int_equal(strstr(last_message, "(further faults are not reported)") != NULL,
                         i >= LOG_LIMIT - 1);
    }
    assert_non_null(strstr(last_message, "has put queue 0 where no memory is"));
}

static void a_queue_enabled_too_late_stays_off(void **state)
{
    negotiate(0);
    put(STATUS, 1, 15);
    put(COMMON(32), 8, RINGS(0));
    put(COMMON(40), 8, DRIVER(0));
    put(COMMON(48), 8, DEVICE(0));
    put(COMMON(28), 2, 1);
    assert_int_equal(get(COMMON(28), 2), 0);
    frame_comes(112);
    assert_int_equal(incoming_count, 1);
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
    virtio_hold_back(&card->virtio, true); /* there is none: the next one is not late */
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
        TEST(the_back_end_learns_what_it_may_send),
        TEST(a_broken_queue_needs_a_reset),
        TEST(a_broken_queue_for_receiving_needs_a_reset),
        TEST(complaints_end),
        TEST(complaints_about_queues_end),
        TEST(a_queue_enabled_too_late_stays_off),
        TEST(after_a_reset_memory_is_left_alone),
        TEST(an_unhandled_interrupt_is_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
