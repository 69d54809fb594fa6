/*
 * Instructions as text, by the Zydis library where it is installed.
 *
 * It is loaded at run time: uhyve works without it, and a distribution has no archive of it to link
 * with. That takes some 60 us, which every run pays since nothing can be loaded after the
 * isolation.
 */
#ifndef DEBUG_DISASSEMBLY_H
#define DEBUG_DISASSEMBLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISASSEMBLY_TEXT 96

struct disassembler;

/* NULL if the library is not there. */
struct disassembler *disassembler_open(void);
void disassembler_close(struct disassembler *disassembler); /* NULL is allowed */

/*
 * Decode the 64-bit instruction at the start of `code`, which lies at `address` (for the targets of
 * jumps). Returns its length and its text in Intel syntax; 0 if there is none within `size` bytes.
 */
size_t disassemble(const struct disassembler *disassembler, uint64_t address, const uint8_t *code,
                   size_t size, char text[DISASSEMBLY_TEXT]);

#endif
