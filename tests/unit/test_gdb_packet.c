/* Packets of GDB's remote protocol: frames, checksums, escapes, hexadecimal text. */
#include "unit.h"

#include "debug/gdb/packet.h"

static struct packet_parser parser;

static int fresh(void **state)
{
    memset(&parser, 0, sizeof parser);
    return 0;
}

/* The last event; all before it must be PACKET_NONE. */
static enum packet_event feed(const char *bytes, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++)
        assert_int_equal(packet_feed(&parser, (uint8_t)bytes[i]), PACKET_NONE);
    return packet_feed(&parser, (uint8_t)bytes[size - 1]);
}

#define FEED(bytes) feed(bytes, sizeof(bytes) - 1)

static void packets_are_recognised(void **state)
{
    assert_int_equal(FEED("$g#67"), PACKET_COMPLETE);
    assert_int_equal(parser.size, 1);
    assert_string_equal(parser.data, "g");
    assert_int_equal(FEED("$#00"), PACKET_COMPLETE);
    assert_int_equal(parser.size, 0);
    assert_int_equal(FEED("noise$m1,2#Fc"), PACKET_COMPLETE);
    assert_string_equal(parser.data, "m1,2");
}

static void checksums_are_checked(void **state)
{
    assert_int_equal(FEED("$g#68"), PACKET_BAD);
    assert_string_equal(parser.data, "g");
    assert_int_equal(FEED("$g#x7"), PACKET_BAD);
    assert_int_equal(FEED("$g#6x"), PACKET_BAD);
    assert_int_equal(FEED("$zw#x1"), PACKET_BAD); /* the sum is f1 */
}

static void escapes_are_undone(void **state)
{
    assert_int_equal(FEED("$X}\x03}\x5d#b2"), PACKET_COMPLETE);
    assert_int_equal(parser.size, 3);
    assert_memory_equal(parser.data, "X#}", 3);
    /* Zeros, and the byte that interrupts outside of packets. */
    assert_int_equal(FEED("$\0\x03#03"), PACKET_COMPLETE);
    assert_memory_equal(parser.data, "\0\x03", 2);
}

static void signs_between_packets(void **state)
{
    assert_int_equal(FEED("+"), PACKET_ACK);
    assert_int_equal(FEED("-"), PACKET_NACK);
    assert_int_equal(FEED("\x03"), PACKET_INTERRUPT);
    assert_int_equal(FEED("$+-#58"), PACKET_COMPLETE);
    assert_string_equal(parser.data, "+-");
}

static void a_new_packet_replaces_an_unfinished_one(void **state)
{
    assert_int_equal(FEED("$abc$g#67"), PACKET_COMPLETE);
    assert_string_equal(parser.data, "g");
}

static void long_packets_are_dropped(void **state)
{
    packet_feed(&parser, '$');
    for (size_t i = 0; i < PACKET_MAX; i++)
        assert_int_equal(packet_feed(&parser, 0), PACKET_NONE);
    assert_int_equal(FEED("#00"), PACKET_COMPLETE);
    assert_int_equal(parser.size, PACKET_MAX);
    for (size_t size = PACKET_MAX + 1; size <= 2 * PACKET_MAX; size += PACKET_MAX - 1) {
        packet_feed(&parser, '$');
        for (size_t i = 0; i < size; i++)
            assert_int_equal(packet_feed(&parser, 0), PACKET_NONE);
        assert_int_equal(FEED("#00"), PACKET_TOO_LONG);
    }
    assert_int_equal(FEED("$g#67"), PACKET_COMPLETE);
}

static void what_is_framed_can_be_parsed(void **state)
{
    struct text out = {0};
    uint8_t all[256];
    for (unsigned i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    packet_add(&out, all, sizeof all);
    assert_int_equal(feed(out.data, out.size), PACKET_COMPLETE);
    assert_int_equal(parser.size, sizeof all);
    assert_memory_equal(parser.data, all, sizeof all);
    out.size = 0;
    packet_add(&out, "*", 1); /* would start a run */
    assert_memory_equal(out.data, "$}\n#87", 6);
    text_free(&out);
}

static void hexadecimal_text(void **state)
{
    struct text text = {0};
    uint8_t bytes[2];
    uint64_t number;
    hex_add(&text, "\x0f\xa5", 2);
    assert_string_equal(text.data, "0fa5");
    assert_true(hex_read("0FA5", bytes, 2));
    assert_memory_equal(bytes, "\x0f\xa5", 2);
    assert_false(hex_read("0f a", bytes, 2));
    assert_false(hex_read("0f", bytes, 2));
    const char *at = "ffffFFFFffffffff,";
    assert_true(hex_number(&at, &number));
    assert_int_equal(number, UINT64_MAX);
    assert_string_equal(at, ",");
    at = "10000000000000000";
    assert_false(hex_number(&at, &number));
    at = "x";
    assert_false(hex_number(&at, &number));
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(packets_are_recognised, fresh),
        cmocka_unit_test_setup(checksums_are_checked, fresh),
        cmocka_unit_test_setup(escapes_are_undone, fresh),
        cmocka_unit_test_setup(signs_between_packets, fresh),
        cmocka_unit_test_setup(a_new_packet_replaces_an_unfinished_one, fresh),
        cmocka_unit_test_setup(long_packets_are_dropped, fresh),
        cmocka_unit_test_setup(what_is_framed_can_be_parsed, fresh),
        cmocka_unit_test(hexadecimal_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
