#include "image/elf_note.h"

#include <elf.h>
#include <endian.h>
#include <string.h>

#include "hermit/note.h"
#include "util/checked.h"

static bool is_named(const uint8_t *name, uint32_t size, const char *wanted)
{
    /* namesz counts the terminator; a writer that leaves it out is understood as well. */
    size_t length = strlen(wanted);
    return (size == length || (size == length + 1 && name[length] == '\0')) &&
           memcmp(name, wanted, length) == 0;
}

static void take_note(struct elf_notes *notes, const Elf64_Nhdr *header, const uint8_t *name,
                      const uint8_t *desc)
{
    uint32_t words[4];

    if (is_named(name, header->n_namesz, HERMIT_NOTE_ENTRY_NAME) &&
        header->n_type == HERMIT_NOTE_ENTRY_TYPE && header->n_descsz >= 1) {
        if (!notes->has_entry_version)
            notes->entry_version = desc[0];
        notes->has_entry_version = true;
    } else if (is_named(name, header->n_namesz, HERMIT_NOTE_ABI_NAME) &&
               header->n_type == HERMIT_NOTE_ABI_TYPE && header->n_descsz == sizeof words) {
        memcpy(words, desc, sizeof words);
        if (!notes->version.known && words[0] == HERMIT_ABI_OS)
            notes->version = (struct elf_version){true, words[1], words[2], words[3]};
    } else if (is_named(name, header->n_namesz, HERMIT_NOTE_INTERFACE_NAME) &&
               header->n_type == HERMIT_NOTE_INTERFACE_TYPE && header->n_descsz == 4) {
        memcpy(words, desc, 4);
        if (!notes->has_interface)
            notes->interface = be32toh(words[0]);
        notes->has_interface = true;
    }
}

void elf_notes_scan(struct elf_notes *notes, const uint8_t *data, size_t size, uint64_t align)
{
    Elf64_Nhdr header;
    uint64_t padding = align == 8 ? 8 : 4;
    uint64_t offset = 0;

    while (range_inside(offset, sizeof header, size)) {
        memcpy(&header, data + offset, sizeof header);
        uint64_t name = offset + sizeof header, desc, next;
        /* 32-bit lengths added to offsets within a small buffer: no overflow in 64 bits. */
        checked_align_up(name + header.n_namesz, padding, &desc);
        checked_align_up(desc + header.n_descsz, padding, &next);
        if (!range_inside(desc, header.n_descsz, size))
            return;
        if (header.n_namesz)
            take_note(notes, &header, data + name, data + desc);
        offset = next;
    }
}
