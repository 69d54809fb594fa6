#include "accel/direct/patch/code_map.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"

struct reader {
    const struct code_map_file *file;
    uint64_t start, size, address;
    Elf64_Ehdr header;
    void *table; /* of section headers, then of segments */
    struct code_map *map;
    int error; /* of reading, or of memory */
};

static bool copy(struct reader *reader, uint64_t offset, void *to, size_t size)
{
    if (!range_inside(offset, size, reader->file->size))
        return false;
    int err = reader->file->read(reader->file->context, offset, to, size);
    reader->error = err ? err : reader->error;
    return err == 0;
}

/* `count` elements of a table in the file, in reader->table. False if there is none like that. */
static bool copy_table(struct reader *reader, uint64_t offset, size_t count, size_t element,
                       size_t element_expected)
{
    free(reader->table);
    reader->table = NULL;
    if (!count || element != element_expected ||
        !range_inside(offset, count * element, reader->file->size))
        return false;
    reader->table = malloc(count * element);
    if (!reader->table)
        reader->error = -ENOMEM;
    return reader->table && copy(reader, offset, reader->table, count * element);
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

static bool copy_sections(struct reader *reader)
{
    return copy_table(reader, reader->header.e_shoff, reader->header.e_shnum,
                      reader->header.e_shentsize, sizeof(Elf64_Shdr));
}

/* False if there are no sections of code, or too many. */
static bool read_sections(struct reader *reader)
{
    if (!copy_sections(reader))
        return false;
    const Elf64_Shdr *sections = reader->table;
    for (size_t i = 0; i < reader->header.e_shnum; i++) {
        const Elf64_Shdr *section = &sections[i];
        if (section->sh_type == SHT_PROGBITS && (section->sh_flags & SHF_ALLOC) &&
            (section->sh_flags & SHF_EXECINSTR) &&
            !add_range(reader, section->sh_addr, section->sh_size))
            return false;
    }
    return reader->map->range_count > 0;
}

static void read_segments(struct reader *reader)
{
    reader->map->range_count = 0;
    if (!copy_table(reader, reader->header.e_phoff, reader->header.e_phnum,
                    reader->header.e_phentsize, sizeof(Elf64_Phdr)))
        return;
    const Elf64_Phdr *segments = reader->table;
    for (size_t i = 0; i < reader->header.e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && (segments[i].p_flags & PF_X) &&
            !add_range(reader, segments[i].p_vaddr, segments[i].p_filesz))
            return;
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

static int read_symbols(struct reader *reader, uint64_t offset, size_t count)
{
    struct code_map *map = reader->map;
    Elf64_Sym *table = malloc(count * sizeof *table);
    map->symbols = calloc(count, sizeof *map->symbols);
    if (!table || !map->symbols) {
        free(table);
        return -ENOMEM;
    }
    if (!copy(reader, offset, table, count * sizeof *table))
        count = 0;
    for (size_t i = 0; i < count; i++) {
        bool code;
        uint64_t at = table[i].st_value - reader->start;
        if (is_anchor(&table[i], &code) && is_code(map, at))
            map->symbols[map->symbol_count++] = (struct sweep_symbol){reader->address + at,
                                                                      table[i].st_size, code};
    }
    free(table);
    qsort(map->symbols, map->symbol_count, sizeof *map->symbols, compare);
    return 0;
}

static int find_symbols(struct reader *reader)
{
    if (!copy_sections(reader))
        return 0;
    const Elf64_Shdr *sections = reader->table;
    for (size_t i = 0; i < reader->header.e_shnum; i++) {
        const Elf64_Shdr *section = &sections[i];
        size_t count = section->sh_size / sizeof(Elf64_Sym);
        if (section->sh_type == SHT_SYMTAB && section->sh_entsize == sizeof(Elf64_Sym) && count &&
            range_inside(section->sh_offset, section->sh_size, reader->file->size))
            return read_symbols(reader, section->sh_offset, count);
    }
    return 0;
}

int code_map_read(struct code_map *map, const struct code_map_file *file, uint64_t start,
                  uint64_t size, uint64_t address)
{
    *map = (struct code_map){0};
    struct reader reader = {
        .file = file, .start = start, .size = size, .address = address, .map = map};
    const uint8_t *ident = reader.header.e_ident;
    if (!copy(&reader, 0, &reader.header, sizeof reader.header) ||
        memcmp(ident, ELFMAG, SELFMAG) != 0 || ident[EI_CLASS] != ELFCLASS64 ||
        ident[EI_DATA] != ELFDATA2LSB)
        return reader.error ? reader.error : -ENOEXEC;
    if (!read_sections(&reader))
        read_segments(&reader);
    int error = find_symbols(&reader);
    free(reader.table);
    return reader.error ? reader.error : error;
}

void code_map_free(struct code_map *map)
{
    free(map->symbols);
    *map = (struct code_map){0};
}
