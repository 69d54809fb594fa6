/* Which bytes of the serial stream are kernel log, and that nothing else is held back. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "console/log_filter.h"

/* What came out, in order: a letter for each change of kind, then the text. */
struct transcript {
    char text[4096];
    size_t size;
    int kind;
};

static void record(struct transcript *out, const struct log_piece *piece)
{
    if (!piece->size)
        return;
    if (out->kind != (int)piece->kind)
        out->text[out->size++] = "pTDIWEX"[piece->kind];
    out->kind = (int)piece->kind;
    assert_true(out->size + piece->size + 2 < sizeof out->text);
    memcpy(out->text + out->size, piece->bytes, piece->size);
    out->size += piece->size;
    out->text[out->size] = '\0';
}

static void feed(struct log_filter *filter, struct transcript *out, const char *bytes, size_t size)
{
    while (size) {
        /* From a copy that is gone afterwards, so that the filter cannot keep pointers. */
        char copy[512];
        size_t part = size < sizeof copy ? size : sizeof copy;
        memcpy(copy, bytes, part);
        struct log_piece piece;
        size_t taken = log_filter_next(filter, copy, part, &piece);
        assert_in_range(taken, 1, part);
        record(out, &piece);
        memset(copy, '#', sizeof copy);
        bytes += taken;
        size -= taken;
    }
}

static void finish(struct log_filter *filter, struct transcript *out)
{
    struct log_piece piece;
    log_filter_release(filter, &piece);
    record(out, &piece);
}

/* The result must not depend on how the stream is cut. */
static void check(const char *input, const char *expected)
{
    size_t size = strlen(input);
    for (size_t cut = 0; cut <= size; cut++) {
        struct log_filter filter = {0};
        struct transcript out = {.kind = -1};
        feed(&filter, &out, input, cut);
        feed(&filter, &out, input + cut, size - cut);
        finish(&filter, &out);
        assert_string_equal(out.text, expected);
    }
    struct log_filter filter = {0};
    struct transcript out = {.kind = -1};
    for (size_t i = 0; i < size; i++)
        feed(&filter, &out, input + i, 1);
    finish(&filter, &out);
    assert_string_equal(out.text, expected);
}

static void log_lines_are_found(void **state)
{
    static const char *const lines[][2] = {
        {"[0][INFO] text\n", "I"},
        {"[0][INFO] \n", "I"},
        {"[0][INFO]\r\n", "I"},
        {"[12][TRACE] text\n", "T"},
        {"[0][DEBUG] text\r\n", "D"},
        {"[0][WARN] text\n", "W"},
        {"[0][ERROR] text\n", "E"},
        {"[0][PANIC] text\n", "X"},
        {"[    0.123456][0][INFO  target] text\n", "I"},
        {"[            ][0][INFO  hermit    ] text\n", "I"},
        {"[12345.123456][255][ERROR a_target_with_a_name_that_is_longer_than_whatever_is_held] x\n",
         "E"},
        {"[0][\x1b[32mINFO\x1b[0m] text\n", "I"},
        {"\x1b[1m[0][WARN] text\x1b[0m\n", "W"},
        {"\x1b[2m[    0.000001]\x1b[0m[0][\x1b[38;5;9mERROR\x1b[0m target] text\n", "E"},
        {"\x1b[m[\x1b[m0\x1b[m]\x1b[m[\x1b[mIN\x1b[mFO \x1b[mtarget] text\n", "I"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char expected[256];
        snprintf(expected, sizeof expected, "%s%s", lines[i][1], lines[i][0]);
        check(lines[i][0], expected);
    }
}

static void other_lines_are_program_text(void **state)
{
    static const char *const lines[] = {
        "Hello, world!\n",
        "[0][Timer]: 3\n",
        "[0]\n",
        "[0][INFOX] text\n",
        "[0][INF\n",
        "[0] [INFO] text\n",
        "[INFO] text\n",
        "[][INFO] text\n",
        "[0][info] text\n",
        "[0.][0][INFO] text\n",
        "[ 0][0][INFO] text\n",
        "[0.1][INFO] text\n",
        "[0.1][0.1][INFO] text\n",
        "[x][0][INFO] text\n",
        "\x1b[31mred\x1b[0m\n",
        "\x1b[2J[0][INFO] a screen is cleared\n",
        "\x1b]0;title\a[0][INFO] text\n",
        "\x1b[31m\n",
        "text [0][INFO] in the middle\n",
        "  indented\n",
        "}\n",
        "\n\n\r\n",
        "[0][INFO", /* cut off by the end of the stream */
        "\x1b[3",
        "[",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char expected[256];
        snprintf(expected, sizeof expected, "p%s", lines[i]);
        check(lines[i], expected);
    }
}

static void continuations_follow_their_line(void **state)
{
    check("[0][INFO] tls_info = Some(\n"
          "    TlsInfo {\n"
          "        start: 0x4906f8,\n"
          "    },\n"
          ")\n"
          "[0][WARN] a {\n\tb\r\n}],\r\n"
          "Hello\n"
          "  indented\n",
          "I[0][INFO] tls_info = Some(\n"
          "    TlsInfo {\n"
          "        start: 0x4906f8,\n"
          "    },\n"
          ")\n"
          "W[0][WARN] a {\n\tb\r\n}],\r\n"
          "pHello\n"
          "  indented\n");
    check("[0][INFO] a\n\n  b\n", "I[0][INFO] a\np\n  b\n");
    check("[0][INFO] a\n},,\n", "I[0][INFO] a\np},,\n");
    check("[0][INFO] a\n) b\n", "I[0][INFO] a\np) b\n");
    check("[0][INFO] a\n[0][Timer]: 3\n b\n", "I[0][INFO] a\np[0][Timer]: 3\n b\n");
    check("[0][INFO] a\n\x1b[0m  b\n", "I[0][INFO] a\n\x1b[0m  b\n");
    check("[0][INFO] a\n)", "I[0][INFO] a\np)");
}

static void panics_go_on_until_the_next_log_line(void **state)
{
    check("[0][PANIC] panicked at src/main.rs:1:2:\nindex out of bounds\n\nNumber of interrupts\n"
          "[0][Timer]: 3\n[0][INFO] shutting down\nprogram\n",
          "X[0][PANIC] panicked at src/main.rs:1:2:\nindex out of bounds\n\nNumber of interrupts\n"
          "[0][Timer]: 3\nI[0][INFO] shutting down\npprogram\n");
    check("[0][PANIC] a\n[0][IN", "X[0][PANIC] a\n[0][IN");
}

static void what_cannot_be_a_prefix_passes_at_once(void **state)
{
    static const char text[] = "prompt> [0][INFO] ";
    struct log_filter filter = {0};
    for (size_t i = 0; text[i]; i++) {
        struct log_piece piece;
        log_filter_next(&filter, &text[i], 1, &piece);
        assert_int_equal(piece.size, 1);
    }
    /* With the byte that decides, all that was held back comes out. */
    struct transcript out = {.kind = -1};
    feed(&filter, &out, "\n[0", 3);
    assert_string_equal(out.text, "p\n");
    feed(&filter, &out, "x", 1);
    assert_string_equal(out.text, "p\n[0x");
}

static void the_held_prefix_is_bounded(void **state)
{
    char line[3 * LOG_FILTER_HELD + 32];
    memset(line, '1', sizeof line);
    line[0] = '[';
    struct log_filter filter = {0};
    struct transcript out = {.kind = -1};
    for (size_t i = 0; i < sizeof line; i++)
        feed(&filter, &out, &line[i], 1);
    feed(&filter, &out, "][INFO] x\n", 10);
    assert_int_equal(filter.held_size, 0);
    assert_int_equal(out.size, 1 + sizeof line + 10);
    assert_int_equal(out.text[0], 'p');
}

static void a_released_line_stays_what_it_is(void **state)
{
    struct log_filter filter = {0};
    struct transcript out = {.kind = -1};
    feed(&filter, &out, "[0][IN", 6);
    finish(&filter, &out);
    assert_string_equal(out.text, "p[0][IN");
    feed(&filter, &out, "FO] text\n[0][INFO] next\n", 24);
    assert_string_equal(out.text, "p[0][INFO] text\nI[0][INFO] next\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_lines_are_found),
        cmocka_unit_test(other_lines_are_program_text),
        cmocka_unit_test(continuations_follow_their_line),
        cmocka_unit_test(panics_go_on_until_the_next_log_line),
        cmocka_unit_test(what_cannot_be_a_prefix_passes_at_once),
        cmocka_unit_test(the_held_prefix_is_bounded),
        cmocka_unit_test(a_released_line_stays_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
