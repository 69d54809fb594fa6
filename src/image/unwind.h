/*
 * Unwind tables of an ELF image, .eh_frame and .debug_frame: who called a function, without frame
 * pointers (DWARF 5, section 6.4; the .eh_frame variant: Linux Standard Base core specification,
 * section 10.6).
 *
 * Addresses are the image's own. The image is not trusted: reads stay inside of it, and the work
 * for one step is bounded by its size. Nothing is copied: the image must outlive the structure.
 */
#ifndef IMAGE_UNWIND_H
#define IMAGE_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/section.h"

struct unwind_tables {
    struct image_section eh_frame, debug_frame;
};

/* Registers in DWARF's order for x86_64: rax rdx rcx rbx rsi rdi rbp rsp r8 ... r15. */
enum {
    UNWIND_RBP = 6,
    UNWIND_RSP = 7,
    UNWIND_R12 = 12,
    UNWIND_RA = 16, /* column of the return address */
    UNWIND_COLUMNS = 17,
};

struct unwind_registers {
    uint64_t value[UNWIND_COLUMNS]; /* UNWIND_RA: the address that is executed */
    uint32_t known;                 /* bit i: value[i] is */
};

/* Find the tables of the 64-bit little-endian ELF file, up to SECTION_TABLE_MAX each. Without any
 * all steps fail. */
void unwind_open(struct unwind_tables *tables, const void *image, size_t size);

/*
 * Replace the registers of a function that is stopped at image address `pc` (for a caller: the byte
 * before the return address) by those of its caller. `read` copies a word of the guest's stack.
 * False, with the registers as they were, if the tables do not tell.
 */
bool unwind_step(const struct unwind_tables *tables, uint64_t pc,
                 struct unwind_registers *registers,
                 bool (*read)(void *context, uint64_t address, uint64_t *word), void *context);

#endif
