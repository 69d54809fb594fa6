/* The TOML parser against the rules of the TOML 1.0 specification, and its typed access. */
#include "unit.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "util/toml.h"

static struct toml *parse(const char *text)
{
    struct toml *toml;
    struct uhyve_error error = {.message = ""};
    if (toml_parse("t.toml", text, strlen(text), &toml, &error))
        fail_msg("'%s' was refused: %s", text, error.message);
    assert_non_null(toml);
    return toml;
}

/* Walk down `path` ("a.b.c"; "#" is the last entry of an array). */
static const struct toml_value *walk(const struct toml *toml, const char *path)
{
    const struct toml_value *value = toml_root(toml);
    char copy[100], *save;
    strncpy(copy, path, sizeof copy - 1);
    copy[sizeof copy - 1] = '\0';
    for (char *part = strtok_r(copy, ".", &save); part && value; part = strtok_r(NULL, ".", &save))
        value = strcmp(part, "#") == 0 ? value->entries.last : toml_find(value, part);
    return value;
}

static void expect_refused(const char *text, size_t size, unsigned line)
{
    struct toml *toml = (struct toml *)&line;
    struct uhyve_error error = {.message = ""};
    if (toml_parse("t.toml", text, size, &toml, &error) != -EINVAL)
        fail_msg("'%s' was accepted", text);
    assert_null(toml);
    assert_int_equal(error.status, UHYVE_STATUS_USAGE);
    char prefix[32];
    snprintf(prefix, sizeof prefix, "t.toml:%u: ", line);
    if (strncmp(error.message, prefix, strlen(prefix)) != 0)
        fail_msg("'%s' led to '%s' rather than to an error in line %u", text, error.message, line);
}

static void strings(void **state)
{
    static const struct {
        const char *text, *string;
    } good[] = {
        {"a = ''", ""},
        {"a = \"\"", ""},
        {"a = \"x\\\"y\\\\z\\b\\t\\n\\f\\r\"", "x\"y\\z\b\t\n\f\r"},
        {"a = \"\\u00e9\\U0001F600\\u0041\\u20AC\"", "\xc3\xa9\xf0\x9f\x98\x80"
                                                     "A\xe2\x82\xac"},
        {"a = \"tab\tinside # no comment\" # comment", "tab\tinside # no comment"},
        {"a = 'C:\\dir\\n \"x\"'", "C:\\dir\\n \"x\""},
        {"a = '' # empty", ""},
        {"# comment\r\na = 'next'", "next"},
        {"a = \"\"\"\"\"\"", ""},
        {"a = \"\"\"\nfirst\nsecond\"\"\"", "first\nsecond"},
        {"a = \"\"\"\r\nfirst\r\nsecond\"\"\"", "first\nsecond"},
        {"a = \"\"\"one \\\n\n   two\"\"\"", "one two"},
        {"a = \"\"\"one\\  \r\n\t two\\\n\"\"\"", "onetwo"},
        {"a = \"\"\"x\"y\"\"z\"\"\"", "x\"y\"\"z"},
        {"a = \"\"\"\"\"two\"\"\"\"\"", "\"\"two\"\""},
        {"a = '''''two'''''", "''two''"},
        {"a = '''\nno \\escape\n'''", "no \\escape\n"},
        {"a = \"gr\xc3\xbc\xc3\x9f\"", "gr\xc3\xbc\xc3\x9f"},
        {"\xef\xbb\xbf"
         "a = 'after a byte order mark'",
         "after a byte order mark"},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct toml *toml = parse(good[i].text);
        const char *string;
        assert_int_equal(toml_string(toml, walk(toml, "a"), &string, NULL), 0);
        assert_string_equal(string, good[i].string);
        toml_free(toml);
    }
}

static void bad_strings(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
    } bad[] = {
        {"a = \"open", 1},
        {"a = 'open", 1},
        {"a = 'open\n'", 1},
        {"a = \"open\n\"", 1},
        {"a = \"\"\"open\n\n\"\"", 1},
        {"\na = '''open", 2},
        {"a = \"\\x41\"", 1},
        {"a = \"\\e\"", 1},
        {"a = \"\\u12\"", 1},
        {"a = \"\\u", 1},
        {"a = \"\\U0011\"", 1},
        {"a = \"\\", 1},
        {"a = \"\\U0011FFFF\"", 1},
        {"a = \"\\uD800\"", 1},
        {"a = \"\\ \n\"", 1},
        {"a = \"\"\"x\\ y\"\"\"", 1},
        {"a = \"\"\"x\\qy\"\"\"", 1},
        {"a = \"\x01\"", 1},
        {"a = '\x7f'", 1},
        {"a = '''x\ry'''", 1},
        {"a = \"\"\"x\x1fy\"\"\"", 1},
        {"a = \"\"\"six\"\"\"\"\"\"", 1},
        {"a = text", 1},
        {"\n\na = \"\xff\"", 3},
        {"a = 'x' 'y'", 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(bad[i].text, strlen(bad[i].text), bad[i].line);
    expect_refused("a = '\0'", 7, 1);
    expect_refused("# \0", 3, 1);
    expect_refused("a = 1\0", 6, 1);
    expect_refused("# \rx", 4, 1);
    expect_refused("# \r", 3, 1);
}

static void integers(void **state)
{
    static const struct {
        const char *text;
        int64_t integer;
    } good[] = {
        {"0", 0},
        {"+99", 99},
        {"-17", -17},
        {"-0", 0},
        {"1_000_000", 1000000},
        {"1_2_3", 123},
        {"0xDEADbeef", 0xdeadbeef},
        {"0xdead_beef", 0xdeadbeef},
        {"0o755", 0755},
        {"0b1101_0110", 0xd6},
        {"0x00ff", 0xff},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"0x7fffffffffffffff", INT64_MAX},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[64];
        int64_t integer = 1;
        snprintf(text, sizeof text, "a = %s", good[i].text);
        struct toml *toml = parse(text);
        assert_int_equal(toml_integer(toml, walk(toml, "a"), &integer, NULL), 0);
        assert_true(integer == good[i].integer);
        toml_free(toml);
    }
}

static void floats(void **state)
{
    static const struct {
        const char *text;
        double number;
    } good[] = {
        {"1.0", 1.0},
        {"+3.25", 3.25},
        {"-0.5", -0.5},
        {"5e+2", 500.0},
        {"1e06", 1e6},
        {"-2E-2", -0.02},
        {"6.5e-3", 0.0065},
        {"0.0", 0.0},
        {"0e0", 0.0},
        {"22_4.6_1", 224.61},
        {"1_0e1_0", 10e10},
        {"inf", (double)INFINITY},
        {"+inf", (double)INFINITY},
        {"-inf", -(double)INFINITY},
    };
    double number;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[64];
        snprintf(text, sizeof text, "a = %s", good[i].text);
        struct toml *toml = parse(text);
        assert_int_equal(toml_float(toml, walk(toml, "a"), &number, NULL), 0);
        assert_true(number == good[i].number);
        toml_free(toml);
    }
    struct toml *toml = parse("a = [nan, +nan, -nan, -0.0]");
    for (const struct toml_value *entry = walk(toml, "a")->entries.first; entry->next;
         entry = entry->next) {
        assert_int_equal(toml_float(toml, entry, &number, NULL), 0);
        assert_true(number != number);
    }
    assert_int_equal(toml_float(toml, walk(toml, "a.#"), &number, NULL), 0);
    assert_true(signbit(number));
    toml_free(toml);
}

static void bad_numbers(void **state)
{
    static const char *const bad[] = {
        "01",
        "-01",
        "+0_1",
        "1__0",
        "_1",
        "1_",
        "0x",
        "0xg",
        "0x_1",
        "0x1_",
        "0x1__2",
        "+0x1",
        "-0b1",
        "0b2",
        "0o8",
        "0X1",
        "1.",
        ".5",
        "1.e5",
        "1._5",
        "1_.5",
        "1.5_",
        "1e",
        "1e_5",
        "1e5.0",
        "1e+",
        "+",
        "-",
        "--1",
        "+-1",
        "03.5",
        "Inf",
        "NaN",
        "+infx",
        "infinity",
        "True",
        "TRUE",
        "truex",
        "1 2",
        "0x1.5",
        "9223372036854775808",
        "-9223372036854775809",
        "0x8000000000000000",
        "0xfffffffffffffffff",
        "1,",
        "=",
        "",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "# one\na = %s", bad[i]);
        expect_refused(text, strlen(text), 2);
    }
}

static void dates_and_times(void **state)
{
    static const struct {
        const char *text;
        enum toml_type type;
    } good[] = {
        {"1979-05-27T07:32:00Z", TOML_DATE_TIME},
        {"1979-05-27t07:32:00z", TOML_DATE_TIME},
        {"1979-05-27T00:32:00.999999-07:00", TOML_DATE_TIME},
        {"1979-05-27 07:32:00Z", TOML_DATE_TIME},
        {"1979-05-27T07:32:00", TOML_LOCAL_DATE_TIME},
        {"1979-05-27 07:32:00.5", TOML_LOCAL_DATE_TIME},
        {"2016-12-31T23:59:60", TOML_LOCAL_DATE_TIME},
        {"1979-05-27", TOML_LOCAL_DATE},
        {"2000-02-29", TOML_LOCAL_DATE},
        {"2024-02-29", TOML_LOCAL_DATE},
        {"07:32:00", TOML_LOCAL_TIME},
        {"00:32:00.999999", TOML_LOCAL_TIME},
    };
    static const char *const bad[] = {
        "1979-13-01",
        "1979-00-01",
        "1979-01-32",
        "1979-01-00",
        "2023-02-29",
        "1800-02-29",
        "1900-02-29",
        "1979-04-31",
        "1979-5-27",
        "79-05-27",
        "1979-05-27T",
        "1979-05-27T07:32",
        "1979-05-27T24:00:00",
        "1979-05-27T07:60:00",
        "1979-05-27T07:32:61",
        "1979-05-27T07:32:00.",
        "1979-05-27T07:32:00+24:00",
        "1979-05-27T07:32:00+07:60",
        "1979-05-27T07:32:00+0700",
        "1979-05-27  07:32:00",
        "1979-05-27Z",
        "1979-05-27 x7:32:00",
        "1979-05-27 0x:32:00",
        "1979-05-27 07-32-00",
        "1979-05-27 1",
        "1979-0x-27",
        "1979-05x27",
        "1979-05-x7",
        "1979-05-27Tx7:32:00",
        "1979-05-27T07-32:00",
        "1979-05-27T07:x2:00",
        "1979-05-27T07:32-00",
        "1979-05-27T07:32:x0",
        "1979-05-27T07:32:00+x7:00",
        "1979-05-27T07:32:00+07:x0",
        "1979-05-27T07:32:00+07:000",
        "1979-05-27T07:32:00x",
        "07:32",
        "7:32:00",
        "07:32:00Z",
        "07:32:00.x",
        "1979-05-27x07:32:00",
        "1979-",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        char text[64];
        for (unsigned j = 0; j < 2; j++) {
            snprintf(text, sizeof text, "a = %s%s", good[i].text, j ? "" : " # comment");
            struct toml *toml = parse(text);
            assert_int_equal(walk(toml, "a")->type, good[i].type);
            assert_string_equal(walk(toml, "a")->text.data, good[i].text);
            toml_free(toml);
        }
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[64];
        snprintf(text, sizeof text, "a = %s", bad[i]);
        expect_refused(text, strlen(text), 1);
    }
}

static void keys(void **state)
{
    struct toml *toml = parse("bare_KEY-1 = 1\n"
                              "1234 = 2\r\n"
                              "\"quoted key\" = 3\n"
                              "'lit\"eral' = 4\n"
                              "\"\" = 5\n"
                              "d . \"o t\" .\t e = 6\n"
                              "d.other = 7\n"
                              "3.14 = 8\n"
                              "\"\\u00e9\" = 9");
    const struct toml_value *root = toml_root(toml);
    assert_int_equal(toml_find(root, "bare_KEY-1")->integer, 1);
    assert_int_equal(toml_find(root, "1234")->integer, 2);
    assert_int_equal(toml_find(root, "quoted key")->integer, 3);
    assert_int_equal(toml_find(root, "lit\"eral")->integer, 4);
    assert_int_equal(toml_find(root, "")->integer, 5);
    assert_int_equal(walk(toml, "d.o t.e")->integer, 6);
    assert_int_equal(walk(toml, "d.other")->integer, 7);
    assert_int_equal(walk(toml, "3.14")->integer, 8);
    assert_int_equal(toml_find(root, "\xc3\xa9")->integer, 9);
    assert_int_equal(toml_find(root, "\xc3\xa9")->line, 9);
    assert_null(toml_find(root, "missing"));
    toml_free(toml);

    static const char *const bad[] = {
        "= 1",          "a b = 1",      "a = ",     "a",           "a.",
        "a. = 1",       ".a = 1",       "a..b = 1", "a = 1 b = 2", "\"\"\"a\"\"\" = 1",
        "\xc3\xa9 = 1", "a = 1\rb = 2", "a : 1",    "a\n= 1",      "a =\n1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(bad[i], strlen(bad[i]), 1);
}

static void arrays_and_inline_tables(void **state)
{
    struct toml *toml = parse("a = [ 1, 'two', [3.0, []], {x = 1, y.z = [true]}, ] # end\n"
                              "b = [\n  # comment\n  1 ,\n\n  2 # last\n]\n"
                              "c = {}\n"
                              "d = { 'k' = {l = []}, m.n = 1, m.o = 2 }\n");
    const struct toml_value *a = walk(toml, "a");
    assert_int_equal(toml_container(toml, a, TOML_ARRAY, NULL), 0);
    assert_int_equal(a->entries.first->integer, 1);
    assert_string_equal(a->entries.first->next->text.data, "two");
    assert_int_equal(a->entries.first->next->next->type, TOML_ARRAY);
    assert_true(walk(toml, "a.#.y.z.#")->boolean);
    assert_int_equal(walk(toml, "b.#")->integer, 2);
    assert_int_equal(walk(toml, "b.#")->line, 6);
    assert_null(walk(toml, "c")->entries.first);
    assert_int_equal(walk(toml, "d.m.o")->integer, 2);
    toml_free(toml);

    static const char *const bad[] = {
        "a = [1 2]",
        "a = [1,,2]",
        "a = [,]",
        "a = [,1]",
        "a = [",
        "a = [1",
        "a = [1,",
        "a = ]",
        "a = {",
        "a = {b = 1",
        "a = {b = 1,}",
        "a = {b = 1,, c = 2}",
        "a = {b = 1 c = 2}",
        "a = {b}",
        "a = {b = 1, b = 2}",
        "a = {b = 1,\nc = 2}",
        "a = {b = 1 # c\n}",
        "a = {b.c = 1, b = 2}",
        "a = {b = {c = 1}, b.d = 2}",
        "a = [1] 2",
        "a = {} x",
        "a = {,}",
        "a = [1 # x\x01\n]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(bad[i], strlen(bad[i]), 1);
}

static void tables(void **state)
{
    struct toml *toml = parse("top = 0\n"
                              "[x.y.z.w] # first the deep one\n"
                              "a = 1\n"
                              "[x] # then its parent\n"
                              "b = 2\n"
                              "[fruit]\n"
                              "apple.color = 'red'\n"
                              "apple.taste.sweet = true\n"
                              "[ fruit . 'apple' . \"texture\" ]\n"
                              "smooth = true\n"
                              "[empty]\n"
                              "[p.q.r]\n"
                              "s = 1\n"
                              "[p]\n"
                              "q.t = 2\n");
    assert_int_equal(walk(toml, "top")->integer, 0);
    assert_int_equal(walk(toml, "x.y.z.w.a")->integer, 1);
    assert_int_equal(walk(toml, "x.b")->integer, 2);
    assert_true(walk(toml, "fruit.apple.taste.sweet")->boolean);
    assert_true(walk(toml, "fruit.apple.texture.smooth")->boolean);
    assert_int_equal(walk(toml, "empty")->type, TOML_TABLE);
    assert_int_equal(walk(toml, "p.q.r.s")->integer, 1);
    assert_int_equal(walk(toml, "p.q.t")->integer, 2);
    toml_free(toml);
}

static void arrays_of_tables(void **state)
{
    struct toml *toml = parse("[[fruits]]\n"
                              "name = 'apple'\n"
                              "[fruits.physical]\n"
                              "color = 'red'\n"
                              "[[fruits.varieties]]\n"
                              "name = 'a'\n"
                              "[[fruits.varieties]]\n"
                              "name = 'b'\n"
                              "[[fruits]]\n"
                              "[[fruits.varieties]]\n"
                              "name = 'c'\n");
    const struct toml_value *fruits = walk(toml, "fruits");
    assert_int_equal(fruits->type, TOML_ARRAY);
    const struct toml_value *apple = fruits->entries.first;
    assert_string_equal(toml_find(apple, "name")->text.data, "apple");
    assert_string_equal(toml_find(toml_find(apple, "physical"), "color")->text.data, "red");
    assert_string_equal(toml_find(toml_find(apple, "varieties")->entries.last, "name")->text.data,
                        "b");
    assert_ptr_equal(apple->next, fruits->entries.last);
    assert_string_equal(walk(toml, "fruits.#.varieties.#.name")->text.data, "c");
    toml_free(toml);
}

static void redefinitions_are_refused(void **state)
{
    static const struct {
        const char *text;
        unsigned line;
    } bad[] = {
        {"a = 1\na = 2", 2},
        {"a = 1\n'a' = 2", 2},
        {"a = 1\na.b = 2", 2},
        {"a.b = 1\na = 2", 2},
        {"a.b = 1\na.b.c = 2", 2},
        {"[a]\n[a]", 2},
        {"[a]\n[b]\n['a']", 3},
        {"[a]\nb = 1\n[a.b]", 3},
        {"[a]\nb = 1\n[a.b.c]", 3},
        {"a = 1\n[a]", 2},
        {"a.b = 1\n[a]", 2},
        {"[f]\na.c = 1\n[f.a]", 3},
        {"[f]\na.t.s = 1\n[f.a.t]", 3},
        {"[a.b.c]\nz = 9\n[a]\nb.c.t = 1", 4},
        {"[a.b.c.d]\nz = 9\n[a]\nb.c.d.k.t = 1", 4},
        {"[a.b]\n[a]\nb.c = 1", 3},
        {"[a.b]\n[a]\nb = 1", 3},
        {"[a.b.c]\n[a]\nb.x = 1\n[a.b]", 4},
        {"a = {b = 1}\na.c = 2", 2},
        {"a = {b = 1}\n[a.c]", 2},
        {"a = {b = 1}\n[a]", 2},
        {"a = {b.c = 1}\n[a.b.d]", 2},
        {"a = [1]\n[[a]]", 2},
        {"a = []\n[[a]]", 2},
        {"a = [{}]\n[a.b]", 2},
        {"[[a]]\n[a]", 2},
        {"[a]\n[[a]]", 2},
        {"[a.b]\n[[a]]", 2},
        {"[[a.b]]\n[a]\nb.y = 2", 3},
        {"[[a.b]]\n[a]\nb = 2", 3},
        {"[[f]]\nv = []\n[[f.v]]", 3},
        {"[[f]]\n[f.p]\n[[f.p]]", 3},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refused(bad[i].text, strlen(bad[i].text), bad[i].line);

    static const char *const headers[] = {
        "[",      "[]",        "[a",    "[a.]", "[.a]", "[a..b]", "[a]]",  "[[a]",
        "[[a] ]", "[a] b = 1", "[a\n]", "[[]]", "[a]x", "[ [a]]", "[a=1]",
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++)
        expect_refused(headers[i], strlen(headers[i]), 1);
}

static void limits(void **state)
{
    char text[2 * TOML_DEPTH_MAX + 16] = "a = ";
    memset(text + 4, '[', TOML_DEPTH_MAX);
    memset(text + 4 + TOML_DEPTH_MAX, ']', TOML_DEPTH_MAX);
    toml_free(parse(text));
    /* One more, and otherwise right. */
    memset(text + 4, '[', TOML_DEPTH_MAX + 1);
    memset(text + 4 + TOML_DEPTH_MAX + 1, ']', TOML_DEPTH_MAX + 1);
    expect_refused(text, strlen(text), 1);
    strcpy(text, "a = ");
    for (unsigned i = 0; i <= TOML_DEPTH_MAX / 2; i++)
        strcat(text, "[{");
    expect_refused(text, strlen(text), 1);

    char wide[2 * TOML_DEPTH_MAX * 3 + 16] = "a = [";
    for (unsigned i = 0; i < 2 * TOML_DEPTH_MAX; i++)
        strcat(wide, "[],");
    toml_free(parse(strcat(wide, "]")));

    static char large[TOML_SIZE_MAX + 1];
    memset(large, '\n', sizeof large);
    struct toml *toml;
    struct uhyve_error error;
    assert_int_equal(toml_parse("t.toml", large, TOML_SIZE_MAX, &toml, &error), 0);
    toml_free(toml);
    assert_int_equal(toml_parse("t.toml", large, sizeof large, &toml, &error), -EINVAL);
    assert_null(toml);
    assert_non_null(strstr(error.message, "64 KiB"));

    toml_free(parse(""));
    toml_free(parse("# only a comment"));
    toml_free(parse(" \t\r\n"));
    assert_int_equal(toml_parse("t.toml", NULL, 0, &toml, &error), 0);
    toml_free(toml);
    toml_free(NULL);
}

static void type_errors_name_line_and_key(void **state)
{
    struct toml *toml = parse("\n[cpu]\ncpu_count = 'four'\nlist = [1,\n 'x']\nnul = \"\\u0000\"");
    struct uhyve_error error;
    int64_t integer;
    const char *string;
    bool boolean;
    double number;

    const struct toml_value *count = walk(toml, "cpu.cpu_count");
    assert_int_equal(toml_integer(toml, count, &integer, &error), -EINVAL);
    assert_string_equal(error.message, "t.toml:3: cpu_count must be an integer, not a string");
    assert_int_equal(toml_boolean(toml, count, &boolean, &error), -EINVAL);
    assert_int_equal(toml_float(toml, count, &number, &error), -EINVAL);
    assert_int_equal(toml_container(toml, count, TOML_TABLE, &error), -EINVAL);
    assert_string_equal(error.message, "t.toml:3: cpu_count must be a table, not a string");
    assert_int_equal(toml_container(toml, walk(toml, "cpu"), TOML_ARRAY, &error), -EINVAL);
    assert_int_equal(toml_integer(toml, walk(toml, "cpu.list.#"), &integer, &error), -EINVAL);
    assert_string_equal(error.message,
                        "t.toml:5: an entry of list must be an integer, not a string");
    assert_int_equal(toml_string(toml, walk(toml, "cpu.list"), &string, &error), -EINVAL);
    assert_int_equal(toml_string(toml, walk(toml, "cpu.nul"), &string, &error), -EINVAL);
    assert_non_null(strstr(error.message, "U+0000"));
    toml_free(toml);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),
        cmocka_unit_test(bad_strings),
        cmocka_unit_test(integers),
        cmocka_unit_test(floats),
        cmocka_unit_test(bad_numbers),
        cmocka_unit_test(dates_and_times),
        cmocka_unit_test(keys),
        cmocka_unit_test(arrays_and_inline_tables),
        cmocka_unit_test(tables),
        cmocka_unit_test(arrays_of_tables),
        cmocka_unit_test(redefinitions_are_refused),
        cmocka_unit_test(limits),
        cmocka_unit_test(type_errors_name_line_and_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
