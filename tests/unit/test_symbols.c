/* Symbol tables of an ELF file made here, whole and damaged. */
#include "unit.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/symbols.h"

#define TEXT     UINT64_C(0x400000)
#define TEXT_END UINT64_C(0x401000)

static const char names[] = "\0main\0helper\0alias\0entry\0bad\x1b[31m\xc3\xa4name\0data\0loop";
enum { MAIN = 1, HELPER = 6, ALIAS = 13, ENTRY = 19, BAD = 25, DATA = 39, LOOP = 44 };

enum { SYMBOL_COUNT = 12 };

static const Elf64_Sym table[SYMBOL_COUNT] = {
    {0},
    {HELPER, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, 1, TEXT + 0x200, 0x80},
    {MAIN, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, TEXT + 0x100, 0x40},
    {ALIAS, ELF64_ST_INFO(STB_LOCAL, STT_FUNC), 0, 1, TEXT + 0x100, 0x40},
    {ENTRY, ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE), 0, 1, TEXT, 0},
    {LOOP, ELF64_ST_INFO(STB_LOCAL, STT_NOTYPE), 0, 1, TEXT + 8, 0},
    {BAD, ELF64_ST_INFO(STB_WEAK, STT_FUNC), 0, 1, TEXT_END - 0x10, UINT64_MAX},
    {DATA, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT), 0, 1, TEXT + 0x300, 8},
    {HELPER, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, TEXT_END, 8},           /* not executable */
    {HELPER, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, SHN_UNDEF, TEXT + 8, 8},   /* not here */
    {sizeof names, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, TEXT + 0x400, 8}, /* no name */
    {0, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, 1, TEXT + 0x500, 8},            /* empty name */
};

struct image {
    Elf64_Ehdr header;
    Elf64_Phdr segments[3];
    Elf64_Shdr sections[3];
    Elf64_Sym symbols[SYMBOL_COUNT];
    char names[sizeof names];
};

static void make_image(struct image *image)
{
    *image = (struct image){
        .header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
                   .e_phoff = offsetof(struct image, segments),
                   .e_shoff = offsetof(struct image, sections),
                   .e_phentsize = sizeof(Elf64_Phdr),
                   .e_phnum = 3,
                   .e_shentsize = sizeof(Elf64_Shdr),
                   .e_shnum = 3},
        .segments =
            {{.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = TEXT_END, .p_memsz = 4096},
             {.p_type = PT_LOAD,
              .p_flags = PF_R | PF_X,
              .p_vaddr = TEXT,
              .p_memsz = TEXT_END - TEXT},
             {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = UINT64_MAX, .p_memsz = 2}},
        .sections = {{0},
                     {.sh_type = SHT_SYMTAB,
                      .sh_offset = offsetof(struct image, symbols),
                      .sh_size = sizeof table,
                      .sh_entsize = sizeof(Elf64_Sym),
                      .sh_link = 2},
                     {.sh_type = SHT_STRTAB,
                      .sh_offset = offsetof(struct image, names),
                      .sh_size = sizeof names}},
    };
    memcpy(image->symbols, table, sizeof table);
    memcpy(image->names, names, sizeof names);
}

/* Reads from an exact copy at an odd address, so that a sanitizer sees every step beyond it. */
static int read_image(struct symbols *symbols, const struct image *image, size_t size)
{
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy + 1, image, size);
    int result = symbols_read(symbols, copy + 1, size);
    free(copy);
    return result;
}

static void expect(const struct symbols *symbols, uint64_t address, const char *name,
                   uint64_t offset)
{
    uint64_t found_offset = 0;
    const char *found = symbols_find(symbols, address, &found_offset);
    if (!name) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(found, name);
    assert_int_equal(found_offset, offset);
}

static void functions_are_found(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    assert_int_equal(symbols.count, 4);
    expect(&symbols, TEXT - 1, NULL, 0);
    expect(&symbols, TEXT, "entry", 0);
    expect(&symbols, TEXT + 0xff, "entry", 0xff); /* no size: up to the next function */
    expect(&symbols, TEXT + 0x100, "main", 0);    /* the global one of two names */
    expect(&symbols, TEXT + 0x13f, "main", 0x3f);
    expect(&symbols, TEXT + 0x140, NULL, 0);
    expect(&symbols, TEXT + 0x200, "helper", 0);
    expect(&symbols, TEXT_END - 1, "bad?[31m??name", 15); /* printable, cut at the segment's end */
    assert_int_equal(symbols.functions[3].size, 0x10);
    expect(&symbols, TEXT_END, NULL, 0);
    expect(&symbols, UINT64_MAX, NULL, 0);
    symbols_free(&symbols);
}

static void a_function_contains_others(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    image.symbols[2].st_size = 0x300; /* main goes on behind helper */
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    expect(&symbols, TEXT + 0x27f, "helper", 0x7f);
    expect(&symbols, TEXT + 0x280, "main", 0x180);
    expect(&symbols, TEXT + 0x400, NULL, 0);
    symbols_free(&symbols);
}

static void the_first_of_equal_names_counts(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    image.symbols[2].st_info = image.symbols[3].st_info; /* main is as local as its alias */
    image.symbols[1].st_info = image.symbols[3].st_info;
    image.symbols[1].st_value = TEXT + 0x100;
    image.symbols[1].st_size = 0x20;
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    assert_int_equal(symbols.count, 3);
    expect(&symbols, TEXT + 0x100, "main", 0);
    symbols_free(&symbols);
}

/* A function without a size ends with its segment. */
static void nothing_leads_into_another_range(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    image.segments[0].p_flags = PF_R | PF_X;
    image.segments[0].p_vaddr = TEXT + 0x10000;
    for (unsigned i = 1; i < SYMBOL_COUNT; i++)
        if (i != 4)
            image.symbols[i].st_shndx = SHN_UNDEF;
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    assert_int_equal(symbols.range_count, 2);
    expect(&symbols, TEXT_END - 1, "entry", 0xfff);
    expect(&symbols, TEXT_END, NULL, 0);
    expect(&symbols, TEXT + 0x10000, NULL, 0);
    symbols_free(&symbols);
}

static void only_so_many_ranges(void **state)
{
    struct {
        Elf64_Ehdr header;
        Elf64_Phdr segments[SYMBOLS_MAX_RANGES + 2];
    } file = {.header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
                         .e_phoff = sizeof(Elf64_Ehdr),
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = SYMBOLS_MAX_RANGES + 2}};
    struct symbols symbols;

    for (unsigned i = 0; i < SYMBOLS_MAX_RANGES + 2; i++)
        file.segments[i] = (Elf64_Phdr){
            .p_type = PT_LOAD, .p_flags = PF_X, .p_vaddr = TEXT + i * 4096, .p_memsz = 4096};
    assert_int_equal(symbols_read(&symbols, &file, sizeof file), 0);
    assert_int_equal(symbols.range_count, SYMBOLS_MAX_RANGES);
    assert_true(symbols_is_executable(&symbols, TEXT + SYMBOLS_MAX_RANGES * 4096 - 1));
    assert_false(symbols_is_executable(&symbols, TEXT + SYMBOLS_MAX_RANGES * 4096));
    symbols_free(&symbols);
}

static void executable_ranges(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    assert_int_equal(symbols.range_count, 1); /* the third one wraps around */
    assert_true(symbols_is_executable(&symbols, TEXT));
    assert_true(symbols_is_executable(&symbols, TEXT_END - 1));
    assert_false(symbols_is_executable(&symbols, TEXT - 1));
    assert_false(symbols_is_executable(&symbols, TEXT_END));
    symbols_free(&symbols);
}

static void the_dynamic_table_serves_a_stripped_image(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    image.sections[1].sh_type = SHT_DYNSYM;
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    expect(&symbols, TEXT + 0x100, "main", 0);
    symbols_free(&symbols);

    image.sections[1].sh_type = SHT_PROGBITS;
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    assert_int_equal(symbols.count, 0);
    assert_true(symbols_is_executable(&symbols, TEXT));
    symbols_free(&symbols);
}

static void more_sections_than_the_header_can_say(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    image.header.e_shnum = 0;
    image.sections[0].sh_size = 3;
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    assert_int_equal(symbols.count, 4);
    symbols_free(&symbols);
    image.sections[0].sh_size = UINT64_MAX;
    image.sections[1].sh_type = SHT_NULL;
    assert_int_equal(read_image(&symbols, &image, sizeof image), 0);
    assert_int_equal(symbols.count, 0);
    symbols_free(&symbols);
}

static void other_files_are_refused(void **state)
{
    struct image image;
    struct symbols symbols;
    make_image(&image);
    assert_int_equal(read_image(&symbols, &image, 0), -ENOEXEC);
    assert_int_equal(read_image(&symbols, &image, sizeof(Elf64_Ehdr) - 1), -ENOEXEC);
    image.header.e_ident[EI_CLASS] = ELFCLASS32;
    assert_int_equal(read_image(&symbols, &image, sizeof image), -ENOEXEC);
    symbols_free(&symbols);
}

/* Cut off anywhere, and with every 8 bytes of the headers set to extremes: no crash, no nonsense.
 */
static void damaged_files_do_no_harm(void **state)
{
    static const uint64_t extremes[] = {0, 1, UINT64_MAX, UINT64_MAX / 2, sizeof(struct image)};
    struct image image;
    struct symbols symbols;
    make_image(&image);
    for (size_t size = sizeof image.header; size < offsetof(struct image, names) + sizeof names;
         size++) {
        assert_int_equal(read_image(&symbols, &image, size), 0);
        assert_int_equal(symbols.count, 0);
        symbols_free(&symbols);
    }
    for (size_t at = EI_NIDENT; at + 8 <= offsetof(struct image, names); at += 4)
        for (size_t i = 0; i < sizeof extremes / sizeof *extremes; i++) {
            make_image(&image);
            memcpy((char *)&image + at, &extremes[i], 8);
            read_image(&symbols, &image, sizeof image);
            for (size_t k = 0; k < symbols.count; k++) {
                uint64_t offset;
                assert_non_null(symbols_find(&symbols, symbols.functions[k].address, &offset));
            }
            symbols_free(&symbols);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_are_found),
        cmocka_unit_test(a_function_contains_others),
        cmocka_unit_test(the_first_of_equal_names_counts),
        cmocka_unit_test(nothing_leads_into_another_range),
        cmocka_unit_test(only_so_many_ranges),
        cmocka_unit_test(executable_ranges),
        cmocka_unit_test(the_dynamic_table_serves_a_stripped_image),
        cmocka_unit_test(more_sections_than_the_header_can_say),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(damaged_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
