/*
 * ELF files for tests of what is in their sections: this very program, and one with a single
 * section of the test's own.
 */
#ifndef SECTION_FILE_H
#define SECTION_FILE_H

#include <elf.h>
#include <stdio.h>

#include "unit.h"

extern const char __executable_start[];

/* The file of this program, to be freed. */
static inline uint8_t *own_program(size_t *size)
{
    FILE *file = fopen("/proc/self/exe", "rbe");
    assert_non_null(file);
    uint8_t *image = malloc(64 << 20);
    assert_non_null(image);
    *size = fread(image, 1, 64 << 20, file);
    fclose(file);
    return image;
}

/* A file with a section of this name and size, all zeros, which is at *section. To be freed. */
static inline uint8_t *file_with_section(const char *name, size_t size, uint8_t **section,
                                         size_t *file_size)
{
    const Elf64_Ehdr header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB},
                               .e_shoff = sizeof header,
                               .e_shentsize = sizeof(Elf64_Shdr),
                               .e_shnum = 2};
    const size_t names_at = 1024, section_at = 2048;
    /* The names begin with the empty one. */
    const Elf64_Shdr sections[] = {{.sh_offset = names_at, .sh_size = strlen(name) + 2},
                                   {.sh_name = 1, .sh_offset = section_at, .sh_size = size}};
    uint8_t *file = calloc(1, section_at + size);

    assert_non_null(file);
    memcpy(file, &header, sizeof header);
    memcpy(file + sizeof header, sections, sizeof sections);
    strcpy((char *)file + names_at + 1, name);
    *section = file + section_at;
    *file_size = section_at + size;
    return file;
}

#endif
