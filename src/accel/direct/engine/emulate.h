/*
 * Emulating data accesses to addresses that cannot be mapped into the engine: the upper half of the
 * address space (page tables of kernels that map them into themselves), pages below the host's
 * vm.mmap_min_addr, device memory, the engine's own window.
 */
#ifndef ENGINE_EMULATE_H
#define ENGINE_EMULATE_H

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/engine.h"

/* Emulate `insn` at RIP, whichever of its operands is in memory; sets RIP behind it. */
enum result emulate_access(struct cpu *cpu, const struct insn *insn);

/* MOVS, CMPS, STOS, LODS, SCAS with their repeat prefixes; RESULT_UNKNOWN for others. Part of
 * emulate_access. */
enum result emulate_string(struct cpu *cpu, const struct insn *insn);

/* Moves between memory and XMM or YMM registers; RESULT_UNKNOWN for others. Part of emulate_access.
 */
enum result emulate_vector(struct cpu *cpu, const struct insn *insn);

#endif
