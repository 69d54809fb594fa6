/*
 * Notes of a Hermit kernel (spec/boot.md section 1.3). Works on a copy of the note segment.
 */
#ifndef IMAGE_ELF_NOTE_H
#define IMAGE_ELF_NOTE_H

#include "image/elf.h"

struct elf_notes {
    bool has_entry_version;
    bool has_interface;
    unsigned entry_version;
    unsigned interface;
    struct elf_version version;
};

/*
 * Add what `size` bytes of notes say; of each kind the first note counts. `align` is the segment's
 * p_align. Malformed records end the scan.
 */
void elf_notes_scan(struct elf_notes *notes, const uint8_t *data, size_t size, uint64_t align);

#endif
