/* Which frames of a guest reach libslirp: none that would become traffic to the host itself. */
#include "unit.h"

#include <arpa/inet.h>

#include "net/user_filter.h"

#define ICMP   1
#define TCP    6
#define UDP    17
#define ICMPV6 58
#define SYN    0x02
#define ACK    0x10

static struct user_filter filter;
static uint8_t frame[128];

static int clear(void **state)
{
    filter = (struct user_filter){0};
    return 0;
}

static bool permits(const char *to, uint8_t protocol, uint16_t from_port, uint16_t to_port,
                    uint8_t flags)
{
    bool v6 = strchr(to, ':') != NULL;
    uint8_t *ip = frame + 14, *data = ip + (v6 ? 40 : 20);

    memset(frame, 0, sizeof frame);
    frame[12] = v6 ? 0x86 : 0x08;
    frame[13] = v6 ? 0xdd : 0x00;
    ip[0] = v6 ? 0x60 : 0x45;
    ip[v6 ? 6 : 9] = protocol;
    assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, to, ip + (v6 ? 24 : 16)), 1);
    data[0] = (uint8_t)(from_port >> 8);
    data[1] = (uint8_t)from_port;
    data[2] = (uint8_t)(to_port >> 8);
    data[3] = (uint8_t)to_port;
    data[13] = flags;
    return user_filter_permits(&filter, frame, sizeof frame);
}

static void the_world_is_open(void **state)
{
    assert_true(permits("192.0.2.1", TCP, 5000, 80, SYN));
    assert_true(permits("9.9.9.9", UDP, 5000, 53, 0));
    assert_true(permits("10.0.6.1", UDP, 5000, 9, 0));
    assert_true(permits("2001:db8::1", TCP, 5000, 80, SYN));
    assert_true(permits("fec0::1", UDP, 5000, 80, 0)); /* not link-local */
    frame[12] = 0x08;
    frame[13] = 0x06; /* ARP */
    assert_true(user_filter_permits(&filter, frame, 42));
}

static void the_host_is_closed(void **state)
{
    static const char *const addresses[] = {
        "127.0.0.1",       "127.255.0.1", "0.0.0.0",     "10.0.5.1",     "10.0.5.2",
        "255.255.255.255", "::",          "::1",         "::127.0.0.1",  "::ffff:127.0.0.1",
        "::ffff:9.9.9.9",  "fd00:a:5::1", "fd00:a:5::2", "fd00:a:5::77", "fe80::2",
        "ff02::1",
    };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        assert_false(permits(addresses[i], UDP, 5000, 5001, 0));
        assert_false(permits(addresses[i], TCP, 5000, 22, SYN));
        assert_false(permits(addresses[i], 132, 0, 0, 0));
    }
}

static void its_servers_are_there(void **state)
{
    assert_true(permits("10.0.5.1", ICMP, 0, 0, 0));
    assert_true(permits("10.0.5.2", UDP, 5000, 53, 0));
    assert_true(permits("10.0.5.2", TCP, 5000, 53, SYN));
    assert_true(permits("10.0.5.1", UDP, 68, 67, 0));
    assert_true(permits("255.255.255.255", UDP, 68, 67, 0));
    assert_true(permits("fd00:a:5::2", UDP, 5000, 53, 0));
    assert_true(permits("fd00:a:5::1", ICMPV6, 0, 0, 0));
    assert_true(permits("fe80::2", ICMPV6, 0, 0, 0));
    assert_true(permits("ff02::1:ff00:1", ICMPV6, 0, 0, 0));
    assert_true(permits("ff02::1:2", UDP, 546, 547, 0));
    assert_false(permits("10.0.5.1", UDP, 5000, 53, 0));
}

static void connections_from_the_host_are_answered(void **state)
{
    assert_true(permits("10.0.5.1", TCP, 80, 5000, SYN | ACK));
    assert_true(permits("10.0.5.1", TCP, 80, 5000, ACK));
    assert_true(permits("fd00:a:5::1", TCP, 80, 5000, SYN | ACK));
    assert_false(permits("10.0.5.1", TCP, 80, 5000, SYN));

    assert_false(permits("10.0.5.1", UDP, 80, 5000, 0));
    permits("10.0.5.3", UDP, 5000, 80, 0);
    memcpy(frame + 14 + 12, "\12\0\5\1", 4);
    user_filter_note(&filter, frame, sizeof frame);
    assert_true(permits("10.0.5.1", UDP, 80, 5000, 0));
    assert_false(permits("10.0.5.1", UDP, 81, 5000, 0));
    assert_false(permits("10.0.5.1", UDP, 80, 5001, 0));
    /* IPv6 has ports of its own. */
    assert_false(permits("fd00:a:5::1", UDP, 80, 5000, 0));
    permits("fd00:a:5::3", UDP, 5000, 80, 0);
    assert_int_equal(inet_pton(AF_INET6, "fd00:a:5::1", frame + 14 + 8), 1);
    user_filter_note(&filter, frame, sizeof frame);
    assert_true(permits("fd00:a:5::1", UDP, 80, 5000, 0));
    assert_false(permits("fd00:a:5::2", UDP, 80, 5000, 0));
    assert_false(permits("fd00:a:5::77", UDP, 80, 5000, 0));
    assert_false(permits("fd00:a:5::1", UDP, 80, 5001, 0));
    for (size_t size = 0; size < 14 + 40 + 4; size++)
        user_filter_note(&filter, frame, size);
    /* Only what came from the gateway counts. */
    permits("10.0.5.3", UDP, 6000, 80, 0);
    memcpy(frame + 14 + 12, "\11\11\11\11", 4);
    user_filter_note(&filter, frame, sizeof frame);
    assert_false(permits("10.0.5.1", UDP, 80, 6000, 0));
}

/* As if `size` bytes were behind the IP header. */
static bool permits_cut(bool v6, size_t size)
{
    return user_filter_permits(&filter, frame, 14 + (v6 ? 40u : 20u) + size);
}

static void what_is_cut_short_answers_nobody(void **state)
{
    for (unsigned v6 = 0; v6 < 2; v6++) {
        const char *host = v6 ? "fd00:a:5::1" : "10.0.5.1";
        assert_true(permits(host, TCP, 80, 5000, ACK));
        for (size_t size = 0; size <= 13; size++)
            assert_false(permits_cut(v6, size));
        assert_true(permits_cut(v6, 14));
        /* Port 0 on both sides is no peer that was noted. */
        assert_false(permits(host, UDP, 0, 0, 0));
        for (size_t size = 0; size < 4; size++)
            assert_false(permits_cut(v6, size));
    }
}

/* One that is known already needs no place of its own, so others are not forgotten for it. */
static void peers_are_noted_once(void **state)
{
    for (uint16_t port = 1; port < 2 * USER_FILTER_PEERS; port++) {
        permits("10.0.5.3", UDP, 5000 + port / USER_FILTER_PEERS, 80, 0);
        memcpy(frame + 14 + 12, "\12\0\5\1", 4);
        user_filter_note(&filter, frame, sizeof frame);
    }
    assert_int_equal(filter.next, 2);
    assert_true(permits("10.0.5.1", UDP, 80, 5000, 0));
    assert_true(permits("10.0.5.1", UDP, 80, 5001, 0));
    /* Neither options nor other protocols. */
    permits("10.0.5.3", UDP, 6000, 80, 0);
    memcpy(frame + 14 + 12, "\12\0\5\1", 4);
    frame[14] = 0x46;
    user_filter_note(&filter, frame, sizeof frame);
    frame[14] = 0x45;
    frame[14 + 9] = TCP;
    user_filter_note(&filter, frame, sizeof frame);
    permits("fd00:a:5::3", TCP, 6000, 80, 0);
    assert_int_equal(inet_pton(AF_INET6, "fd00:a:5::1", frame + 14 + 8), 1);
    user_filter_note(&filter, frame, sizeof frame);
    assert_int_equal(filter.next, 2);
}

static void what_hides_its_ports_is_refused(void **state)
{
    assert_true(permits("10.0.5.2", UDP, 5000, 53, 0));
    frame[14 + 6] = 0x20; /* more fragments */
    assert_false(user_filter_permits(&filter, frame, sizeof frame));
    frame[14 + 6] = 0;
    frame[14 + 7] = 1; /* not the first */
    assert_false(user_filter_permits(&filter, frame, sizeof frame));
    frame[14 + 7] = 0;
    frame[14] = 0x46; /* options: the ports are elsewhere */
    assert_false(user_filter_permits(&filter, frame, sizeof frame));
    frame[14] = 0x44;
    assert_false(user_filter_permits(&filter, frame, sizeof frame));
    assert_false(permits("fd00:a:5::2", 44, 0, 53, 0)); /* a fragment header */
    assert_true(permits("10.0.5.2", UDP, 5000, 53, 0));
    for (size_t size = 0; size < 14 + 20 + 4; size++)
        assert_false(user_filter_permits(&filter, frame, size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_world_is_open, clear),
        cmocka_unit_test_setup(the_host_is_closed, clear),
        cmocka_unit_test_setup(its_servers_are_there, clear),
        cmocka_unit_test_setup(connections_from_the_host_are_answered, clear),
        cmocka_unit_test_setup(what_is_cut_short_answers_nobody, clear),
        cmocka_unit_test_setup(peers_are_noted_once, clear),
        cmocka_unit_test_setup(what_hides_its_ports_is_refused, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
