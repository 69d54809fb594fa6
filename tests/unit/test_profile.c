/* Profiles: what samples become, in each form. */
#include "unit.h"

#include "debug/profile.h"

#define OFFSET UINT64_C(0x100000)

static char names[] = "main\0work\0a<b>&\"c\";d\0";
static struct symbol functions[] = {
    {0x1000, 0x100, 0, 0}, {0x2000, 0x100, 5, 0}, {0x3000, 0x100, 10, 0}};
static const struct symbols symbols = {.functions = functions,
                                       .count = 3,
                                       .names = names,
                                       .executable = {{0x1000, 0x4000}},
                                       .range_count = 1};
static const char *const labels[] = {"write", "device"};

static void add(struct profile_log *log, unsigned times, enum profile_kind kind, uint64_t a,
                uint64_t b, uint64_t c)
{
    const uint64_t stack[] = {OFFSET + a, OFFSET + b, OFFSET + c};
    size_t depth = kind == PROFILE_IDLE ? 0 : c ? 3 : b ? 2 : 1;
    while (times--)
        profile_log_add(log, kind, 0, stack, depth);
}

/* main -> work -> the strange one, by several addresses; recursion; a call; idling. */
static void fill(struct profile *profile)
{
    struct profile_log log = {0};
    add(&log, 50, PROFILE_GUEST, 0x3010, 0x2050, 0x1050);
    add(&log, 20, PROFILE_GUEST, 0x3020, 0x2060, 0x1050);
    add(&log, 10, PROFILE_GUEST, 0x2010, 0x2060, 0x1050);
    add(&log, 8, PROFILE_CALL, 0x2020, 0x1050, 0);
    add(&log, 2, PROFILE_GUEST, 0x9000, 0, 0);
    add(&log, 10, PROFILE_IDLE, 0, 0, 0);
    assert_int_equal(log.samples, 100);
    assert_int_equal(log.stack_count, 6);
    profile_add(profile, &log, &symbols, OFFSET, labels, 2);
    profile_log_free(&log);
}

static void the_table(void **state)
{
    struct profile profile = {0};
    struct text text = {0};
    fill(&profile);
    profile_format_table(&profile, 1000, 2, &text);
    assert_string_equal(
        text.data, "Profile: 100 samples of 2 CPUs at 1000 per second: 82.0 % guest, 8.0 % calls "
                   "of uhyve, 10.0 % idle\n"
                   "  self %  total %  samples  function\n"
                   "   70.00    70.00       70  a<b>&\"c\";d\n"
                   "   10.00    88.00       10  work\n"
                   "   10.00    10.00       10  [idle]\n"
                   "    8.00     8.00        8  [write]\n"
                   "    2.00     2.00        2  [unknown]\n"
                   "    0.00    88.00        0  main\n");
    text_free(&text);
    profile_free(&profile);
}

static bool has_line(const struct text *text, const char *line)
{
    const char *at = strstr(text->data, line);
    return at && (at == text->data || at[-1] == '\n') && at[strlen(line)] == '\n';
}

static void folded_stacks(void **state)
{
    struct profile profile = {0};
    struct text text = {0};
    fill(&profile);
    profile_format_folded(&profile, &text);
    assert_true(has_line(&text, "main;work;a<b>&\"c\":d 70"));
    assert_true(has_line(&text, "main;work;work 10"));
    assert_true(has_line(&text, "main;work;[write] 8"));
    assert_true(has_line(&text, "[unknown] 2"));
    assert_true(has_line(&text, "[idle] 10"));
    text_free(&text);
    profile_free(&profile);
}

static void the_graph(void **state)
{
    struct profile profile = {0};
    struct text text = {0};
    fill(&profile);
    profile_format_svg(&profile, 1000, &text);
    assert_non_null(
        strstr(text.data, "<title>a&lt;b&gt;&amp;&quot;c&quot;;d (70 samples, 70.00 %)</title>"));
    assert_non_null(strstr(text.data, "<title>main (88 samples, 88.00 %)</title>"));
    assert_non_null(strstr(text.data, "<title>all (100 samples, 100.00 %)</title>"));
    assert_non_null(strstr(text.data, "</script>\n</svg>\n"));
    assert_null(strstr(text.data, "a<b"));
    text_free(&text);
    profile_free(&profile);
}

static void nothing(void **state)
{
    struct profile profile = {0};
    struct profile_log log = {0};
    struct text text = {0};
    profile_add(&profile, &log, &symbols, 0, labels, 2);
    profile_format_table(&profile, 1000, 1, &text);
    profile_format_folded(&profile, &text);
    profile_format_svg(&profile, 1000, &text);
    assert_non_null(strstr(text.data, "0 samples of 1 CPU "));
    assert_non_null(strstr(text.data, "</svg>"));
    text_free(&text);
    profile_free(&profile);
}

/* A hostile guest makes every sample another one. */
static void memory_is_bounded(void **state)
{
    struct profile_log log = {0};
    struct profile profile = {0};
    uint64_t stack[PROFILE_DEPTH + 10];
    for (uint64_t i = 0; i < 300000; i++) {
        for (size_t at = 0; at < PROFILE_DEPTH + 10; at++)
            stack[at] = i * 64 + at;
        profile_log_add(&log, PROFILE_GUEST, 0, stack, PROFILE_DEPTH + 10);
    }
    assert_int_equal(log.samples, 300000);
    assert_true(log.address_count <= 1 << 22);
    assert_true(log.stack_count <= 1 << 18);
    profile_add(&profile, &log, &symbols, 0, labels, 2);
    assert_false(profile.failed);
    assert_int_equal(profile.nodes[0].total + profile.lost, 300000);
    profile_free(&profile);
    profile_log_free(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table),         cmocka_unit_test(folded_stacks),
        cmocka_unit_test(the_graph),         cmocka_unit_test(nothing),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
