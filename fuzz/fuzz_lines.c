/* The line table of an image; the input is the section, put into a small ELF file. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "image/lines.h"

static const char names[] = "\0.debug_line\0.debug_str\0.debug_line_str";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Elf64_Ehdr elf = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
                      .e_shentsize = sizeof(Elf64_Shdr),
                      .e_shoff = sizeof elf,
                      .e_shnum = 4};
    const size_t at = sizeof elf + 4 * sizeof(Elf64_Shdr);
    const Elf64_Shdr sections[] = {
        {.sh_type = SHT_STRTAB, .sh_offset = at, .sh_size = sizeof names},
        {.sh_name = 1, .sh_type = SHT_PROGBITS, .sh_offset = at + sizeof names, .sh_size = size},
        {.sh_name = 13, .sh_type = SHT_PROGBITS, .sh_offset = at, .sh_size = sizeof names},
        {.sh_name = 24, .sh_type = SHT_PROGBITS, .sh_offset = at, .sh_size = sizeof names},
    };
    struct line_place places[] = {{.address = 1}, {.address = 0x1000}, {.address = 0x401136}};
    uint8_t *file = malloc(at + sizeof names + size);

    memcpy(file, &elf, sizeof elf);
    memcpy(file + sizeof elf, sections, sizeof sections);
    memcpy(file + at, names, sizeof names);
    if (size)
        memcpy(file + at + sizeof names, data, size);
    lines_find(file, at + sizeof names + size, places, 3);
    for (size_t i = 0; i < 3; i++)
        if (places[i].line && strlen(places[i].file) >= LINES_FILE)
            abort();
    free(file);
    return 0;
}
