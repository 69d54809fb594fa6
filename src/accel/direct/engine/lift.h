/*
 * Executing one instruction natively although a debugger's breakpoint is in its way: on a watched
 * page, where the emulator does not know it, or where a byte of it is replaced. Nobody else may get
 * past the breakpoint meanwhile, so the other vCPUs are stopped: they wait at the gate before they
 * enter the guest.
 *
 * Obstacles are lifted, and the guest executes with TF set. When the instruction has been executed
 * they are put back (lift_end); also when something else comes of it, and before the VMM gets the
 * turn, for others would wait as long. If the instruction meets another obstacle, it starts over
 * with both lifted. Events wait until it is over.
 */
#ifndef ENGINE_LIFT_H
#define ENGINE_LIFT_H

#include "accel/direct/engine/mmu.h"

/* The page of `gva` is watched: map it for one instruction. */
void lift_page(struct cpu *cpu, uint64_t gva, enum access access);

/* The byte at `gpa` in RAM is a trap, and a site: put there what it stands for. Without effect if
 * it is not any more. */
void lift_byte(struct cpu *cpu, uint64_t gpa);

/* Put back what is lifted. `completed`: the instruction has been executed. */
void lift_end(struct cpu *cpu, bool completed);

/* The trap of a vCPU has been handled. */
static inline void lift_review(struct cpu *cpu)
{
    if (cpu->lifted_count && cpu->state->rip != cpu->lifted_rip)
        lift_end(cpu, false);
}

/* Wait while another vCPU has lifted something; false, at once, if there is none. Called with
 * DIRECT_MODE_GUEST announced; returns in DIRECT_MODE_ENGINE if it had to wait. */
bool lift_wait(struct cpu *cpu);

#endif
