/* What a kernel's notes say, and that malformed ones say nothing (spec/boot.md section 1.3). */
#include "unit.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "hermit/note.h"
#include "image/elf_note.h"

static struct elf_notes notes;
static uint8_t data[512];
static size_t size;

static void put(const void *bytes, size_t count, size_t padding)
{
    memcpy(data + size, bytes, count);
    size += count;
    while (size % padding)
        data[size++] = 0;
}

static void add(const char *name, uint32_t name_size, uint32_t type, const void *desc,
                uint32_t desc_size, size_t padding)
{
    Elf64_Nhdr header = {name_size, desc_size, type};
    put(&header, sizeof header, 4);
    put(name, name_size, padding);
    put(desc, desc_size, padding);
}

/* Scan a copy of exactly this size, for the address sanitizer. */
static void scan(uint64_t align)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    memset(&notes, 0, sizeof notes);
    elf_notes_scan(&notes, copy, size, align);
    free(copy);
}

static int reset(void **state)
{
    size = 0;
    return 0;
}

static void add_all(size_t padding)
{
    static const uint32_t abi[] = {HERMIT_ABI_OS, 0, 13, 2};
    add("GNU", 4, HERMIT_NOTE_ABI_TYPE, abi, sizeof abi, padding);
    add("UHYVEIF", 8, HERMIT_NOTE_INTERFACE_TYPE, "\0\0\0\3", 4, padding);
    add("HERMIT", 7, HERMIT_NOTE_ENTRY_TYPE, "\4", 1, padding);
}

static void assert_all(void)
{
    assert_true(notes.has_entry_version);
    assert_int_equal(notes.entry_version, 4);
    assert_true(notes.has_interface);
    assert_int_equal(notes.interface, 3);
    assert_true(notes.version.known);
    assert_int_equal(notes.version.major, 0);
    assert_int_equal(notes.version.minor, 13);
    assert_int_equal(notes.version.patch, 2);
}

static void notes_are_found_with_any_padding(void **state)
{
    static const uint64_t aligns[] = {0, 1, 4};
    add_all(4);
    for (size_t i = 0; i < 3; i++) {
        scan(aligns[i]);
        assert_all();
    }
    size = 0;
    add_all(8);
    scan(8);
    assert_all();
}

static void last_note_needs_no_padding(void **state)
{
    add_all(4);
    size -= 3; /* the padding after the one byte of the HERMIT note */
    scan(4);
    assert_all();
}

static void first_of_a_kind_wins(void **state)
{
    static const uint32_t abi[] = {HERMIT_ABI_OS, 9, 9, 9};
    add_all(4);
    add("HERMIT", 7, HERMIT_NOTE_ENTRY_TYPE, "\7", 1, 4);
    add("UHYVEIF", 8, HERMIT_NOTE_INTERFACE_TYPE, "\0\0\0\1", 4, 4);
    add("GNU", 4, HERMIT_NOTE_ABI_TYPE, abi, sizeof abi, 4);
    scan(4);
    assert_all();
}

static void look_alikes_are_ignored(void **state)
{
    static const uint32_t linux_abi[] = {0, 6, 1, 0};
    add("HERMIT", 7, HERMIT_NOTE_ENTRY_TYPE + 1, "\4", 1, 4); /* type */
    add("HERMITX", 8, HERMIT_NOTE_ENTRY_TYPE, "\4", 1, 4);    /* longer name */
    add("HERMI", 6, HERMIT_NOTE_ENTRY_TYPE, "\4", 1, 4);      /* shorter name */
    add("HERMITX", 7, HERMIT_NOTE_ENTRY_TYPE, "\4", 1, 4);    /* no terminator */
    add("hermit", 7, HERMIT_NOTE_ENTRY_TYPE, "\4", 1, 4);
    add("HERMIT", 7, HERMIT_NOTE_ENTRY_TYPE, "", 0, 4); /* nothing in it */
    add("\xff\xfe", 3, HERMIT_NOTE_ENTRY_TYPE, "\4", 1, 4);
    add("", 0, HERMIT_NOTE_ENTRY_TYPE, "\4", 1, 4);
    add("UHYVEIF", 8, HERMIT_NOTE_INTERFACE_TYPE, "\0\0\0\2", 3, 4); /* length */
    add("UHYVEIF", 8, HERMIT_NOTE_INTERFACE_TYPE, "\0\0\0\2\0\0\0\0", 8, 4);
    add("GNU", 4, HERMIT_NOTE_ABI_TYPE, linux_abi, sizeof linux_abi, 4); /* other system */
    add("GNU", 4, HERMIT_NOTE_ABI_TYPE, linux_abi, 12, 4);
    scan(4);
    assert_false(notes.has_entry_version);
    assert_false(notes.has_interface);
    assert_false(notes.version.known);
}

static void note_after_look_alikes_is_found(void **state)
{
    add("UHYVEIF", 8, HERMIT_NOTE_INTERFACE_TYPE, "\0\0\0", 3, 4);
    add("GNU", 4, 3, "0123456789abcdefghij", 20, 4); /* a build id */
    add_all(4);
    scan(4);
    assert_all();
}

static void lengths_beyond_the_end_stop_the_scan(void **state)
{
    static const uint32_t huge[] = {0xffffffff, 0xfffffffe, 0x80000000, 513};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        for (int in_name = 0; in_name < 2; in_name++) {
            size = 0;
            Elf64_Nhdr header = {in_name ? huge[i] : 7, in_name ? 1 : huge[i],
                                 HERMIT_NOTE_ENTRY_TYPE};
            put(&header, sizeof header, 4);
            put("HERMIT", 7, 4);
            put("\4", 1, 4);
            add_all(4);
            scan(4);
            assert_false(notes.has_entry_version);
        }
    }
}

static void every_truncation_is_safe(void **state)
{
    size_t whole;
    add_all(4);
    whole = size;
    for (size_t cut = 0; cut < whole - 3; cut++) {
        size = cut;
        scan(4);
        assert_false(notes.has_entry_version);
    }
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(notes_are_found_with_any_padding),
        TEST(last_note_needs_no_padding),
        TEST(first_of_a_kind_wins),
        TEST(look_alikes_are_ignored),
        TEST(note_after_look_alikes_is_found),
        TEST(lengths_beyond_the_end_stop_the_scan),
        TEST(every_truncation_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
