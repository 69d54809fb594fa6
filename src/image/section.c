#include "image/section.h"

#include <elf.h>
#include <string.h>

#include "util/checked.h"

/* The table's first entry, and the contents of the section with the names. */
static bool open_table(const uint8_t *data, size_t size, Elf64_Ehdr *elf, Elf64_Shdr *names)
{
    if (size < sizeof *elf)
        return false;
    memcpy(elf, data, sizeof *elf);
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) != 0 || elf->e_ident[EI_CLASS] != ELFCLASS64 ||
        elf->e_ident[EI_DATA] != ELFDATA2LSB || elf->e_shentsize != sizeof *names ||
        elf->e_shstrndx >= elf->e_shnum ||
        !range_inside(elf->e_shoff, (uint64_t)elf->e_shnum * sizeof *names, size))
        return false;
    memcpy(names, data + elf->e_shoff + elf->e_shstrndx * sizeof *names, sizeof *names);
    return names->sh_type != SHT_NOBITS && range_inside(names->sh_offset, names->sh_size, size);
}

struct image_section section_find(const void *image, size_t size, const char *name)
{
    const uint8_t *data = image;
    size_t name_size = strlen(name) + 1;
    Elf64_Ehdr elf;
    Elf64_Shdr names, header;

    if (!open_table(data, size, &elf, &names))
        return (struct image_section){0};
    for (unsigned i = 0; i < elf.e_shnum; i++) {
        memcpy(&header, data + elf.e_shoff + i * sizeof header, sizeof header);
        if (!range_inside(header.sh_name, name_size, names.sh_size) ||
            memcmp(data + names.sh_offset + header.sh_name, name, name_size) != 0)
            continue;
        if (header.sh_type == SHT_NOBITS || header.sh_flags & SHF_COMPRESSED ||
            !range_inside(header.sh_offset, header.sh_size, size))
            break;
        return (struct image_section){data + header.sh_offset, (size_t)header.sh_size,
                                      header.sh_addr};
    }
    return (struct image_section){0};
}
