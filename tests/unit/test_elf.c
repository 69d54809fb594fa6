/* Which files are Hermit kernels, and what their headers say (spec/boot.md sections 1.1, 1.2,
 * 1.5). */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "elf_builder.h"
#include "hermit/note.h"
#include "image/elf.h"

static struct elf_builder builder;
static struct elf elf;
static struct uhyve_error error;

static int read_built(void)
{
    struct image image = builder_image(&builder);
    memset(&error, 0, sizeof error);
    return elf_read(&image, &elf, &error);
}

static void assert_accepted(void)
{
    int err = read_built();
    if (err)
        fail_msg("refused: %s", error.message);
}

/* Refused with a whole sentence that contains `why`. */
static void assert_refused(const char *why)
{
    assert_true(read_built() < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
    assert_non_null(strstr(error.message, "'built'"));
    assert_null(strchr(error.message, '\n'));
}

static void fixed_kernel_is_read(void **state)
{
    builder_init(&builder, ET_EXEC, 2);
    assert_accepted();
    assert_false(elf.relocatable);
    assert_true(elf.standalone_osabi);
    assert_int_equal(elf.start, BUILDER_EXEC_START);
    assert_int_equal(elf.entry, BUILDER_EXEC_START + BUILDER_ENTRY);
    assert_int_equal(elf.size, BUILDER_MEMORY_SIZE);
    assert_int_equal(elf.load_count, 1);
    assert_int_equal(elf.load[0].offset, BUILDER_KERNEL);
    assert_int_equal(elf.load[0].filesz, BUILDER_KERNEL_SIZE);
    assert_int_equal(elf.load[0].flags, PF_R | PF_W | PF_X);
    assert_int_equal(elf.interface, 2);
    assert_false(elf.version.known);
    assert_int_equal(elf.tls.memsz, 0);
}

static void relocatable_kernel_is_read(void **state)
{
    builder_init(&builder, ET_DYN, 0);
    builder_rela(&builder, BUILDER_DATA, R_X86_64_RELATIVE, 0, 0x10);
    builder_add(&builder,
                &(Elf64_Phdr){
                    .p_type = PT_TLS, .p_vaddr = 0x80, .p_filesz = 8, .p_memsz = 16, .p_align = 8});
    assert_accepted();
    assert_true(elf.relocatable);
    assert_int_equal(elf.start, 0);
    assert_int_equal(elf.entry, BUILDER_ENTRY);
    assert_int_equal(elf.interface, 1); /* no note */
    assert_int_equal(elf.rela, BUILDER_RELA);
    assert_int_equal(elf.rela_size, sizeof(Elf64_Rela));
    assert_int_equal(elf.symtab, BUILDER_SYMTAB);
    assert_int_equal(elf.tls.vaddr, 0x80);
    assert_int_equal(elf.tls.filesz, 8);
    assert_int_equal(elf.tls.memsz, 16);
    assert_int_equal(elf.tls.align, 8);
}

static void only_the_first_tls_segment_counts(void **state)
{
    builder_init(&builder, ET_EXEC, 2);
    Elf64_Phdr tls = {.p_type = PT_TLS, .p_vaddr = 0x800080, .p_memsz = 4, .p_align = 4};
    builder_add(&builder, &tls);
    tls.p_memsz = 8;
    builder_add(&builder, &tls);
    assert_accepted();
    assert_int_equal(elf.tls.memsz, 4);
}

static void several_segments_make_one_kernel(void **state)
{
    builder_init(&builder, ET_EXEC, 2);
    Elf64_Phdr *more = builder_add(&builder, builder_segment(&builder, 1));
    more->p_vaddr += 0x3000;
    Elf64_Phdr *empty = builder_add(&builder, builder_segment(&builder, 1));
    empty->p_memsz = empty->p_filesz = 0;
    assert_accepted();
    assert_int_equal(elf.load_count, 2);
    assert_int_equal(elf.start, BUILDER_EXEC_START);
    assert_int_equal(elf.size, 0x3000 + BUILDER_MEMORY_SIZE);
}

static void other_osabi_is_only_noted(void **state)
{
    builder_init(&builder, ET_EXEC, 2);
    builder_header(&builder)->e_ident[EI_OSABI] = ELFOSABI_LINUX;
    assert_accepted();
    assert_false(elf.standalone_osabi);
}

static void interface_versions_1_to_3(void **state)
{
    for (uint32_t version = 1; version <= 3; version++) {
        builder_init(&builder, ET_EXEC, version);
        assert_accepted();
        assert_int_equal(elf.interface, version);
    }
    builder_init(&builder, ET_EXEC, 4);
    assert_refused("version 4 of the hypercall interface");
    builder_init(&builder, ET_EXEC, 0x01000000); /* 1 in the wrong byte order */
    assert_refused("hypercall interface");
    builder_init(&builder, ET_EXEC, 0);
    builder_note(&builder, HERMIT_NOTE_INTERFACE_NAME, HERMIT_NOTE_INTERFACE_TYPE, "\0\0\0\0", 4);
    assert_refused("version 0 of the hypercall interface");
}

static void boot_protocol_must_be_4(void **state)
{
    builder_init(&builder, ET_EXEC, 2);
    builder_clear_notes(&builder);
    assert_refused("the HERMIT note is missing");
    builder_note(&builder, HERMIT_NOTE_ENTRY_NAME, HERMIT_NOTE_ENTRY_TYPE, "\3", 1);
    assert_refused("version 3 of the boot protocol");
    builder_clear_notes(&builder);
    builder_note(&builder, HERMIT_NOTE_ENTRY_NAME, HERMIT_NOTE_ENTRY_TYPE, "\5", 1);
    assert_refused("version 5 of the boot protocol");
    builder_init(&builder, ET_EXEC, 2);
    builder_segment(&builder, 0)->p_type = PT_NULL;
    assert_refused("the HERMIT note is missing");
}

static void wrong_headers_are_refused(void **state)
{
    static const struct {
        size_t offset;
        size_t size;
        uint64_t value;
        const char *why;
    } wrong[] = {
        {0, 1, 0x7e, "neither an ELF file"},
        {EI_CLASS, 1, ELFCLASS32, "not a 64-bit ELF file"},
        {EI_CLASS, 1, 0, "not a 64-bit ELF file"},
        {EI_DATA, 1, ELFDATA2MSB, "big-endian"},
        {offsetof(Elf64_Ehdr, e_machine), 2, EM_AARCH64, "for aarch64"},
        {offsetof(Elf64_Ehdr, e_machine), 2, EM_RISCV, "for RISC-V"},
        {offsetof(Elf64_Ehdr, e_machine), 2, EM_386, "32-bit x86"},
        {offsetof(Elf64_Ehdr, e_machine), 2, 0, "another processor architecture"},
        {offsetof(Elf64_Ehdr, e_type), 2, ET_REL, "not a program"},
        {offsetof(Elf64_Ehdr, e_type), 2, ET_CORE, "not a program"},
        {offsetof(Elf64_Ehdr, e_phentsize), 2, 32, "program headers"},
        {offsetof(Elf64_Ehdr, e_phnum), 2, 0, "program headers"},
        {offsetof(Elf64_Ehdr, e_phoff), 8, BUILDER_FILE_SIZE - 55, "program headers"},
        {offsetof(Elf64_Ehdr, e_phoff), 8, UINT64_MAX, "program headers"},
        {offsetof(Elf64_Ehdr, e_phoff), 8, UINT64_MAX - 55, "program headers"},
        {offsetof(Elf64_Ehdr, e_entry), 8, BUILDER_EXEC_START - 1, "entry point"},
        {offsetof(Elf64_Ehdr, e_entry), 8, BUILDER_EXEC_START + BUILDER_MEMORY_SIZE, "entry point"},
        {offsetof(Elf64_Ehdr, e_entry), 8, UINT64_MAX, "entry point"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        builder_init(&builder, ET_EXEC, 2);
        memcpy(builder.file + wrong[i].offset, &wrong[i].value, wrong[i].size);
        assert_refused(wrong[i].why);
    }
}

static void wrong_segments_are_refused(void **state)
{
    static const struct {
        size_t offset;
        uint64_t value;
        const char *why;
    } wrong[] = {
        {offsetof(Elf64_Phdr, p_filesz), BUILDER_MEMORY_SIZE + 1, "larger in the file"},
        {offsetof(Elf64_Phdr, p_offset), BUILDER_KERNEL + 1, "beyond the end of the file"},
        {offsetof(Elf64_Phdr, p_offset), UINT64_MAX, "beyond the end of the file"},
        {offsetof(Elf64_Phdr, p_vaddr), UINT64_MAX - BUILDER_MEMORY_SIZE + 1, "wraps around"},
        {offsetof(Elf64_Phdr, p_memsz), UINT64_MAX, "wraps around"},
        {offsetof(Elf64_Phdr, p_memsz), 0, "nothing to load"},
        {offsetof(Elf64_Phdr, p_type), PT_NULL, "nothing to load"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        builder_init(&builder, ET_EXEC, 2);
        size_t size = wrong[i].offset == offsetof(Elf64_Phdr, p_type) ? 4 : 8;
        memcpy((uint8_t *)builder_segment(&builder, 1) + wrong[i].offset, &wrong[i].value, size);
        assert_refused(wrong[i].why);
    }
}

static void segments_must_ascend_without_overlap(void **state)
{
    static const int64_t distances[] = {0, BUILDER_MEMORY_SIZE - 1, -BUILDER_MEMORY_SIZE, -1};
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++) {
        builder_init(&builder, ET_EXEC, 2);
        Elf64_Phdr *more = builder_add(&builder, builder_segment(&builder, 1));
        more->p_vaddr += (uint64_t)distances[i];
        assert_refused("overlap or are out of order");
    }
    builder_init(&builder, ET_EXEC, 2);
    builder_add(&builder, builder_segment(&builder, 1))->p_vaddr += BUILDER_MEMORY_SIZE;
    assert_accepted();
}

static void relocatable_kernel_must_start_at_zero(void **state)
{
    builder_init(&builder, ET_DYN, 2);
    builder_segment(&builder, 1)->p_vaddr = 0x1000;
    builder_header(&builder)->e_entry += 0x1000;
    assert_refused("does not start at address 0");
}

/* `count` program headers like this one, each for other addresses, and nothing else. */
static void read_many(size_t count, const Elf64_Phdr *segment)
{
    size_t size = sizeof(Elf64_Ehdr) + count * sizeof *segment;
    uint8_t *file = calloc(1, size);
    struct image image;

    builder_init(&builder, ET_EXEC, 2);
    builder_header(&builder)->e_phnum = (uint16_t)count;
    memcpy(file, builder.file, sizeof(Elf64_Ehdr));
    for (size_t i = 0; i < count; i++) {
        Elf64_Phdr copy = *segment;
        copy.p_vaddr += i;
        memcpy(file + sizeof(Elf64_Ehdr) + i * sizeof copy, &copy, sizeof copy);
    }
    image_from_memory(&image, "built", file, size);
    memset(&error, 0, sizeof error);
    assert_true(elf_read(&image, &elf, &error) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    free(file);
}

static void number_of_headers_is_limited(void **state)
{
    const Elf64_Phdr note = {.p_type = PT_NOTE, .p_filesz = 64, .p_align = 4};
    const Elf64_Phdr load = {.p_type = PT_LOAD, .p_vaddr = BUILDER_EXEC_START, .p_memsz = 1};
    read_many(ELF_MAX_LOADS + 1, &load);
    assert_non_null(strstr(error.message, "more than 64 loadable segments"));
    read_many(ELF_MAX_LOADS, &load);
    assert_non_null(strstr(error.message, "HERMIT note is missing"));
    /* 65,535 note segments of 16 KiB would keep us busy for a while. */
    read_many(256, &note);
    assert_non_null(strstr(error.message, "HERMIT note is missing"));
    read_many(257, &note);
    assert_non_null(strstr(error.message, "more than 256 program headers"));
    read_many(UINT16_MAX, &note);
    assert_non_null(strstr(error.message, "more than 256 program headers"));
}

static void foreign_dynamic_sections_are_refused(void **state)
{
    static const struct {
        int64_t tag;
        uint64_t value;
        const char *why;
    } wrong[] = {
        {DT_NEEDED, 1, "shared libraries"},    {DT_RELCOUNT, 1, "relocation table"},
        {DT_RELSZ, 16, "relocation table"},    {DT_RELRSZ, 8, "relocation table"},
        {DT_PLTRELSZ, 24, "relocation table"}, {DT_RELAENT, 23, "unknown layout"},
        {DT_RELASZ, 25, "unknown layout"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        builder_init(&builder, ET_DYN, 2);
        builder_dynamic(&builder, wrong[i].tag, wrong[i].value);
        assert_refused(wrong[i].why);
    }
    builder_init(&builder, ET_DYN, 2);
    builder_dynamic(&builder, DT_RELASZ, 24);
    builder_dynamic(&builder, DT_RELA, 0);
    assert_refused("no address");
    builder_init(&builder, ET_DYN, 2);
    builder_dynamic(&builder, DT_RELCOUNT, 0);
    builder_dynamic(&builder, DT_NULL, 0);
    builder_dynamic(&builder, DT_NEEDED, 1); /* behind the end */
    assert_accepted();
}

static void dynamic_section_must_be_in_the_file(void **state)
{
    builder_init(&builder, ET_DYN, 2);
    builder_segment(&builder, 2)->p_offset = BUILDER_FILE_SIZE - 16;
    assert_refused("dynamic section");
    builder_init(&builder, ET_DYN, 2);
    builder_segment(&builder, 2)->p_offset = UINT64_MAX;
    assert_refused("dynamic section");
    builder_init(&builder, ET_DYN, 2);
    builder_segment(&builder, 2)->p_filesz = UINT64_MAX;
    assert_refused("dynamic section");
}

static void note_segment_must_be_in_the_file(void **state)
{
    builder_init(&builder, ET_EXEC, 2);
    builder_segment(&builder, 0)->p_offset = BUILDER_FILE_SIZE;
    assert_refused("note segment");
    builder_init(&builder, ET_EXEC, 2);
    builder_segment(&builder, 0)->p_filesz = UINT64_MAX;
    assert_refused("note segment");
}

/* Notes or a dynamic section of `size` bytes, in a file that has as many. */
static void read_large(unsigned segment, uint64_t size)
{
    static uint8_t file[BUILDER_FILE_SIZE + 32 * 1024];
    struct image image;

    builder_init(&builder, ET_DYN, 2);
    builder_segment(&builder, segment)->p_filesz = size;
    memcpy(file, builder.file, BUILDER_FILE_SIZE);
    image_from_memory(&image, "built", file, sizeof file);
    memset(&error, 0, sizeof error);
    elf_read(&image, &elf, &error);
}

static void notes_and_dynamic_section_are_limited(void **state)
{
    for (unsigned segment = 0; segment <= 2; segment += 2) {
        read_large(segment, 16 * 1024);
        assert_string_equal(error.message, "");
        read_large(segment, 16 * 1024 + 1);
        assert_non_null(strstr(error.message, segment ? "dynamic section is oversized"
                                                      : "note segment is oversized"));
        assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    }
}

static void other_files_are_told_apart(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *why;
    } files[] = {
        {"", 0, "the file is empty"},
        {"#!/bin/sh\nexit 0\n", 17, "neither an ELF file nor a Hermit image"},
        {"\x7f"
         "EL",
         3, "neither an ELF file"},
        {"\x7f"
         "ELF",
         4, "truncated"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        builder_init(&builder, ET_EXEC, 2);
        memcpy(builder.file, files[i].bytes, files[i].size);
        builder.size = files[i].size;
        assert_refused(files[i].why);
    }
}

/* Wherever the file ends too early, there is a clean error and no byte behind the end is used. */
static void truncation_is_noticed_everywhere(void **state)
{
    static const unsigned types[] = {ET_EXEC, ET_DYN};
    for (size_t i = 0; i < 2; i++) {
        builder_init(&builder, types[i], 3);
        for (size_t size = 0; size < BUILDER_FILE_SIZE; size++) {
            /* A copy of exactly this size, for the address sanitizer. */
            uint8_t *copy = malloc(size ? size : 1);
            struct image image;
            memcpy(copy, builder.file, size);
            image_from_memory(&image, "built", copy, size);
            memset(&error, 0, sizeof error);
            assert_true(elf_read(&image, &elf, &error) < 0);
            assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
            assert_non_null(strstr(error.message, "'built'"));
            free(copy);
        }
        assert_accepted();
    }
}

static void versions_compare_by_parts(void **state)
{
    const struct elf_version unknown = {0};
    const struct elf_version version = {true, 1, 10, 5};
    assert_false(elf_version_at_least(&unknown, 0, 0, 0));
    assert_true(elf_version_at_least(&version, 1, 10, 5));
    assert_true(elf_version_at_least(&version, 1, 10, 4));
    assert_true(elf_version_at_least(&version, 1, 9, 9));
    assert_true(elf_version_at_least(&version, 0, 99, 99));
    assert_false(elf_version_at_least(&version, 1, 10, 6));
    assert_false(elf_version_at_least(&version, 1, 11, 0));
    assert_false(elf_version_at_least(&version, 2, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_kernel_is_read),
        cmocka_unit_test(relocatable_kernel_is_read),
        cmocka_unit_test(only_the_first_tls_segment_counts),
        cmocka_unit_test(several_segments_make_one_kernel),
        cmocka_unit_test(other_osabi_is_only_noted),
        cmocka_unit_test(interface_versions_1_to_3),
        cmocka_unit_test(boot_protocol_must_be_4),
        cmocka_unit_test(wrong_headers_are_refused),
        cmocka_unit_test(wrong_segments_are_refused),
        cmocka_unit_test(segments_must_ascend_without_overlap),
        cmocka_unit_test(relocatable_kernel_must_start_at_zero),
        cmocka_unit_test(number_of_headers_is_limited),
        cmocka_unit_test(foreign_dynamic_sections_are_refused),
        cmocka_unit_test(dynamic_section_must_be_in_the_file),
        cmocka_unit_test(note_segment_must_be_in_the_file),
        cmocka_unit_test(notes_and_dynamic_section_are_limited),
        cmocka_unit_test(other_files_are_told_apart),
        cmocka_unit_test(truncation_is_noticed_everywhere),
        cmocka_unit_test(versions_compare_by_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
