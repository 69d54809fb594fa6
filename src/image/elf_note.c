#include "image/elf_note.h"

#include <elf.h>
#include <endian.h>
#include <string.h>

#include "hermit/note.h"
#include "util/checked.h"

static Elf64_Nhdr read_header(const uint8_t *data, uint64_t offset)
{
    Elf64_Nhdr header;

    memcpy(&header, data + offset, sizeof header);
    return header;
}

static uint32_t read_word(const uint8_t *data, size_t index)
{
    uint32_t word;

    memcpy(&word, data + index * sizeof word, sizeof word);
    return word;
}

/* Where something begins that follows `offset`: a small value. */
static uint64_t padded(uint64_t offset, uint64_t align)
{
    return align == 8 ? (offset + 7) / 8 * 8 : (offset + 3) / 4 * 4;
}

/* `wanted` has `length` bytes with its terminator, which namesz counts; a writer that leaves it out
 * is understood as well. */
static bool is_named(const uint8_t *name, uint32_t size, const char *wanted, uint32_t length)
{
    return (size == length - 1 || (size == length && name[length - 1] == '\0')) &&
           memcmp(name, wanted, length - 1) == 0;
}

static void take_note(struct elf_notes *notes, const Elf64_Nhdr *header, const uint8_t *name,
                      const uint8_t *desc)
{
    if (is_named(name, header->n_namesz, HERMIT_NOTE_ENTRY_NAME, sizeof HERMIT_NOTE_ENTRY_NAME) &&
        header->n_type == HERMIT_NOTE_ENTRY_TYPE && header->n_descsz >= 1) {
        if (!notes->has_entry_version)
            notes->entry_version = desc[0];
        notes->has_entry_version = true;
    } else if (is_named(name, header->n_namesz, HERMIT_NOTE_ABI_NAME,
                        sizeof HERMIT_NOTE_ABI_NAME) &&
               header->n_type == HERMIT_NOTE_ABI_TYPE && header->n_descsz == 16) {
        if (!notes->version.known && read_word(desc, 0) == HERMIT_ABI_OS)
            notes->version = (struct elf_version){true, read_word(desc, 1), read_word(desc, 2),
                                                  read_word(desc, 3)};
    } else if (is_named(name, header->n_namesz, HERMIT_NOTE_INTERFACE_NAME,
                        sizeof HERMIT_NOTE_INTERFACE_NAME) &&
               header->n_type == HERMIT_NOTE_INTERFACE_TYPE && header->n_descsz == 4) {
        if (!notes->has_interface)
            notes->interface = be32toh(read_word(desc, 0));
        notes->has_interface = true;
    }
}

void elf_notes_scan(struct elf_notes *notes, const uint8_t *data, size_t size, uint64_t align)
{
    uint64_t offset = 0;

    /*@ loop invariant offset <= 0x300000000;
        loop assigns offset, *notes;
        loop variant size - offset; */
    while (range_inside(offset, sizeof(Elf64_Nhdr), size)) {
        Elf64_Nhdr header = read_header(data, offset);
        /* 32-bit lengths added to offsets within a small buffer: no overflow in 64 bits. */
        uint64_t name = offset + sizeof header;
        uint64_t desc = padded(name + header.n_namesz, align);
        if (!range_inside(name, header.n_namesz, size) ||
            !range_inside(desc, header.n_descsz, size))
            return;
        if (header.n_namesz)
            take_note(notes, &header, data + name, data + desc);
        offset = padded(desc + header.n_descsz, align);
    }
}
