/*
 * Registers as GDB sees them (spec/debug.md section 3): numbers, sizes, the target description that
 * tells them to GDB, and where each of them is in the state of a vCPU.
 *
 * The numbers start with those GDB gives an amd64 processor without a description, so that a client
 * that ignores ours reads the right bytes: 0-15 general, 16 RIP, 17 EFLAGS, 18-23 selectors, 24-31
 * x87 stack, 32-39 x87 control, 40-55 XMM, 56 MXCSR. Ours follow: bases of FS and GS, control
 * registers, and the upper halves of the YMM registers, if the machine has them.
 *
 * Pure functions of the structure they get.
 */
#ifndef DEBUG_GDB_REGISTERS_H
#define DEBUG_GDB_REGISTERS_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arch/x86_64/state.h"
#include "debug/gdb/machine.h"
#include "util/text.h"

#define GDB_REGISTER_MAX_SIZE 16 /* bytes */
#define GDB_REGISTER_RBP      6
#define GDB_REGISTER_RSP      7
#define GDB_REGISTER_RIP      16

/* Bytes of a G packet up to MXCSR. */
#define GDB_REGISTERS_MIN_SIZE 0x218

struct gdb_registers {
    bool state_valid;
    struct x86_state state;
    size_t xsave_size;                        /* 0: there is none; else at least 576 bytes */
    alignas(64) uint8_t xsave[GDB_XSAVE_MAX]; /* standard format */
};

/* Which part of the state a register belongs to. */
enum gdb_register_part {
    GDB_PART_NONE, /* there is no such register, or no value for it */
    GDB_PART_STATE,
    GDB_PART_XSAVE,
};

/* `avx`: the YMM registers exist. */
unsigned gdb_register_count(bool avx);
size_t gdb_register_size(unsigned number); /* bytes; 0 if there is no such register */

/* Whether an XSAVE area of this size has YMM registers, which the processor must also have. */
bool gdb_registers_have_avx(size_t xsave_size);

/* The register's value, little-endian; false if it is not known. */
bool gdb_register_get(const struct gdb_registers *registers, unsigned number, uint8_t *to);

/* Change it, in `registers`; the result is the part to be written back. Upper bits of RFLAGS and
 * the rest of the segments stay as they are. */
enum gdb_register_part gdb_register_set(struct gdb_registers *registers, unsigned number,
                                        const uint8_t *from);

/* Add the target description, an XML document (GDB manual, appendix G). */
void gdb_registers_describe(struct text *text, bool avx);

#endif
