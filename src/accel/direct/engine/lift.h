/*
 * Executing one instruction natively although a debugger's breakpoint is in its way: on a watched
 * page, where the emulator does not know it, or where a byte of it is replaced. Nobody else may get
 * past the breakpoint meanwhile, so the other vCPUs are stopped: they wait at the gate before they
 * enter the guest.
 *
 * Obstacles are lifted, the guest executes with TF set, and the next trap of the vCPU, whatever it
 * is, puts them back (lift_end). If the instruction met another obstacle, it starts over with both
 * lifted.
 */
#ifndef ENGINE_LIFT_H
#define ENGINE_LIFT_H

#include "accel/direct/engine/mmu.h"

/* The page of `gva` is watched: map it for one instruction. */
void lift_page(struct cpu *cpu, uint64_t gva, enum access access);

/* The byte at `gpa` in RAM is a trap, and a site: put there what it stands for. Without effect if
 * it is not any more. */
void lift_byte(struct cpu *cpu, uint64_t gpa);

/* The vCPU has trapped. `completed`: because the instruction has been executed. */
void lift_end(struct cpu *cpu, bool completed);

/* Wait while another vCPU has lifted something; false, at once, if there is none. Called with
 * DIRECT_MODE_GUEST announced; returns in DIRECT_MODE_ENGINE if it had to wait. */
bool lift_wait(struct cpu *cpu);

#endif
