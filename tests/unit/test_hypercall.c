/* Dispatch, exit, serial channel, arguments, and what happens to bad parameter blocks
 * (spec/hypercalls.md sections 1, 3, 4.9 to 4.11, 5 and 6). */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypercall_fixture.h"
#include "util/log.h"

#define B(offset) (FIXTURE_BASE + (offset))

/* Every call that takes a parameter block: its size, and the bytes of it that are results. */
static const struct block_call {
    uint16_t port;
    size_t size;
    size_t result, result_size;
} block_calls[] = {
    {HERMIT_V1_FILE_WRITE, 20, 0, 0},
    {HERMIT_V1_FILE_OPEN, 20, 16, 4},
    {HERMIT_V1_FILE_CLOSE, 8, 4, 4},
    {HERMIT_V1_FILE_READ, 28, 20, 8},
    {HERMIT_V1_FILE_LSEEK, 16, 4, 8},
    {HERMIT_V1_CMDSIZE, 1032, 0, 1032},
    {HERMIT_V1_CMDVAL, 16, 0, 0},
    {HERMIT_V1_FILE_UNLINK, 12, 8, 4},
    {HERMIT_V1_SERIAL_WRITE_BUFFER, 16, 0, 0},
    {HERMIT_V2_SERIAL_WRITE_BUFFER, 16, 0, 0},
    {HERMIT_V2_SERIAL_READ_BUFFER, 24, 8, 8},
    {HERMIT_V2_FILE_WRITE, 32, 8, 8},
    {HERMIT_V2_FILE_OPEN, 20, 16, 4},
    {HERMIT_V2_FILE_CLOSE, 8, 4, 4},
    {HERMIT_V2_FILE_READ, 32, 8, 8},
    {HERMIT_V2_FILE_LSEEK, 16, 0, 8},
    {HERMIT_V2_FILE_UNLINK, 12, 8, 4},
    {HERMIT_V2_GETDENTS, 40, 24, 16},
    {HERMIT_V2_FILE_STAT, 32, 24, 8},
    {HERMIT_V2_FILE_FSTAT, 24, 16, 8},
    {HERMIT_V2_MKDIR, 24, 16, 8},
};

#define BLOCK_CALLS (sizeof block_calls / sizeof *block_calls)

static const uint16_t other_ports[] = {
    HERMIT_V1_EXIT,
    HERMIT_V1_UART,
    HERMIT_V2_EXIT,
    HERMIT_V2_SERIAL_WRITE_BYTE,
    HERMIT_V2_SERIAL_READ_BYTE,
};

#define OTHER_PORTS (sizeof other_ports / sizeof *other_ports)

static enum hypercall_outcome call_block(struct fixture *fixture, uint16_t port, uint64_t payload)
{
    return port < 0x1000 ? fixture_v1(fixture, port, payload) : fixture_v2(fixture, port, payload);
}

static bool is_known(unsigned port)
{
    for (size_t i = 0; i < BLOCK_CALLS; i++)
        if (block_calls[i].port == port)
            return true;
    for (size_t i = 0; i < OTHER_PORTS; i++)
        if (other_ports[i] == port)
            return true;
    return false;
}

static void ports_of_both_generations_are_found(void **state)
{
    size_t found = 0;
    int last = -1;
    for (unsigned port = 0; port <= UINT16_MAX; port++) {
        const struct hypercall *call = hypercall_find((uint16_t)port);
        assert_int_equal(call != NULL, is_known(port));
        if (!call)
            continue;
        found++;
        assert_true((int)hypercall_number(call) > last);
        last = (int)hypercall_number(call);
        assert_non_null(strstr(hypercall_name(hypercall_number(call)),
                               port < 0x1000 ? "Hypercall(V1(" : "Hypercall(V2("));
    }
    assert_int_equal(found, BLOCK_CALLS + OTHER_PORTS);
    assert_int_equal(hypercall_count(), last + 1);
    size_t named = 0;
    for (unsigned number = 0; number < hypercall_count(); number++)
        named += hypercall_name(number) != NULL;
    assert_int_equal(named, found);
}

static void exit_codes_of_both_generations(void **state)
{
    struct fixture *fixture = *state;
    fixture_put(fixture, B(0), "\1\0\0\0", 4);
    assert_int_equal(fixture_v1(fixture, HERMIT_V1_EXIT, B(0)), HYPERCALL_EXIT);
    assert_int_equal(fixture->exit_code, 1);
    assert_int_equal(fixture_v2(fixture, HERMIT_V2_EXIT, 0xffffffff), HYPERCALL_EXIT);
    assert_int_equal(fixture->exit_code, -1);
    assert_int_equal(fixture_v2(fixture, HERMIT_V2_EXIT, UINT64_C(0xffffffff00000007)),
                     HYPERCALL_EXIT);
    assert_int_equal(fixture->exit_code, 7);
    assert_int_equal(fixture_v2(fixture, HERMIT_V2_EXIT, 0x80000000), HYPERCALL_EXIT);
    assert_int_equal(fixture->exit_code, INT32_MIN);
}

static void exit_without_a_readable_code_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture_v1(fixture, HERMIT_V1_EXIT, FIXTURE_END - 3), HYPERCALL_EXIT);
    assert_int_equal(fixture->exit_code, -1);
}

static void blocks_outside_memory_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    uint8_t *before = malloc(FIXTURE_SIZE);

    for (size_t i = 0; i < FIXTURE_SIZE; i++)
        fixture->ram.host[i] = (uint8_t)(i * 7);
    memcpy(before, fixture->ram.host, FIXTURE_SIZE);
    for (size_t i = 0; i < BLOCK_CALLS; i++) {
        const struct block_call *call = &block_calls[i];
        bool v1 = call->port < 0x1000;
        const uint64_t bad[] = {
            0, FIXTURE_BASE - 1, FIXTURE_BASE - call->size + 1, FIXTURE_BASE - call->size,
            FIXTURE_END - call->size + 1, FIXTURE_END - 1, FIXTURE_END, UINT32_MAX,
            /* 64 bits: addresses whose end wraps, and whose low half alone would be good */
            UINT64_MAX, UINT64_MAX - call->size, UINT64_MAX - call->size + 1,
            UINT64_C(0x100000000) | FIXTURE_BASE, UINT64_C(1) << 63 | FIXTURE_BASE};
        for (size_t j = 0; j < (v1 ? 8 : sizeof bad / sizeof *bad); j++) {
            memset(&fixture->context.bad_block, 0, sizeof fixture->context.bad_block);
            fixture->messages = 0;
            assert_int_equal(call_block(fixture, call->port, bad[j]), HYPERCALL_DONE);
            assert_int_equal(fixture->messages, 1);
            assert_memory_equal(fixture->ram.host, before, FIXTURE_SIZE);
        }
    }
    assert_string_equal(fixture_output(fixture), "");
    free(before);
}

/* A block may be anywhere, end with the memory, and only its results are written to. */
static void only_result_fields_are_written(void **state)
{
    struct fixture *fixture = *state;
    for (size_t i = 0; i < BLOCK_CALLS; i++) {
        const struct block_call *call = &block_calls[i];
        const gpa_t places[] = {B(0), B(4097), FIXTURE_END - call->size};
        for (size_t j = 0; j < 3; j++) {
            uint8_t *block = fixture_at(fixture, places[j], call->size), expected[1032];
            memset(fixture->ram.host, 0xa5, FIXTURE_SIZE);
            assert_int_equal(call_block(fixture, call->port, places[j]), HYPERCALL_DONE);
            memset(expected, 0xa5, sizeof expected);
            assert_memory_equal(block, expected, call->result);
            size_t rest = call->result + call->result_size;
            assert_memory_equal(block + rest, expected, call->size - rest);
            if (call->result_size)
                assert_memory_not_equal(block + call->result, expected, call->result_size);
            /* around the block */
            for (uint8_t *p = fixture->ram.host; p < fixture->ram.host + FIXTURE_SIZE; p++)
                assert_true((p >= block && p < block + call->size) || *p == 0xa5);
        }
    }
}

static void other_widths_than_32_bits_are_ignored(void **state)
{
    struct fixture *fixture = *state;
    const uint32_t addresses[] = {(uint32_t)B(0), (uint32_t)B(0)};
    static const struct {
        uint8_t size;
        uint32_t count;
    } widths[] = {{1, 1}, {2, 1}, {4, 2}, {1, 4}, {4, 0}};

    for (size_t i = 0; i < BLOCK_CALLS; i++) {
        for (size_t j = 0; j < sizeof widths / sizeof *widths; j++) {
            memset(fixture->ram.host, 0xa5, 4096);
            fixture->messages = 0;
            memset(&fixture->context.bad_width, 0, sizeof fixture->context.bad_width);
            assert_int_equal(fixture_out(fixture, block_calls[i].port, widths[j].size,
                                         widths[j].count, addresses, B(0)),
                             HYPERCALL_DONE);
            assert_int_equal(fixture->messages, 1);
            for (size_t k = 0; k < 4096; k++)
                assert_int_equal(fixture->ram.host[k], 0xa5);
        }
    }
    assert_int_equal(fixture_out(fixture, HERMIT_V2_EXIT, 1, 1, addresses, 0), HYPERCALL_DONE);
    assert_int_equal(fixture_out(fixture, HERMIT_V1_EXIT, 2, 1, addresses, 0), HYPERCALL_DONE);
    fixture_out(fixture, HERMIT_V2_SERIAL_WRITE_BYTE, 1, 1, addresses, 'x');
    assert_string_equal(fixture_output(fixture), "");
}

static void guest_cannot_flood_the_log(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 100; i++) {
        fixture_v2(fixture, HERMIT_V2_FILE_CLOSE, 0);
        fixture_out(fixture, HERMIT_V2_FILE_CLOSE, 1, 1, "", B(0));
    }
    assert_int_equal(fixture->messages, 2 * LOG_LIMIT);
    assert_non_null(strstr(fixture->last_message, "further ones are not reported"));
}

static void uart_takes_bytes_of_any_width(void **state)
{
    struct fixture *fixture = *state;
    fixture_out(fixture, HERMIT_V1_UART, 1, 1, "a", 0);
    fixture_out(fixture, HERMIT_V1_UART, 2, 1, "b!", 0);
    fixture_out(fixture, HERMIT_V1_UART, 4, 1, "c!!!", 0);
    assert_string_equal(fixture_output(fixture), "abc");
    fixture_out(fixture, HERMIT_V1_UART, 1, 5, "hello", 0); /* rep outsb */
    fixture_out(fixture, HERMIT_V1_UART, 4, 2, "x___y___", 0);
    fixture_out(fixture, HERMIT_V1_UART, 1, 0, "", 0);
    assert_string_equal(fixture_output(fixture), "helloxy");
}

static void serial_byte_is_the_low_byte_of_rdi(void **state)
{
    struct fixture *fixture = *state;
    fixture_v2(fixture, HERMIT_V2_SERIAL_WRITE_BYTE, 'A');
    fixture_v2(fixture, HERMIT_V2_SERIAL_WRITE_BYTE, UINT64_C(0xfffffffffffff000) | 'B');
    assert_string_equal(fixture_output(fixture), "AB");
}

static void serial_buffers_have_their_fields_in_opposite_order(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t address_first[] = {B(0x100), 5}, length_first[] = {5, B(0x100)};
    fixture_put(fixture, B(0x100), "hello!", 6);
    fixture_put(fixture, B(0), address_first, 16);
    fixture_v1(fixture, HERMIT_V1_SERIAL_WRITE_BUFFER, B(0));
    assert_string_equal(fixture_output(fixture), "hello");
    fixture_put(fixture, B(0), length_first, 16);
    fixture_v2(fixture, HERMIT_V2_SERIAL_WRITE_BUFFER, B(0));
    assert_string_equal(fixture_output(fixture), "hello");
}

static void serial_buffers_outside_memory_write_nothing(void **state)
{
    struct fixture *fixture = *state;
    static const uint64_t bad[][2] = {{FIXTURE_END - 4, 5},       {FIXTURE_END, 1},
                                      {FIXTURE_BASE - 1, 4},      {UINT64_MAX, 4},
                                      {FIXTURE_BASE, UINT64_MAX}, {FIXTURE_BASE, FIXTURE_SIZE + 1},
                                      {FIXTURE_END, 0},           {0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const uint64_t reversed[] = {bad[i][1], bad[i][0]};
        fixture_put(fixture, B(0), bad[i], 16);
        fixture_put(fixture, B(16), reversed, 16);
        fixture_v1(fixture, HERMIT_V1_SERIAL_WRITE_BUFFER, B(0));
        fixture_v2(fixture, HERMIT_V2_SERIAL_WRITE_BUFFER, B(16));
        assert_string_equal(fixture_output(fixture), "");
    }
    const uint64_t last[] = {FIXTURE_END - 4, 4};
    fixture_put(fixture, FIXTURE_END - 4, "last", 4);
    fixture_put(fixture, B(0), last, 16);
    fixture_v1(fixture, HERMIT_V1_SERIAL_WRITE_BUFFER, B(0));
    assert_string_equal(fixture_output(fixture), "last");
}

static void nothing_can_be_read_from_the_serial_channel(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t block[] = {10, 10, B(0x100)};
    uint64_t length;
    fixture_put(fixture, B(0), block, sizeof block);
    fixture_put(fixture, B(0x100), "0123456789", 10);
    assert_int_equal(fixture_v2(fixture, HERMIT_V2_SERIAL_READ_BUFFER, B(0)), HYPERCALL_DONE);
    memcpy(&length, fixture_at(fixture, B(8), 8), 8);
    assert_int_equal(length, 0);
    assert_memory_equal(fixture_at(fixture, B(0x100), 10), "0123456789", 10);
    assert_int_equal(fixture_v2(fixture, HERMIT_V2_SERIAL_READ_BYTE, UINT64_MAX), HYPERCALL_DONE);
}

/* Arguments and environment. */

static const char *arguments[HERMIT_V1_MAX_STRINGS] = {"kernel", "--", "", "last argument"};
static const char *variables[HERMIT_V1_MAX_STRINGS] = {"A=b", "LONG=value"};

static void set_strings(struct fixture *fixture, size_t argc, size_t envc)
{
    fixture->context.arguments = (struct string_list){arguments, argc};
    fixture->context.environment = (struct string_list){variables, envc};
}

static void sizes_of_strings(void **state)
{
    struct fixture *fixture = *state;
    struct hermit_v1_cmdsize sizes;

    set_strings(fixture, 4, 2);
    memset(fixture->ram.host, 0xff, 4096);
    fixture_v1(fixture, HERMIT_V1_CMDSIZE, B(3));
    memcpy(&sizes, fixture_at(fixture, B(3), sizeof sizes), sizeof sizes);
    assert_int_equal(sizes.argc, 4);
    assert_int_equal(sizes.envc, 2);
    static const int32_t argsz[] = {7, 3, 1, 14, 0}, envsz[] = {4, 11, 0};
    assert_memory_equal(sizes.argsz, argsz, sizeof argsz);
    assert_memory_equal(sizes.envsz, envsz, sizeof envsz);
    assert_int_equal(sizes.argsz[127], 0);
    assert_int_equal(sizes.envsz[127], 0);
}

static void strings_are_copied_to_where_the_guest_wants_them(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t vectors[] = {B(0x100), B(0x200)};
    const uint64_t argv[] = {B(0x300), B(0x400), B(0x500), B(0x600)};
    const uint64_t envp[] = {B(0x700), FIXTURE_END - 11};

    set_strings(fixture, 4, 2);
    memset(fixture->ram.host, 0xff, FIXTURE_SIZE);
    fixture_put(fixture, B(0), vectors, sizeof vectors);
    fixture_put(fixture, B(0x100), argv, sizeof argv);
    fixture_put(fixture, B(0x200), envp, sizeof envp);
    fixture_v1(fixture, HERMIT_V1_CMDVAL, B(0));
    assert_memory_equal(fixture_at(fixture, B(0x300), 8), "kernel\0\xff", 8);
    assert_memory_equal(fixture_at(fixture, B(0x400), 4), "--\0\xff", 4);
    assert_memory_equal(fixture_at(fixture, B(0x500), 2), "\0\xff", 2);
    assert_memory_equal(fixture_at(fixture, B(0x600), 15), "last argument\0\xff", 15);
    assert_memory_equal(fixture_at(fixture, B(0x700), 5), "A=b\0\xff", 5);
    assert_memory_equal(fixture_at(fixture, FIXTURE_END - 11, 11), "LONG=value", 11);
}

static void bad_destinations_are_skipped(void **state)
{
    struct fixture *fixture = *state;
    /* The array of argv ends with the memory after two entries, envp is outside. */
    const uint64_t vectors[] = {FIXTURE_END - 16, UINT64_MAX - 7};
    const uint64_t argv[] = {FIXTURE_END - 6, B(0x400)}; /* one byte too few for "kernel" */

    set_strings(fixture, 4, 2);
    memset(fixture->ram.host, 0xff, FIXTURE_SIZE);
    fixture_put(fixture, B(0), vectors, sizeof vectors);
    fixture_put(fixture, FIXTURE_END - 16, argv, sizeof argv);
    fixture_v1(fixture, HERMIT_V1_CMDVAL, B(0));
    assert_memory_equal(fixture_at(fixture, FIXTURE_END - 16, 16), argv, 16);
    assert_memory_equal(fixture_at(fixture, B(0x400), 4), "--\0\xff", 4);

    const uint64_t outside[] = {FIXTURE_END - 6, FIXTURE_BASE - 1};
    fixture_put(fixture, B(0x100), outside, sizeof outside);
    fixture_put(fixture, B(0), &(uint64_t){B(0x100)}, 8);
    set_strings(fixture, 2, 0);
    fixture_v1(fixture, HERMIT_V1_CMDVAL, B(0));
    assert_memory_equal(fixture_at(fixture, FIXTURE_END - 16, 16), argv, 16);
    assert_int_equal(fixture->ram.host[16], 0xff);
}

static void as_many_strings_as_the_interface_takes(void **state)
{
    struct fixture *fixture = *state;
    struct hermit_v1_cmdsize sizes;
    const uint64_t vectors[] = {B(0x1000), B(0x2000)};
    uint64_t destinations[HERMIT_V1_MAX_STRINGS];

    for (size_t i = 4; i < HERMIT_V1_MAX_STRINGS; i++)
        arguments[i] = "more";
    for (size_t i = 2; i < HERMIT_V1_MAX_STRINGS; i++)
        variables[i] = "N=1";
    set_strings(fixture, HERMIT_V1_MAX_STRINGS, HERMIT_V1_MAX_STRINGS);
    fixture_v1(fixture, HERMIT_V1_CMDSIZE, B(0));
    memcpy(&sizes, fixture_at(fixture, B(0), sizeof sizes), sizeof sizes);
    assert_int_equal(sizes.argc, 128);
    assert_int_equal(sizes.envc, 128);
    assert_int_equal(sizes.argsz[127], 5);
    assert_int_equal(sizes.envsz[127], 4);

    fixture_put(fixture, B(0), vectors, sizeof vectors);
    for (size_t i = 0; i < HERMIT_V1_MAX_STRINGS; i++)
        destinations[i] = B(0x10000 + i * 16);
    fixture_put(fixture, B(0x1000), destinations, sizeof destinations);
    for (size_t i = 0; i < HERMIT_V1_MAX_STRINGS; i++)
        destinations[i] = B(0x20000 + i * 16);
    fixture_put(fixture, B(0x2000), destinations, sizeof destinations);
    fixture_v1(fixture, HERMIT_V1_CMDVAL, B(0));
    assert_string_equal(fixture_at(fixture, B(0x10000 + 127 * 16), 8), "more");
    assert_string_equal(fixture_at(fixture, B(0x20000 + 127 * 16), 8), "N=1");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ports_of_both_generations_are_found),
        TEST(exit_codes_of_both_generations),
        TEST(exit_without_a_readable_code_is_an_error),
        TEST(blocks_outside_memory_are_dropped),
        TEST(only_result_fields_are_written),
        TEST(other_widths_than_32_bits_are_ignored),
        TEST(guest_cannot_flood_the_log),
        TEST(uart_takes_bytes_of_any_width),
        TEST(serial_byte_is_the_low_byte_of_rdi),
        TEST(serial_buffers_have_their_fields_in_opposite_order),
        TEST(serial_buffers_outside_memory_write_nothing),
        TEST(nothing_can_be_read_from_the_serial_channel),
        TEST(sizes_of_strings),
        TEST(strings_are_copied_to_where_the_guest_wants_them),
        TEST(bad_destinations_are_skipped),
        TEST(as_many_strings_as_the_interface_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
