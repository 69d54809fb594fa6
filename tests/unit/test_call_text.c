/* Every hypercall as a line of the trace: arguments, results, and what a hostile guest passes. */
#include "unit.h"

#include <stdlib.h>

#include "debug/call_text.h"
#include "hypercall_fixture.h"

#define BLOCK   (FIXTURE_BASE + 0x1000)
#define STRING  (FIXTURE_BASE + 0x2000)
#define DATA    (FIXTURE_BASE + 0x4000)
#define VIRTUAL UINT64_C(0x5000) /* mapped to DATA */

struct traced {
    struct fixture *fixture;
    struct call_history history;
    struct text text;
};

/* Run one call as a vCPU does and keep its record. */
static struct call_record *trace(struct traced *traced, uint16_t port, const void *block,
                                 size_t size, uint8_t width, uint32_t count, bool full)
{
    struct fixture *fixture = traced->fixture;
    const struct call_detail detail = {full, &fixture->ram, &fixture->caller};
    uint32_t eax = BLOCK;
    struct hypercall_write write = {width, count, (const uint8_t *)&eax, BLOCK};

    fixture_put(fixture, BLOCK, block, size);
    struct call_record *record = call_record_begin(&traced->history, port, &write, &detail);
    hypercall_run(hypercall_find(port), &fixture->context, &fixture->caller, &write,
                  &fixture->exit_code);
    call_record_end(record, &detail);
    return record;
}

static const char *format(struct traced *traced, const struct call_record *record)
{
    text_free(&traced->text);
    traced->text = (struct text){0};
    call_format(record, &traced->text);
    return traced->text.data;
}

static void start(struct traced *traced, void **state)
{
    *traced = (struct traced){.fixture = *state};
    fixture_put(traced->fixture, STRING, "/etc/\"pass\\wd\"\n", 16);
    fixture_put(traced->fixture, DATA, "line\n\x01\xff", 8);
    fixture_map(traced->fixture, VIRTUAL, DATA);
}

#define EXPECT(port, type, values, line)                                                           \
    do {                                                                                           \
        struct type block = values;                                                                \
        assert_string_equal(                                                                       \
            format(&traced, trace(&traced, port, &block, sizeof block, 4, 1, true)), line);        \
    } while (0)
#define OF(...)                                                                                    \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define PATH "\"/etc/\\\"pass\\\\wd\\\"\\n\""

static void generation_1(void **state)
{
    struct traced traced;
    start(&traced, state);
    EXPECT(HERMIT_V1_FILE_WRITE, hermit_v1_write, OF(1, VIRTUAL, 7),
           "write(1, \"line\\n\\x01\\xff\", 7)");
    EXPECT(HERMIT_V1_FILE_WRITE, hermit_v1_write, OF(1, UINT64_C(0x7000), 7),
           "write(1, 0x7000, 7)");
    EXPECT(HERMIT_V1_FILE_OPEN, hermit_open, OF(STRING, 0, 0, 0),
           "open(" PATH ", O_RDONLY) = -1 ENOENT (No such file or directory)");
    EXPECT(HERMIT_V1_FILE_OPEN, hermit_open,
           OF(STRING, HERMIT_O_RDWR | HERMIT_O_CREAT | HERMIT_O_TRUNC | 02000000 | 010, 0640, 0),
           "open(" PATH ", O_RDWR|O_CREAT|O_TRUNC|O_CLOEXEC|010, 0640) = 3");
    EXPECT(HERMIT_V1_FILE_OPEN, hermit_open, OF(8, 0, 0, 0),
           "open(0x8, O_RDONLY) = -1 EFAULT (Bad address)");
    EXPECT(HERMIT_V1_FILE_CLOSE, hermit_close, OF(2, 0), "close(2) = 0");
    EXPECT(HERMIT_V1_FILE_CLOSE, hermit_close, OF(77, 0),
           "close(77) = -1 EBADF (Bad file descriptor)");
    EXPECT(HERMIT_V1_FILE_READ, hermit_v1_read, OF(0, VIRTUAL, 99, 0), "read(0, \"\", 99) = 0");
    EXPECT(HERMIT_V1_FILE_READ, hermit_v1_read, OF(9, VIRTUAL, 99, 0),
           "read(9, 0x5000, 99) = -1 EBADF (Bad file descriptor)");
    EXPECT(HERMIT_V1_FILE_LSEEK, hermit_v1_lseek, OF(3, -5, 2), "lseek(3, -5, SEEK_END) = -1");
    EXPECT(HERMIT_V1_FILE_UNLINK, hermit_unlink, OF(STRING, 0), "unlink(" PATH ") = 0");
    EXPECT(HERMIT_V1_FILE_UNLINK, hermit_unlink, OF(STRING, 0),
           "unlink(" PATH ") = -1 ENOENT (No such file or directory)");
    EXPECT(HERMIT_V1_CMDSIZE, hermit_v1_cmdsize, OF(0), "cmdsize({argc=0})");
    EXPECT(HERMIT_V1_CMDVAL, hermit_v1_cmdval, OF(DATA, STRING), "cmdval(0x204000, 0x202000)");
    EXPECT(HERMIT_V1_SERIAL_WRITE_BUFFER, hermit_v1_serial_write, OF(DATA, 4),
           "serial_write(\"line\", 4)");
    EXPECT(HERMIT_V1_EXIT, hermit_v1_exit, OF(-7), "exit(-7) = ?");
    text_free(&traced.text);
}

static void generation_2(void **state)
{
    struct traced traced;
    start(&traced, state);
    EXPECT(HERMIT_V2_FILE_WRITE, hermit_v2_write, OF(5, 0, DATA, 2, 0),
           "write(2, \"line\\n\", 5) = 5");
    EXPECT(HERMIT_V2_FILE_WRITE, hermit_v2_write, OF(5, 0, 7, 1, 0),
           "write(1, 0x7, 5) = -1 EFAULT (Bad address)");
    EXPECT(HERMIT_V2_FILE_READ, hermit_v2_read, OF(5, 0, DATA, 0, 0), "read(0, \"\", 5) = 0");
    EXPECT(HERMIT_V2_FILE_OPEN, hermit_open, OF(STRING, HERMIT_O_WRONLY | HERMIT_O_APPEND, 0, 0),
           "open(" PATH ", O_WRONLY|O_APPEND) = -1 ENOENT (No such file or directory)");
    EXPECT(HERMIT_V2_FILE_CLOSE, hermit_close, OF(0, 0), "close(0) = 0");
    EXPECT(HERMIT_V2_FILE_LSEEK, hermit_v2_lseek, OF(10, 0, 1),
           "lseek(1, 10, SEEK_SET) = -1 ESPIPE (Illegal seek)");
    EXPECT(HERMIT_V2_FILE_LSEEK, hermit_v2_lseek, OF(10, 9, 1),
           "lseek(1, 10, 9) = -1 ESPIPE (Illegal seek)");
    EXPECT(HERMIT_V2_FILE_UNLINK, hermit_unlink, OF(STRING, 0),
           "unlink(" PATH ") = -1 ENOENT (No such file or directory)");
    EXPECT(HERMIT_V2_GETDENTS, hermit_getdents, OF(1, 0, DATA, 64),
           "getdents(1, 0x204000, 64) = -1 EBADF (Bad file descriptor)");
    EXPECT(HERMIT_V2_FILE_STAT, hermit_stat, OF(STRING, 0, 0, DATA),
           "stat(" PATH ", FOLLOW, 0x204000) = -1 ENOENT (No such file or directory)");
    EXPECT(HERMIT_V2_FILE_STAT, hermit_stat, OF(STRING, 1, 0, DATA),
           "stat(" PATH ", NO_FOLLOW, 0x204000) = -1 ENOENT (No such file or directory)");
    EXPECT(HERMIT_V2_FILE_FSTAT, hermit_fstat, OF(7, 0, DATA),
           "fstat(7, 0x204000) = -1 EBADF (Bad file descriptor)");
    EXPECT(HERMIT_V2_MKDIR, hermit_mkdir, OF(STRING, 9), "mkdir(" PATH ") = 0");
    EXPECT(HERMIT_V2_MKDIR, hermit_mkdir, OF(STRING, 9),
           "mkdir(" PATH ") = -1 EEXIST (File exists)");
    EXPECT(HERMIT_V2_SERIAL_WRITE_BUFFER, hermit_v2_serial_write, OF(4, DATA),
           "serial_write(\"line\", 4)");
    EXPECT(HERMIT_V2_SERIAL_READ_BUFFER, hermit_v2_serial_read, OF(64, 1, DATA),
           "serial_read(\"\", 64) = 0");
    EXPECT(HERMIT_V2_SERIAL_READ_BYTE, hermit_close, OF(0), "serial_read_byte()");
    EXPECT(HERMIT_V2_EXIT, hermit_close, OF(0), "exit(2101248) = ?"); /* RDI: BLOCK */
    text_free(&traced.text);
}

/* What the calls that succeed with files look like: from records made by hand. */
static void results(void **state)
{
    struct traced traced;
    start(&traced, state);
    struct call_record record = {.port = HERMIT_V2_FILE_STAT,
                                 .finished = true,
                                 .has_block = true,
                                 .has_text = true,
                                 .text_size = 1,
                                 .text = "/",
                                 .has_attr = true,
                                 .attr_mode = 0100644,
                                 .attr_size = 1234};
    memcpy(record.after + offsetof(struct hermit_stat, tag), &(uint32_t){HERMIT_RESULT_OK}, 4);
    assert_string_equal(format(&traced, &record),
                        "stat(\"/\", FOLLOW, {mode=S_IFREG|0644, size=1234}) = 0");
    record.port = HERMIT_V2_FILE_FSTAT;
    record.attr_mode = 0170644;
    assert_string_equal(format(&traced, &record), "fstat(0, {mode=0170644, size=1234}) = 0");

    struct hermit_getdents dents = {.fd = 4, .tag = HERMIT_GETDENTS_OK, .result.written = 120};
    record.port = HERMIT_V2_GETDENTS;
    memcpy(record.before, &dents, sizeof dents);
    memcpy(record.after, &dents, sizeof dents);
    assert_string_equal(format(&traced, &record), "getdents(4, 0x0, 0) = 120");
    dents.tag = HERMIT_GETDENTS_END;
    memcpy(record.after, &dents, sizeof dents);
    assert_string_equal(format(&traced, &record), "getdents(4, 0x0, 0) = 0");
    record.finished = false;
    assert_string_equal(format(&traced, &record), "getdents(4, 0x0, 0) = ?");

    /* An error number that does not exist. */
    record.finished = true;
    record.port = HERMIT_V2_FILE_CLOSE;
    memcpy(record.after + offsetof(struct hermit_close, ret), &(int32_t){INT32_MIN}, 4);
    assert_string_equal(format(&traced, &record), "close(4) = -2147483648");
    assert_true(call_failed(&record));
    text_free(&traced.text);
}

static void refused_calls(void **state)
{
    struct traced traced;
    struct hermit_close block = {0};
    start(&traced, state);
    assert_string_equal(
        format(&traced, trace(&traced, HERMIT_V2_FILE_CLOSE, &block, sizeof block, 2, 1, true)),
        "close() = ? (ignored: not one 32-bit OUT)");

    struct fixture *fixture = traced.fixture;
    const struct call_detail detail = {true, &fixture->ram, &fixture->caller};
    const struct hypercall_write write = {4, 1, (const uint8_t *)&(uint32_t){0}, UINT64_MAX - 3};
    struct call_record *record = call_record_begin(&traced.history, HERMIT_V2_FILE_OPEN, &write,
                                                   &detail);
    call_record_end(record, &detail);
    assert_string_equal(format(&traced, record),
                        "open(0xfffffffffffffffc) = ? (ignored: its parameter block is not in "
                        "guest memory)");
    text_free(&traced.text);
}

static void endless_paths_are_cut(void **state)
{
    struct traced traced;
    start(&traced, state);
    memset(fixture_at(traced.fixture, FIXTURE_END - 0x40, 0x40), 'x', 0x40);
    struct hermit_open block = {FIXTURE_END - 0x40, 0, 0, 0};
    const char *line = format(
        &traced, trace(&traced, HERMIT_V2_FILE_OPEN, &block, sizeof block, 4, 1, true));
    assert_non_null(strstr(line, "xxx\"..., O_RDONLY) = -1 EFAULT"));
    memset(fixture_at(traced.fixture, DATA, 0x1000), 'y', 0x1000);
    block.path = DATA;
    line = format(&traced, trace(&traced, HERMIT_V2_FILE_OPEN, &block, sizeof block, 4, 1, true));
    assert_int_equal(strspn(strchr(line, 'y'), "y"), CALL_RECORD_TEXT);
    assert_non_null(strstr(line, "y\"..., O_RDONLY)"));
    text_free(&traced.text);
}

/* Without a trace only what is cheap is kept. */
static void a_short_record(void **state)
{
    struct traced traced;
    start(&traced, state);
    struct hermit_v2_write block = {5, 0, DATA, 2, 0};
    struct call_record *record = trace(&traced, HERMIT_V2_FILE_WRITE, &block, sizeof block, 4, 1,
                                       false);
    assert_string_equal(format(&traced, record), "write(2, 0x204000, 5) = 5");
    assert_int_equal(record->start_ns, 0);
    text_free(&traced.text);
}

static void bytes_are_gathered(void **state)
{
    struct traced traced;
    start(&traced, state);
    struct fixture *fixture = traced.fixture;
    const struct call_detail detail = {true, &fixture->ram, &fixture->caller};
    struct call_record *record = NULL;
    for (const char *p = "ab\"\n"; *p; p++) {
        const struct hypercall_write write = {4, 1, (const uint8_t *)&(uint32_t){0}, (uint8_t)*p};
        record = call_record_begin(&traced.history, HERMIT_V2_SERIAL_WRITE_BYTE, &write, &detail);
        call_record_end(record, &detail);
        assert_int_equal(call_record_continues(record, HERMIT_V2_SERIAL_WRITE_BYTE), *p != '\n');
    }
    assert_int_equal(traced.history.total, 1);
    assert_string_equal(format(&traced, record), "serial_byte(\"ab\\\"\\n\" /* 4 calls */)");

    /* REP OUTSB of the first generation: several bytes at once, more than the record takes. */
    static uint8_t many[1000];
    memset(many, 'z', sizeof many);
    const struct hypercall_write write = {1, sizeof many, many, 0};
    record = call_record_begin(&traced.history, HERMIT_V1_UART, &write, &detail);
    call_record_end(record, &detail);
    assert_int_equal(record->text_size, CALL_RECORD_LINE);
    assert_non_null(strstr(format(&traced, record), "/* 1000 calls */"));
    text_free(&traced.text);
}

/* No call may be missing. */
static void every_call_has_a_name(void **state)
{
    for (uint32_t port = 0; port <= UINT16_MAX; port++) {
        bool is_call = hypercall_find((uint16_t)port) != NULL;
        if (is_call != (call_name_find((uint16_t)port) >= 0))
            fail_msg("port 0x%x", port);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(generation_1),       TEST(generation_2),          TEST(results),
        TEST(refused_calls),      TEST(endless_paths_are_cut), TEST(a_short_record),
        TEST(bytes_are_gathered), TEST(every_call_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
