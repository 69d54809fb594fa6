/*
 * Addresses that control may reach other than by a direct branch or by falling through. No such
 * address may lie inside the bytes that a jump to a trampoline replaces.
 *
 * Errs on the side of too many: each costs at most a trampoline. Taken for a target is
 *   - every word in the image whose value is an address of code: relocated pointers, vtables, jump
 *     tables of code that is not position independent (the image is looked at after relocation);
 *   - every such value as an immediate operand, and what lea makes relative to RIP;
 *   - the entries of jump tables of position independent code: the 32-bit distances from the start
 *     of a table that some lea refers to, as long as they end in code. Nothing else in the image
 *     tells of them. This is how gcc, clang and rustc translate a switch.
 * Not found are the landing pads of exceptions. They do not matter: control never falls through to
 * one, and an overwritten piece is a straight line.
 *
 * Parts of the sweep; the same rules apply.
 */
#ifndef DIRECT_PATCH_TARGETS_H
#define DIRECT_PATCH_TARGETS_H

#include "accel/direct/patch/sweep.h"

/* What one decoded instruction, `at` bytes from the start of the image, refers to. */
void targets_of_instruction(struct sweep *sweep, size_t at, const struct decode_insn *insn);

/* All words of the image, and the addresses in `symbols` (may be NULL). Call it once. */
void targets_of_data(struct sweep *sweep, const struct sweep_symbols *symbols);

/* False if the image had more jump tables than its size warrants: then targets are missing. */
static inline bool targets_complete(const struct sweep *sweep)
{
    return sweep->table_budget > 0;
}

#endif
