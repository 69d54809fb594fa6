/*
 * What the proofs about ELF files share: reading from a file that may contain anything.
 */
#ifndef PROVE_IMAGE_H
#define PROVE_IMAGE_H

#include "access.h"

#include "image/elf.h"
#include "image/elf_note.h"

/* Messages are not proved; the compiler checks their formats. */
#define error_set(error, status, err, ...) prove_error(err)
/*@ requires err > 0;
    assigns \result \from err;
    ensures \result < 0; */
int prove_error(int err);

//@ predicate segments(struct elf *elf) = elf->load_count <= ELF_MAX_LOADS;

/*@ requires \valid_read(image);
    requires \valid((uint8_t *)to + (0 .. size - 1));
    assigns ((uint8_t *)to)[0 .. size - 1], \result \from *image, offset, size;
    ensures \result <= 0; */
int image_read(const struct image *image, uint64_t offset, void *to, uint64_t size,
               const char *what, struct uhyve_error *error);

/*@ requires \valid(notes) && size <= 0x7fffffff && \valid_read(data + (0 .. size - 1));
    requires \separated(notes, data + (0 .. size - 1));
    assigns *notes \from *notes, data[0 .. size - 1], align; */
void elf_notes_scan(struct elf_notes *notes, const uint8_t *data, size_t size, uint64_t align);

#endif
