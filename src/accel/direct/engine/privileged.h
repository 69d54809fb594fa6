/*
 * Instructions that a processor allows only at CPL 0, or whose result depends on the privilege
 * level. privileged.c has flags, interrupts, far transfers and port I/O; system.c control, debug
 * and segment registers and descriptor tables; descriptor.c looks at descriptors.
 */
#ifndef ENGINE_PRIVILEGED_H
#define ENGINE_PRIVILEGED_H

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/engine.h"

/* Emulate `insn` at RIP. RESULT_UNKNOWN if it is not one of them. */
enum result privileged_run(struct cpu *cpu, const struct insn *insn);

/* Part of privileged_run; leaves RIP alone. */
enum result system_run(struct cpu *cpu, const struct insn *insn);

/* LAR, LSL, VERR, VERW (descriptor.c); RESULT_UNKNOWN for others. Leaves RIP alone. */
enum result descriptor_run(struct cpu *cpu, const struct insn *insn);

/* A new value for CS by a far transfer: the selector must name 64-bit code for CPL 0. */
bool system_check_code(struct cpu *cpu, uint64_t selector);

#endif
