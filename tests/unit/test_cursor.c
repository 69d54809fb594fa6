/* Reading values from bytes that are not trusted. */
#include "unit.h"

#include "image/cursor.h"

static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};

static struct cursor cursor_of(const void *data, size_t size)
{
    return (struct cursor){data, (const uint8_t *)data + size, false};
}

static void nothing_beyond_the_end_is_taken(void **state)
{
    for (size_t size = 1; size <= 8; size++)
        for (size_t has = 0; has <= 8; has++) {
            struct cursor cursor = cursor_of(bytes, has);
            uint64_t value = cursor_take(&cursor, size);
            assert_int_equal(cursor.bad, size > has);
            assert_ptr_equal(cursor.at, bytes + (size > has ? has : size));
            assert_int_equal(value, size > has ? 0
                                               : UINT64_C(0x0807060504030201) &
                                                     (UINT64_MAX >> (64 - 8 * size)));
        }
}

static void nothing_beyond_the_end_is_skipped(void **state)
{
    struct cursor cursor = cursor_of(bytes, sizeof bytes);
    cursor_skip(&cursor, 3);
    cursor_skip(&cursor, 5);
    assert_false(cursor.bad);
    assert_ptr_equal(cursor.at, cursor.end);
    cursor = cursor_of(bytes, sizeof bytes);
    cursor_skip(&cursor, 9);
    assert_true(cursor.bad);
    assert_ptr_equal(cursor.at, cursor.end);
    cursor = cursor_of(bytes + 4, 4);
    cursor_skip(&cursor, UINT64_MAX);
    assert_true(cursor.bad);
    assert_ptr_equal(cursor.at, cursor.end);
}

static uint64_t leb(const char *text, size_t size, bool is_signed)
{
    struct cursor cursor = cursor_of(text, size);
    uint64_t value = cursor_leb(&cursor, is_signed);
    assert_false(cursor.bad);
    assert_ptr_equal(cursor.at, cursor.end);
    return value;
}

#define LEB(text, is_signed) leb(text, sizeof(text) - 1, is_signed)

static void numbers_of_any_length(void **state)
{
    assert_int_equal(LEB("\x7f", false), 127);
    assert_int_equal(LEB("\x7f", true), UINT64_MAX);
    assert_int_equal(LEB("\x80\x7f", true), UINT64_C(-128));
    assert_int_equal(LEB("\xe5\x8e\x26", false), 624485);
    assert_int_equal(LEB("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false), UINT64_MAX);
    /* What does not fit into 64 bits is dropped. */
    assert_int_equal(LEB("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f", false), 1);
    assert_int_equal(LEB("\x81\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f", true), 1);
    /* A number that the end cuts off. */
    struct cursor cursor = cursor_of("\x80\x80", 2);
    cursor_leb(&cursor, false);
    assert_true(cursor.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_beyond_the_end_is_taken),
        cmocka_unit_test(nothing_beyond_the_end_is_skipped),
        cmocka_unit_test(numbers_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
