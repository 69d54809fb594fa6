/*
 * Copying the segments and applying the relocations (spec/boot.md sections 1.4 and 1.6).
 *
 * Relocations are read from the loaded image, not from the file: the table lies in a loaded
 * segment, and the guest does not run yet. A hostile table can at worst rewrite itself, which only
 * spoils the guest's own memory.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "image/elf.h"
#include "util/checked.h"
#include "util/error.h"

struct loaded {
    const struct elf *elf;
    const struct image *image;
    uint8_t *data;
    uint64_t address;
};

static int bad_relocation(const struct loaded *loaded, uint64_t index, const char *what,
                          struct uhyve_error *error)
{
    return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                     "image '%s' cannot be booted: relocation %llu %s (the file is corrupt or was "
                     "linked for another system)",
                     loaded->image->path, (unsigned long long)index, what);
}

static Elf64_Rela read_relocation(const struct loaded *loaded, uint64_t offset)
{
    Elf64_Rela rela;

    memcpy(&rela, loaded->data + offset, sizeof rela);
    return rela;
}

static Elf64_Sym read_symbol(const struct loaded *loaded, uint64_t offset)
{
    Elf64_Sym symbol;

    memcpy(&symbol, loaded->data + offset, sizeof symbol);
    return symbol;
}

static void write_word(const struct loaded *loaded, uint64_t offset, uint64_t value)
{
    memcpy(loaded->data + offset, &value, sizeof value);
}

/* Value of a symbol for ABS64 and GLOB_DAT. *undefined is set for a weak symbol without definition.
 */
static int symbol_value(const struct loaded *loaded, uint64_t index, uint32_t symbol,
                        uint64_t *value, bool *undefined, struct uhyve_error *error)
{
    Elf64_Sym entry;
    uint64_t offset;

    if (!loaded->elf->symtab ||
        checked_add(loaded->elf->symtab, (uint64_t)symbol * sizeof entry, &offset) ||
        !range_inside(offset, sizeof entry, loaded->elf->size))
        return bad_relocation(loaded, index, "names a symbol that does not exist", error);
    entry = read_symbol(loaded, offset);
    *undefined = entry.st_shndx == SHN_UNDEF && ELF64_ST_BIND(entry.st_info) == STB_WEAK;
    if (entry.st_shndx == SHN_UNDEF && !*undefined && symbol != 0)
        return bad_relocation(loaded, index, "names an undefined symbol", error);
    *value = entry.st_value;
    return 0;
}

static int relocate_one(const struct loaded *loaded, uint64_t index, const Elf64_Rela *rela,
                        struct uhyve_error *error)
{
    uint64_t offset = rela->r_offset, value = 0;
    uint32_t type = ELF64_R_TYPE(rela->r_info);
    bool undefined = false;

    if (!range_inside(offset, sizeof value, loaded->elf->size))
        return bad_relocation(loaded, index, "points outside the kernel", error);
    if (type != R_X86_64_RELATIVE) {
        if (type != R_X86_64_GLOB_DAT && type != R_X86_64_64)
            return bad_relocation(loaded, index, "has a type that Hermit kernels do not use",
                                  error);
        if (type == R_X86_64_GLOB_DAT && rela->r_addend != 0)
            return bad_relocation(loaded, index, "has an addend where none is allowed", error);
        int err = symbol_value(loaded, index, ELF64_R_SYM(rela->r_info), &value, &undefined, error);
        if (err)
            return err;
    }
    if (undefined) {
        static const uint8_t zero[sizeof value];
        if (memcmp(loaded->data + offset, zero, sizeof zero) != 0)
            return bad_relocation(loaded, index, "is for an undefined weak symbol, but not zero",
                                  error);
        return 0;
    }
    value += loaded->address + (uint64_t)rela->r_addend; /* wraps, as specified */
    write_word(loaded, offset, value);
    return 0;
}

static int relocate(const struct loaded *loaded, struct uhyve_error *error)
{
    const struct elf *elf = loaded->elf;

    if (elf->rela_size && !range_inside(elf->rela, elf->rela_size, elf->size))
        return bad_relocation(loaded, 0, "cannot be read: the table is outside the kernel", error);
    uint64_t count = elf->rela_size / sizeof(Elf64_Rela);
    //@ loop assigns i, loaded->data[0 .. elf->size - 1]; loop variant count - i;
    for (uint64_t i = 0; i < count; i++) {
        Elf64_Rela rela = read_relocation(loaded, elf->rela + i * sizeof rela);
        int err = relocate_one(loaded, i, &rela, error);
        if (err)
            return err;
    }
    return 0;
}

int elf_load(const struct elf *elf, const struct image *image, uint8_t *to, uint64_t address,
             struct uhyve_error *error)
{
    //@ loop assigns i, to[0 .. elf->size - 1]; loop variant elf->load_count - i;
    for (size_t i = 0; i < elf->load_count; i++) {
        const struct elf_load *load = &elf->load[i];
        uint64_t at;
        /* elf_read has made sure of it; checked here, this can be proved without. */
        if (checked_sub(load->vaddr, elf->start, &at) || !range_inside(at, load->filesz, elf->size))
            return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                             "image '%s' cannot be booted: a segment is outside the kernel (the "
                             "file is corrupt, build or copy it again)",
                             image->path);
        int err = image_read(image, load->offset, to + at, load->filesz, "segments", error);
        if (err)
            return err;
    }
    if (!elf->relocatable)
        return 0;
    struct loaded loaded = {elf, image, to, address};
    return relocate(&loaded, error);
}
