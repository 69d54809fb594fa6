/*
 * Fuzz target: kernels that are nearly right. The input says which relocations, symbols and
 * segments a well-formed kernel is to have, and which of its fields are then spoiled; so most of
 * what happens is behind the checks of the headers. What is loaded must be what a second reader of
 * the relocation table makes of the same file, byte for byte, and be refused if that one finds
 * fault with it.
 *
 * Input: type and interface (1 byte), numbers of symbols, relocations, segments and spoiled fields
 * (4 bytes); for each symbol: index, binding and section (1 byte), value (2); for each relocation:
 * offset (2), type (1), symbol (1), addend (2); for each further segment: gap (1), bytes in the
 * file (1) and in memory (1); for each field: which (2), how (1), value (2).
 */
#include "../tests/unit/elf_builder.c"
#include "fuzz.h"
#include "image/elf.h"
#include "input.h"

#define KERNEL_MAX (64 * 1024)
#define LOAD_AT    UINT64_C(0x40000)

static struct elf_builder builder;

static void add_symbols(struct input *input, unsigned count)
{
    static const uint16_t sections[] = {SHN_UNDEF, 1, SHN_ABS, 2};

    for (; count; count--) {
        uint64_t what = take(input, 1), value = take(input, 2);
        builder_symbol(&builder, (unsigned)what % 8, what & 8 ? STB_WEAK : STB_GLOBAL,
                       sections[what >> 4 & 3], value);
    }
}

static void add_relocations(struct input *input, unsigned count)
{
    static const uint32_t types[] = {R_X86_64_RELATIVE, R_X86_64_64,       R_X86_64_GLOB_DAT,
                                     R_X86_64_NONE,     R_X86_64_RELATIVE, R_X86_64_JUMP_SLOT,
                                     R_X86_64_RELATIVE, R_X86_64_PC32};

    for (; count; count--) {
        uint64_t offset = take(input, 2), type = take(input, 1), symbol = take(input, 1);
        int16_t addend = (int16_t)take(input, 2);
        /* Mostly in the data and the zeros behind the file's part, sometimes anywhere. */
        if (!(type & 0x80))
            offset = offset & 1 ? BUILDER_DATA + offset % 0xb8 : 0x400 + offset % 0xc01;
        builder_rela(&builder, offset, types[type % 8], (uint32_t)symbol % 9,
                     types[type % 8] == R_X86_64_GLOB_DAT && !(type & 0x40) ? 0 : addend);
    }
}

/* Segments behind the kernel, of bytes that are in the file already. */
static void add_segments(struct input *input, unsigned count)
{
    uint64_t end = builder_segment(&builder, 1)->p_vaddr + BUILDER_MEMORY_SIZE;

    for (; count; count--) {
        uint64_t gap = take(input, 1), file = take(input, 1), memory = take(input, 1);
        builder_add(&builder, &(Elf64_Phdr){.p_type = gap & 0x80 ? PT_TLS : PT_LOAD,
                                            .p_flags = PF_R,
                                            .p_offset = BUILDER_KERNEL,
                                            .p_vaddr = end + (gap & 0x7f),
                                            .p_filesz = file,
                                            .p_memsz = file + memory,
                                            .p_align = 16});
        if (!(gap & 0x80))
            end += (gap & 0x7f) + file + memory;
    }
}

/* A field of headers, notes, dynamic section, or a byte of the file. */
static void spoil(struct input *input)
{
    static const uint64_t values[] = {0,
                                      1,
                                      0xffff,
                                      0x7fffffff,
                                      UINT64_MAX,
                                      UINT64_MAX - 7,
                                      UINT64_C(1) << 63,
                                      BUILDER_FILE_SIZE,
                                      BUILDER_MEMORY_SIZE};
    uint64_t place = take(input, 2), how = take(input, 1), value = take(input, 2);
    size_t at, size = 8;

    if (place & 1)
        at = sizeof(Elf64_Ehdr) + (place >> 1) % (BUILDER_PHDR_MAX * 7u) * 8;
    else if (place & 2)
        at = BUILDER_KERNEL + BUILDER_DYNAMIC + (place >> 2) % 16 * 8;
    else if (place & 4)
        at = BUILDER_NOTES + (place >> 3) % 32 * 4, size = 4;
    else
        at = (place >> 3) % builder.size, size = 1 + (how & 1);
    uint64_t old = 0;
    size = size < builder.size - at ? size : builder.size - at;
    memcpy(&old, builder.file + at, size);
    value = how & 2 ? values[value % 9] : how & 4 ? old + value % 33 - 16 : value;
    memcpy(builder.file + at, &value, size);
}

static void build(struct input *input)
{
    uint64_t kind = take(input, 1);
    unsigned symbols = (unsigned)take(input, 1) % 9, relocations = (unsigned)take(input, 1) % 11;
    unsigned segments = (unsigned)take(input, 1) % 6, spoils = (unsigned)take(input, 1) % 5;

    builder_init(&builder, kind & 1 ? ET_EXEC : ET_DYN, kind >> 1 & 3);
    add_symbols(input, symbols);
    if (!(kind & 1))
        add_relocations(input, relocations);
    add_segments(input, segments);
    for (; spoils; spoils--)
        spoil(input);
}

/* The second reader. */

/* Returns false if there is something wrong with the relocation. */
static bool apply(uint8_t *memory, const struct elf *elf, const Elf64_Rela *rela)
{
    uint32_t type = (uint32_t)rela->r_info;
    uint64_t symbol = rela->r_info >> 32, value = LOAD_AT + (uint64_t)rela->r_addend, old;
    Elf64_Sym entry;

    if (elf->size < 8 || rela->r_offset > elf->size - 8)
        return false;
    if (type != R_X86_64_RELATIVE && type != R_X86_64_64 && type != R_X86_64_GLOB_DAT)
        return false;
    if (type == R_X86_64_GLOB_DAT && rela->r_addend)
        return false;
    if (type != R_X86_64_RELATIVE) {
        __uint128_t at = (__uint128_t)elf->symtab + symbol * sizeof entry;
        if (!elf->symtab || at + sizeof entry > elf->size)
            return false;
        memcpy(&entry, memory + (uint64_t)at, sizeof entry);
        if (entry.st_shndx == SHN_UNDEF && entry.st_info >> 4 == STB_WEAK) {
            memcpy(&old, memory + rela->r_offset, sizeof old);
            return old == 0;
        }
        if (entry.st_shndx == SHN_UNDEF && symbol)
            return false;
        value += entry.st_value;
    }
    memcpy(memory + rela->r_offset, &value, sizeof value);
    return true;
}

static bool load_slowly(uint8_t *memory, const struct elf *elf)
{
    for (size_t i = 0; i < elf->load_count; i++) {
        const struct elf_load *load = &elf->load[i];
        for (uint64_t k = 0; k < load->filesz; k++)
            memory[load->vaddr - elf->start + k] = builder.file[load->offset + k];
    }
    for (uint64_t i = 0; elf->relocatable && i < elf->rela_size / sizeof(Elf64_Rela); i++) {
        Elf64_Rela rela;
        __uint128_t at = (__uint128_t)elf->rela + i * sizeof rela;
        if (at + sizeof rela > elf->size)
            return false;
        memcpy(&rela, memory + (uint64_t)at, sizeof rela);
        if (!apply(memory, elf, &rela))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct uhyve_error error = {0};
    struct input input = {bytes, size};
    struct elf elf;

    build(&input);
    uint8_t *copy = malloc(builder.size); /* for the address sanitizer */
    require(copy != NULL);
    memcpy(copy, builder.file, builder.size);
    struct image image;
    image_from_memory(&image, "fuzz", copy, builder.size);
    if (elf_read(&image, &elf, &error) == 0 && elf.size <= KERNEL_MAX) {
        uint8_t *memory = calloc(1, elf.size), *expected = calloc(1, elf.size);
        require(memory && expected);
        bool good = load_slowly(expected, &elf);
        require((elf_load(&elf, &image, memory, LOAD_AT, &error) == 0) == good);
        require(!good || memcmp(memory, expected, elf.size) == 0);
        free(memory);
        free(expected);
    }
    free(copy);
    return 0;
}
