/* Connections that are over: which, and the frame that has libslirp forget them. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>

#include "net/user_ended.h"

#define FIN 1
#define SYN 2
#define RST 4
#define ACK 16

#define HOST_PORT  40000
#define GUEST_PORT 80

static struct user_ended ended;
static uint8_t frame[256], reset[USER_ENDED_FRAME];
static bool v6;
static size_t frame_size;
static uint16_t host_port;

static int clear(void **state)
{
    memset(&ended, 0, sizeof ended);
    v6 = false;
    host_port = HOST_PORT;
    return 0;
}

static int clear_v6(void **state)
{
    clear(state);
    v6 = true;
    return 0;
}

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static void put32(uint8_t *to, uint32_t value)
{
    put16(to, value >> 16);
    put16(to + 2, value);
}

static void make(bool from_guest, unsigned flags, uint32_t sequence, uint32_t acknowledged,
                 size_t size)
{
    size_t header = v6 ? 40 : 20;
    uint8_t *ip = frame + 14, *tcp = ip + header;
    const char *host = v6 ? "fd00:a:5::1" : "10.0.5.1", *guest = v6 ? "fd00:a:5::3" : "10.0.5.3";

    memset(frame, 0, sizeof frame);
    memcpy(frame + 6, from_guest ? "\2\3\4\5\6\7" : "\x52\x55\x0a\0\5\1", 6);
    put16(frame + 12, v6 ? 0x86dd : 0x0800);
    ip[0] = v6 ? 0x60 : 0x45;
    put16(ip + (v6 ? 4 : 2), (unsigned)(20 + size + (v6 ? 0 : header)));
    ip[v6 ? 6 : 9] = 6;
    inet_pton(v6 ? AF_INET6 : AF_INET, from_guest ? guest : host, ip + (v6 ? 8 : 12));
    inet_pton(v6 ? AF_INET6 : AF_INET, from_guest ? host : guest, ip + (v6 ? 24 : 16));
    put16(tcp, from_guest ? GUEST_PORT : host_port);
    put16(tcp + 2, from_guest ? host_port : GUEST_PORT);
    put32(tcp + 4, sequence);
    put32(tcp + 8, acknowledged);
    tcp[12] = 5 << 4;
    tcp[13] = (uint8_t)flags;
    frame_size = 14 + header + 20 + size;
}

static void from_host(unsigned flags, uint32_t sequence, uint32_t acknowledged, size_t size)
{
    make(false, flags, sequence, acknowledged, size);
    user_ended_from_host(&ended, frame, frame_size);
}

static void from_guest(unsigned flags, uint32_t sequence, uint32_t acknowledged, size_t size)
{
    make(true, flags, sequence, acknowledged, size);
    user_ended_from_guest(&ended, frame, frame_size);
}

static bool never(void *context, uint16_t port)
{
    return false;
}

static bool is_this(void *context, uint16_t port)
{
    return port == *(uint16_t *)context;
}

static size_t next(void)
{
    return user_ended_next(&ended, never, NULL, reset);
}

static uint16_t sum(const uint8_t *bytes, size_t size, uint32_t start)
{
    for (size_t i = 0; i < size; i += 2)
        start += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    while (start >> 16)
        start = (start >> 16) + (start & 0xffff);
    return (uint16_t)start;
}

/* From the guest, with these numbers and right checksums. */
static void expect_reset(uint32_t sequence, uint32_t acknowledged)
{
    size_t header = v6 ? 40 : 20, size = next();
    const uint8_t *ip = reset + 14, *tcp = ip + header;

    assert_int_equal(size, 14 + header + 20);
    make(true, RST | ACK, sequence, acknowledged, 0);
    assert_memory_equal(reset + 6, frame + 6, 8);
    assert_memory_equal(ip + (v6 ? 8 : 12), frame + 14 + (v6 ? 8 : 12), v6 ? 32 : 8);
    assert_memory_equal(tcp, frame + 14 + header, 14);
    assert_int_equal(sum(ip + (v6 ? 8 : 12), (v6 ? 32 : 8) + 20, 6 + 20), 0xffff);
    if (!v6)
        assert_int_equal(sum(ip, 20, 0), 0xffff);
    assert_int_equal(next(), 0);
}

static void the_host_ends_first(void **state)
{
    from_host(SYN, 99, 0, 0);
    from_guest(SYN | ACK, 499, 100, 0);
    from_host(ACK, 100, 500, 10);
    from_host(FIN | ACK, 110, 500, 5);
    from_guest(ACK, 500, 116, 7);
    assert_int_equal(next(), 0);
    from_guest(FIN | ACK, 507, 116, 2);
    assert_int_equal(next(), 0);
    from_host(ACK, 116, 509, 0); /* all but the end */
    assert_int_equal(next(), 0);
    from_host(ACK, 116, 510, 0);
    expect_reset(510, 116);
}

/* Numbers pass zero; the guest's end comes before it has seen that of the host. */
static void both_end_at_once(void **state)
{
    from_host(FIN | ACK, UINT32_MAX, UINT32_MAX - 1, 0);
    from_guest(FIN | ACK, UINT32_MAX - 1, UINT32_MAX, 1);
    from_host(ACK, 0, 0, 0);
    assert_int_equal(next(), 0);
    from_guest(ACK, 0, 0, 0);
    expect_reset(0, 0);
}

/* libslirp does not wait then. */
static void the_guest_ends_first(void **state)
{
    from_guest(FIN | ACK, 500, 100, 0);
    from_host(ACK, 100, 501, 0);
    from_host(FIN | ACK, 100, 501, 0);
    from_guest(ACK, 501, 101, 0);
    assert_int_equal(next(), 0);
}

static void a_connection_may_come_again(void **state)
{
    from_host(FIN | ACK, 100, 500, 0);
    from_guest(FIN | ACK, 500, 101, 0);
    from_host(ACK, 101, 501, 0);
    from_host(SYN, 7000, 0, 0);
    assert_int_equal(next(), 0);
    from_host(FIN | ACK, 8000, 9000, 0);
    from_guest(RST, 9000, 0, 0);
    from_guest(FIN | ACK, 9000, 8001, 0);
    from_host(ACK, 8001, 9001, 0);
    assert_int_equal(next(), 0);
}

static void what_has_data_left_has_to_wait(void **state)
{
    uint16_t busy = HOST_PORT;

    for (host_port = HOST_PORT; host_port < HOST_PORT + 3; host_port++) {
        from_host(FIN | ACK, 100, 500, 0);
        from_guest(FIN | ACK, 500, 101, 0);
        from_host(ACK, 101, 501, 0);
    }
    assert_true(user_ended_next(&ended, is_this, &busy, reset) > 0);
    assert_true(user_ended_next(&ended, is_this, &busy, reset) > 0);
    assert_int_equal(user_ended_next(&ended, is_this, &busy, reset), 0);
    host_port = HOST_PORT;
    expect_reset(501, 101);
}

/* More than the table holds, at different stages: some are forgotten, nothing else happens. */
static void more_than_are_kept(void **state)
{
    unsigned found = 0;

    for (int round = 0; round < 2; round++)
        for (host_port = 1; host_port < 5000; host_port++) {
            from_host(FIN | ACK, 100, 500, 0);
            from_guest(FIN | ACK, 500, 101, 0);
            if (host_port % 3)
                from_host(ACK, 101, 501, 0);
        }
    while (next()) {
        assert_int_equal(reset[14 + 20 + 13], RST | ACK);
        found++;
    }
    assert_in_range(found, USER_ENDED_MAX / 2, USER_ENDED_MAX);
    assert_int_equal(ended.over_count, 0);
}

/* Every size, every header: read within bounds (for the sanitizers), and no effect. */
static void frames_that_make_no_sense(void **state)
{
    unsigned seed = 1;

    for (size_t size = 0; size < 14 + 40 + 20; size++) {
        make(false, FIN | ACK, 1, 1, 0);
        uint8_t *exact = malloc(size ? size : 1);
        memcpy(exact, frame, size);
        user_ended_from_host(&ended, exact, size);
        user_ended_from_guest(&ended, exact, size);
        free(exact);
        v6 = !v6;
    }
    for (int i = 0; i < 100000; i++) {
        v6 = i & 1;
        make(i & 2, (unsigned)rand_r(&seed), 1, 1, 3);
        frame[14 + (unsigned)rand_r(&seed) % 40] = (uint8_t)rand_r(&seed);
        frame[14 + (unsigned)rand_r(&seed) % 60] = (uint8_t)rand_r(&seed);
        uint8_t *exact = malloc(frame_size);
        memcpy(exact, frame, frame_size);
        user_ended_from_host(&ended, exact, frame_size);
        user_ended_from_guest(&ended, exact, frame_size);
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_host_ends_first, clear),
        cmocka_unit_test_setup(the_host_ends_first, clear_v6),
        cmocka_unit_test_setup(both_end_at_once, clear),
        cmocka_unit_test_setup(both_end_at_once, clear_v6),
        cmocka_unit_test_setup(the_guest_ends_first, clear),
        cmocka_unit_test_setup(a_connection_may_come_again, clear),
        cmocka_unit_test_setup(what_has_data_left_has_to_wait, clear),
        cmocka_unit_test_setup(more_than_are_kept, clear),
        cmocka_unit_test_setup(frames_that_make_no_sense, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
