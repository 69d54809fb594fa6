#include "image/symbols.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"

/* How far symbols_find looks back for a function that contains others. */
#define NESTING_MAX 16

struct file {
    const uint8_t *data;
    size_t size;
    Elf64_Ehdr header;
    uint64_t section_count;
};

/* Copy out of the file, where nothing need be aligned. */
static bool file_copy(const struct file *file, uint64_t offset, void *to, size_t size)
{
    if (!range_inside(offset, size, file->size))
        return false;
    memcpy(to, file->data + offset, size);
    return true;
}

static bool file_section(const struct file *file, uint64_t index, Elf64_Shdr *section)
{
    /* Both terms are at most the size of the file. */
    return index < file->section_count && file->header.e_shentsize == sizeof *section &&
           file->header.e_shoff <= file->size &&
           file_copy(file, file->header.e_shoff + index * sizeof *section, section,
                     sizeof *section);
}

static int file_open(struct file *file, const void *data, size_t size)
{
    *file = (struct file){.data = data, .size = size};
    const Elf64_Ehdr *header = &file->header;
    if (!file_copy(file, 0, &file->header, sizeof file->header) ||
        memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_ident[EI_DATA] != ELFDATA2LSB)
        return -ENOEXEC;
    file->section_count = header->e_shnum;
    if (!header->e_shnum && header->e_shoff) { /* too many for the field: see section 0 */
        Elf64_Shdr first;
        file->section_count = 1;
        file->section_count = file_section(file, 0, &first) ? first.sh_size : 0;
    }
    if (file->section_count > size / sizeof(Elf64_Shdr))
        file->section_count = size / sizeof(Elf64_Shdr);
    return 0;
}

static void read_ranges(struct symbols *symbols, const struct file *file)
{
    Elf64_Phdr segment;
    if (file->header.e_phentsize != sizeof segment || file->header.e_phoff > file->size)
        return;
    for (unsigned i = 0; i < file->header.e_phnum; i++) {
        uint64_t end;
        if (!file_copy(file, file->header.e_phoff + i * sizeof segment, &segment, sizeof segment) ||
            symbols->range_count == SYMBOLS_MAX_RANGES)
            return;
        if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) &&
            !checked_add(segment.p_vaddr, segment.p_memsz, &end))
            symbols->executable[symbols->range_count++] = (struct symbol_range){segment.p_vaddr,
                                                                                end};
    }
}

static const struct symbol_range *range_of(const struct symbols *symbols, uint64_t address)
{
    for (size_t i = 0; i < symbols->range_count; i++)
        if (address >= symbols->executable[i].start && address < symbols->executable[i].end)
            return &symbols->executable[i];
    return NULL;
}

/* A symbol table and its strings, both checked to lie in the file. */
struct table {
    uint64_t offset, count;
    uint64_t names_offset, names_size;
};

static bool find_table(const struct file *file, uint32_t type, struct table *table)
{
    Elf64_Shdr section, names;
    for (uint64_t i = 0; file_section(file, i, &section); i++) {
        if (section.sh_type != type)
            continue;
        if (section.sh_entsize != sizeof(Elf64_Sym) ||
            !range_inside(section.sh_offset, section.sh_size, file->size) ||
            !file_section(file, section.sh_link, &names) || names.sh_type != SHT_STRTAB ||
            !range_inside(names.sh_offset, names.sh_size, file->size) || names.sh_size > UINT32_MAX)
            return false;
        *table = (struct table){section.sh_offset, section.sh_size / sizeof(Elf64_Sym),
                                names.sh_offset, names.sh_size};
        return true;
    }
    return false;
}

/*
 * Functions count, and so do global labels without a type, as assembler sources have them; local
 * ones mark loops and the like.
 */
static bool make_symbol(const struct symbols *symbols, const struct table *table,
                        const Elf64_Sym *entry, struct symbol *symbol)
{
    unsigned type = ELF64_ST_TYPE(entry->st_info);
    bool function = type == STT_FUNC || type == STT_GNU_IFUNC;
    const struct symbol_range *range = range_of(symbols, entry->st_value);
    bool global = ELF64_ST_BIND(entry->st_info) != STB_LOCAL;
    if ((!function && !(type == STT_NOTYPE && global)) || entry->st_shndx == SHN_UNDEF || !range ||
        entry->st_name >= table->names_size || !symbols->names[entry->st_name])
        return false;
    uint64_t room = range->end - entry->st_value;
    *symbol = (struct symbol){
        .address = entry->st_value,
        .size = entry->st_size < room ? entry->st_size : room,
        .name = entry->st_name,
        .rank = (function ? 4U : 0U) | (entry->st_size ? 2U : 0U) | (global ? 1U : 0U),
    };
    return true;
}

static int compare_symbols(const void *left, const void *right)
{
    const struct symbol *a = left, *b = right;
    if (a->address != b->address)
        return a->address < b->address ? -1 : 1;
    if (a->rank != b->rank)
        return a->rank > b->rank ? -1 : 1;
    return (a->name > b->name) - (a->name < b->name);
}

/* Copy the strings, terminated and printable. */
static char *copy_names(const struct file *file, const struct table *table)
{
    char *names = malloc(table->names_size + 1);
    if (!names)
        return NULL;
    file_copy(file, table->names_offset, names, table->names_size);
    for (char *c = names; c < names + table->names_size; c++)
        if (*c && (*c < ' ' || *c > '~'))
            *c = '?';
    names[table->names_size] = '\0';
    return names;
}

static void sort_functions(struct symbols *symbols)
{
    if (!symbols->count)
        return;
    qsort(symbols->functions, symbols->count, sizeof *symbols->functions, compare_symbols);
    size_t kept = 1;
    for (size_t i = 1; i < symbols->count; i++)
        if (symbols->functions[i].address != symbols->functions[kept - 1].address)
            symbols->functions[kept++] = symbols->functions[i];
    symbols->count = kept;
}

static int read_table(struct symbols *symbols, const struct file *file, const struct table *table)
{
    size_t capacity = table->count < SYMBOLS_MAX ? table->count : SYMBOLS_MAX;
    symbols->names = copy_names(file, table);
    symbols->functions = calloc(capacity ? capacity : 1, sizeof *symbols->functions);
    if (!symbols->names || !symbols->functions)
        return -ENOMEM;
    for (uint64_t i = 0; i < table->count && symbols->count < capacity; i++) {
        Elf64_Sym entry;
        if (file_copy(file, table->offset + i * sizeof entry, &entry, sizeof entry) &&
            make_symbol(symbols, table, &entry, &symbols->functions[symbols->count]))
            symbols->count++;
    }
    sort_functions(symbols);
    return 0;
}

int symbols_read(struct symbols *symbols, const void *data, size_t size)
{
    static const uint32_t types[] = {SHT_SYMTAB, SHT_DYNSYM};
    struct file file;
    *symbols = (struct symbols){0};
    int err = file_open(&file, data, size);
    if (err)
        return err;
    read_ranges(symbols, &file);
    for (size_t i = 0; i < 2 && !symbols->count; i++) {
        struct table table;
        if (!find_table(&file, types[i], &table))
            continue;
        free(symbols->names);
        free(symbols->functions);
        err = read_table(symbols, &file, &table);
        if (err) {
            symbols_free(symbols);
            return err;
        }
    }
    return 0;
}

void symbols_free(struct symbols *symbols)
{
    free(symbols->functions);
    free(symbols->names);
    *symbols = (struct symbols){0};
}

bool symbols_is_executable(const struct symbols *symbols, uint64_t address)
{
    return range_of(symbols, address) != NULL;
}

const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *offset)
{
    const struct symbol_range *range = range_of(symbols, address);
    size_t low = 0, high = symbols->count; /* the last function at or before the address */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (symbols->functions[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t back = 0; range && back < NESTING_MAX && back < low; back++) {
        const struct symbol *function = &symbols->functions[low - 1 - back];
        bool open_end = !function->size && !back && function->address >= range->start;
        if (open_end || address - function->address < function->size) {
            *offset = address - function->address;
            return symbols->names + function->name;
        }
    }
    return NULL;
}
