/* Places in the source: of this very program, and what broken tables make of them. */
#include "unit.h"

#include "image/lines.h"
#include "image/section.h"
#include "section_file.h"

static uint8_t *image;
static size_t image_size;

static void read_self(void)
{
    image = own_program(&image_size);
    if (!section_find(image, image_size, ".debug_line").data) {
        free(image);
        skip();
    }
}

static const unsigned marker_line = __LINE__ + 1;
static __attribute__((noinline)) void marker(void)
{
    __asm__ volatile("");
}

static void own_functions(void **state)
{
    read_self();
    struct line_place places[] = {
        {.address = (uint64_t)(uintptr_t)marker - (uint64_t)(uintptr_t)__executable_start},
        {.address = 0},
        {.address = UINT64_MAX},
    };
    lines_find(image, image_size, places, 3);
    assert_in_range(places[0].line, marker_line, marker_line + 3);
    const char *name = strrchr(places[0].file, '/');
    assert_string_equal(name ? name + 1 : places[0].file, "test_lines.c");
    assert_int_equal(places[1].line, 0);
    assert_int_equal(places[2].line, 0);
    marker();
    free(image);
}

/* Whatever a byte of the tables is, nothing beyond them is read, and it comes to an end. */
static void broken_tables(void **state)
{
    read_self();
    const struct image_section lines = section_find(image, image_size, ".debug_line");
    uint8_t *bytes = image + (lines.data - image);
    struct line_place place = {.address = 0x1234};
    for (size_t i = 0; i < lines.size && i < 1000; i++) {
        uint8_t old = bytes[i];
        for (unsigned value = 0; value < 256; value += 51) {
            bytes[i] = (uint8_t)value;
            lines_find(image, image_size, &place, 1);
        }
        bytes[i] = old;
    }
    for (size_t size = 0; size < 200; size++)
        lines_find(image, size, &place, 1);
    free(image);
}

/* A unit with a file "a.c", whose line 1 has the addresses from 0x1000 to 0x1010; its tables end
 * after `spare` more bytes. */
static uint8_t *make_unit(size_t spare, size_t *size)
{
    static const uint8_t fields[] = {1, 1, 1, 0, 1, 10, 0, 1, 1, 1, 1, 0, 0, 0, 1},
                         names[] = "\0a.c\0\0\0\0",
                         program[] = {0, 9, 2, 0, 0x10, 0, 0, 0, 0, 0, 0, 1, 2, 16, 0, 1, 1};
    uint32_t header = (uint32_t)(sizeof fields + sizeof names + spare);
    uint32_t unit = (uint32_t)(2 + 4 + header + sizeof program);
    uint8_t *at, *file = file_with_section(".debug_line", 4 + unit, &at, size);

    memcpy(at, &unit, 4);
    at[4] = 4; /* version */
    memcpy(at + 6, &header, 4);
    memcpy(at + 10, fields, sizeof fields);
    memcpy(at + 10 + sizeof fields, names, sizeof names);
    memcpy(at + 10 + header, program, sizeof program);
    return file;
}

/* They are gone through for each place of a backtrace: with large ones that would not end. */
static void large_tables_are_not_used(void **state)
{
    for (size_t spare = 0; spare <= 1 << 20; spare += 1 << 20) {
        struct line_place places[] = {{.address = 0x1008}, {.address = 0x1010}};
        size_t size;
        uint8_t *file = make_unit(spare, &size);
        lines_find(file, size, places, 2);
        assert_int_equal(places[0].line, spare ? 0 : 1);
        if (!spare)
            assert_string_equal(places[0].file, "a.c");
        assert_int_equal(places[1].line, 0);
        free(file);
    }
}

static void sections(void **state)
{
    read_self();
    assert_non_null(section_find(image, image_size, ".text").data);
    assert_null(section_find(image, image_size, ".tex").data);
    assert_null(section_find(image, image_size, ".bss").data); /* not in the file */
    assert_null(section_find(image, 100, ".text").data);
    free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_functions),
        cmocka_unit_test(broken_tables),
        cmocka_unit_test(large_tables_are_not_used),
        cmocka_unit_test(sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
