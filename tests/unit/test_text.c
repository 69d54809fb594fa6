/* Numbers, sizes, quoting and UTF-8 as people and guests write them. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "util/text.h"

static void sizes_are_powers_of_1024(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"64M", UINT64_C(64) << 20},
        {"64m", UINT64_C(64) << 20},
        {"64MB", UINT64_C(64) << 20},
        {"64 MiB ", UINT64_C(64) << 20},
        {"1.5GiB", UINT64_C(3) << 29},
        {"0.5Ki", 512},
        {" 2T", UINT64_C(2) << 40},
        {"100B", 100},
        {"18446744073709551615", UINT64_MAX},
        {"15.9999999999E", UINT64_C(0xffffffffbb47d05f)},
        {"7\t", 7},
        {"2b", 2},
        {"1GI", UINT64_C(1) << 30},
        {"1kib", 1024},
        {"0.000000001P", 1125899},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t bytes = 1;
        assert_int_equal(text_parse_size(good[i].text, &bytes), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
}

static void sizes_are_shown(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } sizes[] = {
        {0, "0 bytes"},           {1023, "1023 bytes"},
        {1024, "1 KiB"},          {1536, "1.5 KiB"},
        {2047, "1.9 KiB"},        {UINT64_C(3) << 20, "3 MiB"},
        {UINT64_MAX, "15.9 EiB"}, {UINT64_C(1) << 60, "1 EiB"},
    };
    char buffer[32];

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_string_equal(text_format_size(buffer, sizeof buffer, sizes[i].bytes), sizes[i].text);
}

static void bad_sizes_are_refused(void **state)
{
    static const char *const bad[] = {"",    " ",    "M",      "-1",   "1..5M", "1.M",
                                      "64X", "64MM", "64 M i", "0x10", "1e9"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(text_parse_size(bad[i], &bytes), -EINVAL);
    assert_int_equal(text_parse_size("18446744073709551616", &bytes), -ERANGE);
    assert_int_equal(text_parse_size("18446744073709551619", &bytes), -ERANGE);
    assert_int_equal(text_parse_size("184467440737095516150", &bytes), -ERANGE);
    assert_int_equal(text_parse_size("184467440737095516150000", &bytes), -ERANGE);
    assert_int_equal(text_parse_size("16E", &bytes), -ERANGE);
    assert_int_equal(text_parse_size("15.99999999999999999999E", &bytes), 0);
}

static void unsigned_numbers(void **state)
{
    uint64_t value;
    assert_int_equal(text_parse_unsigned("17", 17, &value), 0);
    assert_int_equal(value, 17);
    assert_int_equal(text_parse_unsigned("18", 17, &value), -ERANGE);
    assert_int_equal(text_parse_unsigned("99999999999999999999", UINT64_MAX, &value), -ERANGE);
    assert_int_equal(text_parse_unsigned("18446744073709551615", UINT64_MAX, &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(text_parse_unsigned("18446744073709551616", UINT64_MAX, &value), -ERANGE);
    assert_int_equal(text_parse_unsigned("999999999999999999999", UINT64_MAX, &value), -ERANGE);
    assert_int_equal(text_parse_unsigned("99999999999999999999x", UINT64_MAX, &value), -EINVAL);
    assert_int_equal(text_parse_unsigned("", 17, &value), -EINVAL);
    assert_int_equal(text_parse_unsigned("+1", 17, &value), -EINVAL);
    assert_int_equal(text_parse_unsigned("1 ", 17, &value), -EINVAL);
}

static void words_survive_a_shell(void **state)
{
    static const char *const words[][2] = {
        {"plain-word_1.0", "plain-word_1.0"},
        {"", "''"},
        {"two words", "'two words'"},
        {"it's", "'it'\\''s'"},
        {"$HOME", "'$HOME'"},
        {"\xf0\x9f\x99\x82", "'\xf0\x9f\x99\x82'"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct text text = {0};
        text_add_quoted(&text, words[i][0], strlen(words[i][0]));
        assert_string_equal(text.data, words[i][1]);
        text_free(&text);
    }
    struct text text = {0};
    text_add_quoted(&text, "a\0b", 3);
    assert_int_equal(text.size, 5);
    assert_memory_equal(text.data, "'a\0b'", 6);
    text_free(&text);
}

static void utf8_is_checked(void **state)
{
    assert_true(text_is_utf8("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80", 9));
    assert_true(text_is_utf8("\xf0\x90\x80\x80\xf1\x80\x80\x80\xf4\x8f\xbf\xbf", 12));
    assert_false(text_is_utf8("\xe0\x9f\xbf", 3)); /* overlong */
    assert_false(text_is_utf8("\xf0\x8f\xbf\xbf", 4));
    assert_false(text_is_utf8("\xe1\x80\xc0", 3)); /* no third byte */
    assert_false(text_is_utf8("\xf5\x80\x80\x80", 4));
    assert_false(text_is_utf8("\x80", 1));
    assert_true(text_is_utf8("gr\xc3\xbc\xc3\x9f", 6));
    assert_true(text_is_utf8("", 0));
    assert_false(text_is_utf8("\xff", 1));
    assert_false(text_is_utf8("\xc0\x80", 2));     /* overlong */
    assert_false(text_is_utf8("\xed\xa0\x80", 3)); /* surrogate */
    assert_false(text_is_utf8("\xe2\x82", 2));     /* cut off */
    assert_false(text_is_utf8("\xf4\x90\x80\x80", 4));
}

static void text_grows_and_stays_terminated(void **state)
{
    struct text text = {0};
    for (int i = 0; i < 1000; i++)
        text_printf(&text, "%d,", i);
    assert_int_equal(strlen(text.data), text.size);
    assert_memory_equal(text.data + text.size - 4, "999,", 5);
    assert_false(text.failed);
    text_free(&text);
}

static void what_is_too_long_fails_for_good(void **state)
{
    volatile size_t size = SIZE_MAX;

    for (unsigned i = 0; i < 2; i++) {
        struct text text = {0};
        text_add(&text, i ? "x" : "");
        text_add_bytes(&text, "", size - i);
        assert_true(text.failed);
        assert_int_equal(text.size, i);
        text_add(&text, "more");
        text_printf(&text, "%d", 1);
        assert_string_equal(text.data, i ? "x" : "");
        assert_true(text.failed);
        text_free(&text);
        assert_false(text.failed);
    }
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
    char text[] = "a\x1b[31mb\nc\x7f";
    text_make_printable(text);
    assert_string_equal(text, "a?[31mb?c?");
    char latin[] = "gr\xfc\xdf dich";
    text_make_ascii(latin);
    assert_string_equal(latin, "gr?? dich");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_powers_of_1024),
        cmocka_unit_test(sizes_are_shown),
        cmocka_unit_test(bad_sizes_are_refused),
        cmocka_unit_test(unsigned_numbers),
        cmocka_unit_test(words_survive_a_shell),
        cmocka_unit_test(utf8_is_checked),
        cmocka_unit_test(text_grows_and_stays_terminated),
        cmocka_unit_test(what_is_too_long_fails_for_good),
        cmocka_unit_test(control_characters_do_not_reach_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
