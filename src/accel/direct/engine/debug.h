/*
 * What a debugger in the VMM wants of a vCPU: steps, breakpoint instructions, breakpoints that
 * hardware would have. Only in use where the VM was made for it (engine.debugged): there are no
 * trampolines then, and every instruction is executed by itself.
 *
 *   Steps: TF is set behind the guest's back; everything that can read it is emulated anyway. Also
 *   an emulated instruction is a step, and so is the way into a handler (cpu->step_done).
 *   Execution: the VMM puts a trap byte there (accel/direct/debug.c), known as a site like those of
 *   sensitive instructions.
 *   Data: watch.h.
 */
#ifndef ENGINE_DEBUG_H
#define ENGINE_DEBUG_H

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/engine.h"

/* The VMM has let the vCPU go on: take over what has changed. */
void debug_resume(struct cpu *cpu);

/* Before the vCPU enters the guest, with DIRECT_MODE_GUEST announced. False: nothing stands against
 * it. Else there was something to tell the VMM, or another vCPU wanted to be alone: look again. */
bool debug_holds(struct cpu *cpu);

/* An INT3 has been executed. False if it is for the guest. */
bool debug_breakpoint(struct cpu *cpu);

/* `insn` was decoded from a trap byte that has been removed since. */
bool debug_is_stale(struct cpu *cpu, const struct insn *insn);

/* Is there a breakpoint of this vCPU's on the instruction at RIP? It is reported then. */
bool debug_stops_here(struct cpu *cpu);

/*
 * A #GP at the instruction at RIP, which is not privileged (`insn` is NULL if it could not be
 * decoded). False if it is the guest's. Else it came from a trap byte, of a breakpoint that is for
 * another vCPU or has just been removed: *result tells whether the instruction has been emulated;
 * RESULT_UNKNOWN: the guest is to try again.
 */
bool debug_passes(struct cpu *cpu, const struct insn *insn, enum result *result);

/* The vCPU is to leave the guest after one instruction. */
static inline bool debug_steps(const struct cpu *cpu)
{
    return engine.debugged && cpu->shared->debug.step;
}

#endif
