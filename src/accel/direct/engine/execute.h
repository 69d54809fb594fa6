/*
 * Emulating what a guest could execute natively: moves, arithmetic, branches, the stack. Not
 * needed for the guest to run; ahead.c uses it to get from one trapping instruction to the next
 * without leaving the engine. What is missing here is missing on purpose: rare, or a sign that the
 * guest is doing something other than what is worth emulating (PAUSE, vector arithmetic).
 */
#ifndef ENGINE_EXECUTE_H
#define ENGINE_EXECUTE_H

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/engine.h"

/*
 * Emulate `insn` at RIP, which is not one that privileged_run knows; sets RIP to the next one. With
 * another result than RESULT_OK nothing has changed: the guest may execute it natively.
 */
enum result execute_run(struct cpu *cpu, const struct insn *insn);

/* Its part for opcodes 0F xx; RIP is left to the caller. */
enum result execute_two_byte(struct cpu *cpu, const struct insn *insn);

/* For both parts. The operand in ModRM that may be in memory, as a source. */
enum result execute_get_rm(struct cpu *cpu, const struct insn *insn, unsigned size,
                           uint64_t *value);
/* Jump by the immediate, if `taken`: sets RIP to what the length is then added to. */
enum result execute_jump(struct cpu *cpu, const struct insn *insn, bool taken);

#endif
