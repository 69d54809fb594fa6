/* Places in the source: of this very program, and what broken tables make of them. */
#include "unit.h"

#include <stdio.h>

#include "image/lines.h"
#include "image/section.h"

extern const char __executable_start[];

static uint8_t *image;
static size_t image_size;

static void read_self(void)
{
    FILE *file = fopen("/proc/self/exe", "rbe");
    assert_non_null(file);
    image = malloc(64 << 20);
    image_size = fread(image, 1, 64 << 20, file);
    fclose(file);
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
        cmocka_unit_test(sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
