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

/* What the headers say of a section must be within the file. */
static void sections_outside_of_the_file(void **state)
{
    uint8_t *section;
    size_t size;
    uint8_t *file = file_with_section(".text", 64, &section, &size);
    Elf64_Ehdr *header = (Elf64_Ehdr *)(void *)file;
    Elf64_Shdr *entries = (Elf64_Shdr *)(void *)(file + sizeof *header);

    assert_ptr_equal(section_find(file, size, ".text").data, section);
    entries[1].sh_size++;
    assert_null(section_find(file, size, ".text").data);
    entries[1].sh_size--;
    entries[1].sh_offset = UINT64_MAX;
    assert_null(section_find(file, size, ".text").data);
    entries[1].sh_offset = size - 64;
    entries[0].sh_size = size - entries[0].sh_offset;
    assert_non_null(section_find(file, size, ".text").data);
    entries[0].sh_size++;
    assert_null(section_find(file, size, ".text").data);
    entries[0].sh_size = 7;
    /* The names behind the last section. */
    entries[2] = entries[0];
    header->e_shstrndx = 2;
    assert_null(section_find(file, size, ".text").data);
    free(file);
}

/* A unit of version 5 whose directories have `columns`, and whose only file is "\1", which does
 * nothing where it is taken for instructions; `length` is the header's, 0 for the right one. */
static uint8_t *make_unit_5(unsigned columns, unsigned length, size_t *size)
{
    uint8_t tables[128] = {(uint8_t)columns}, *end = tables + 1;
    static const uint8_t files[] = {0 /* directories */, 1, 1, 8 /* a path, here */, 2, 0, 1, 0};
    static const uint8_t program[] = {0, 9, 2, 0, 0x10, 0, 0, 0, 0, 0, 0, 1, 65, 0, 1, 1};

    for (unsigned i = 0; i < columns; i++) {
        *end++ = 2;
        *end++ = 11; /* one byte */
    }
    memcpy(end, files, sizeof files);
    end += sizeof files;
    const size_t tables_size = (size_t)(end - tables);
    uint8_t header[] = {0, 0, 0, 0, 5, 0, 8, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 1};
    header[0] = (uint8_t)(sizeof header - 4 + tables_size + sizeof program);
    header[8] = (uint8_t)(length ? length : 6 + tables_size);
    uint8_t *section;
    uint8_t *file = file_with_section(".debug_line", sizeof header + tables_size + sizeof program,
                                      &section, size);
    memcpy(section, header, sizeof header);
    memcpy(section + sizeof header, tables, tables_size);
    memcpy(section + sizeof header + tables_size, program, sizeof program);
    return file;
}

static void tables_have_few_columns(void **state)
{
    for (unsigned columns = 16; columns <= 17; columns++) {
        struct line_place place = {.address = 0x1008};
        size_t size;
        uint8_t *file = make_unit_5(columns, 0, &size);
        lines_find(file, size, &place, 1);
        assert_int_equal(place.line, 1);
        assert_string_equal(place.file, columns == 16 ? "?" : "");
        free(file);
    }
}

/* A header that ends before its tables begin. */
static void tables_are_in_the_header(void **state)
{
    struct line_place place = {.address = 0x1008};
    size_t size;
    uint8_t *file = make_unit_5(1, 5, &size);
    lines_find(file, size, &place, 1);
    assert_int_equal(place.line, 0);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_functions),
        cmocka_unit_test(broken_tables),
        cmocka_unit_test(large_tables_are_not_used),
        cmocka_unit_test(tables_have_few_columns),
        cmocka_unit_test(tables_are_in_the_header),
        cmocka_unit_test(sections),
        cmocka_unit_test(sections_outside_of_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
