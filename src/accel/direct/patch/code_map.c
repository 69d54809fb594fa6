#include "accel/direct/patch/code_map.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"

struct reader {
    const uint8_t *file;
    size_t file_size;
    uint64_t start, size, address;
    Elf64_Ehdr header;
    struct code_map *map;
};

/* Copy out of the file, where nothing need be aligned. */
static bool copy(const struct reader *reader, uint64_t offset, void *to, size_t size)
{
    if (!range_inside(offset, size, reader->file_size))
        return false;
    memcpy(to, reader->file + offset, size);
    return true;
}

/* The index-th element of a table. `index` is at most 65535, so nothing overflows but the sum. */
static bool copy_element(const struct reader *reader, uint64_t table, size_t index, void *to,
                         size_t size)
{
    uint64_t offset;
    return !checked_add(table, index * size, &offset) && copy(reader, offset, to, size);
}

/* Ranges come in any order in the file. Those that overlap an earlier one are dropped. */
static bool add_range(const struct reader *reader, uint64_t vaddr, uint64_t size)
{
    struct code_map *map = reader->map;
    uint64_t offset = vaddr - reader->start;
    if (size == 0 || !range_inside(offset, size, reader->size))
        return true;
    size_t at = 0;
    while (at < map->range_count && map->ranges[at].offset < offset)
        at++;
    if ((at > 0 && map->ranges[at - 1].offset + map->ranges[at - 1].size > offset) ||
        (at < map->range_count && map->ranges[at].offset < offset + size))
        return true;
    if (map->range_count == CODE_MAP_RANGES)
        return false;
    memmove(&map->ranges[at + 1], &map->ranges[at],
            (map->range_count - at) * sizeof map->ranges[0]);
    map->ranges[at] = (struct plan_range){offset, size};
    map->range_count++;
    return true;
}

/* False if there are no sections of code, or too many. */
static bool read_sections(const struct reader *reader)
{
    Elf64_Shdr section;
    if (reader->header.e_shentsize != sizeof section)
        return false;
    for (size_t i = 0; i < reader->header.e_shnum; i++) {
        if (!copy_element(reader, reader->header.e_shoff, i, &section, sizeof section))
            return false;
        if (section.sh_type == SHT_PROGBITS && (section.sh_flags & SHF_ALLOC) &&
            (section.sh_flags & SHF_EXECINSTR) &&
            !add_range(reader, section.sh_addr, section.sh_size))
            return false;
    }
    return reader->map->range_count > 0;
}

static void read_segments(const struct reader *reader)
{
    Elf64_Phdr segment;
    reader->map->range_count = 0;
    if (reader->header.e_phentsize != sizeof segment)
        return;
    for (size_t i = 0; i < reader->header.e_phnum; i++) {
        if (!copy_element(reader, reader->header.e_phoff, i, &segment, sizeof segment))
            return;
        if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) &&
            !add_range(reader, segment.p_vaddr, segment.p_filesz))
            return;
    }
}

static bool is_code(const struct code_map *map, uint64_t offset)
{
    for (size_t i = 0; i < map->range_count; i++)
        if (offset - map->ranges[i].offset < map->ranges[i].size)
            return true;
    return false;
}

/*
 * Functions, global labels of assembler sources, and data with a size. Local labels may be
 * anywhere, also inside an instruction behind its prefix.
 */
static bool is_anchor(const Elf64_Sym *symbol, bool *code)
{
    unsigned type = ELF64_ST_TYPE(symbol->st_info);
    *code = type != STT_OBJECT;
    if (symbol->st_shndx == SHN_UNDEF)
        return false;
    return type == STT_FUNC || type == STT_GNU_IFUNC || (type == STT_OBJECT && symbol->st_size) ||
           (type == STT_NOTYPE && ELF64_ST_BIND(symbol->st_info) != STB_LOCAL);
}

static int compare(const void *left, const void *right)
{
    const struct sweep_symbol *a = left, *b = right;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    return b->code - a->code;
}

static int read_symbols(const struct reader *reader, const Elf64_Shdr *table)
{
    struct code_map *map = reader->map;
    size_t count = table->sh_size / sizeof(Elf64_Sym);
    map->symbols = calloc(count ? count : 1, sizeof *map->symbols);
    if (!map->symbols)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        Elf64_Sym symbol;
        bool code;
        memcpy(&symbol, reader->file + table->sh_offset + i * sizeof symbol, sizeof symbol);
        uint64_t offset = symbol.st_value - reader->start;
        if (is_anchor(&symbol, &code) && is_code(map, offset))
            map->symbols[map->symbol_count++] = (struct sweep_symbol){reader->address + offset,
                                                                      symbol.st_size, code};
    }
    qsort(map->symbols, map->symbol_count, sizeof *map->symbols, compare);
    return 0;
}

static int find_symbols(const struct reader *reader)
{
    Elf64_Shdr section;
    if (reader->header.e_shentsize != sizeof section)
        return 0;
    for (size_t i = 0; i < reader->header.e_shnum; i++) {
        if (!copy_element(reader, reader->header.e_shoff, i, &section, sizeof section))
            return 0;
        if (section.sh_type == SHT_SYMTAB && section.sh_entsize == sizeof(Elf64_Sym) &&
            range_inside(section.sh_offset, section.sh_size, reader->file_size))
            return read_symbols(reader, &section);
    }
    return 0;
}

int code_map_read(struct code_map *map, const void *file, size_t file_size, uint64_t start,
                  uint64_t size, uint64_t address)
{
    *map = (struct code_map){0};
    struct reader reader = {.file = file,
                            .file_size = file_size,
                            .start = start,
                            .size = size,
                            .address = address,
                            .map = map};
    const uint8_t *ident = reader.header.e_ident;
    if (!copy(&reader, 0, &reader.header, sizeof reader.header) ||
        memcmp(ident, ELFMAG, SELFMAG) != 0 || ident[EI_CLASS] != ELFCLASS64 ||
        ident[EI_DATA] != ELFDATA2LSB)
        return -ENOEXEC;
    if (!read_sections(&reader))
        read_segments(&reader);
    return find_symbols(&reader);
}

void code_map_free(struct code_map *map)
{
    free(map->symbols);
    *map = (struct code_map){0};
}
