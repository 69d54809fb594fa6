/*
 * Scanning a note segment stays within the segment.
 *
 * prove: padded is_named take_note elf_notes_scan
 * follow: main
 * within: any bytes of up to 2 GiB, any alignment
 * assumed: the segment is as large as the caller says
 */
#include "image.h"

#include <endian.h>

//@ assigns \result \from value;
uint32_t prove_swap(uint32_t value);
#undef be32toh
#define be32toh(value) prove_swap(value)

#include "image/elf_note.c"

/* These know how large things are; main() below is their proof. */
/*@ requires \valid_read(data + (offset .. offset + 11));
    assigns \result \from data[offset .. offset + 11]; */
static Elf64_Nhdr read_header(const uint8_t *data, uint64_t offset);

/*@ requires index <= 3 && \valid_read(data + (4 * index .. 4 * index + 3));
    assigns \result \from data[4 * index .. 4 * index + 3]; */
static uint32_t read_word(const uint8_t *data, size_t index);

/*@ requires offset <= 0x300000000;
    assigns \result \from offset, align;
    ensures offset <= \result <= offset + 7; */
static uint64_t padded(uint64_t offset, uint64_t align);

/*@ requires \valid_read(name + (0 .. size - 1));
    requires 1 <= length && \valid_read(wanted + (0 .. length - 1));
    assigns \result \from name[0 .. size - 1], wanted[0 .. length - 1], size, length; */
static bool is_named(const uint8_t *name, uint32_t size, const char *wanted, uint32_t length);

/*@ requires \valid(notes) && \valid_read(header);
    requires \valid_read(name + (0 .. header->n_namesz - 1));
    requires \valid_read(desc + (0 .. header->n_descsz - 1));
    requires \separated(notes, header, name + (0 .. header->n_namesz - 1),
                        desc + (0 .. header->n_descsz - 1));
    assigns *notes \from *notes, *header, name[0 .. header->n_namesz - 1],
            desc[0 .. header->n_descsz - 1]; */
static void take_note(struct elf_notes *notes, const Elf64_Nhdr *header, const uint8_t *name,
                      const uint8_t *desc);

int main(void)
{
    static uint8_t data[64];
    uint64_t offset = any_u64();

    if (offset <= sizeof data - 12)
        read_header(data, offset);
    if (offset <= 3)
        read_word(data + sizeof data - 16, offset);
    return 0;
}
