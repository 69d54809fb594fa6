/*
 * Between the guest's own code and the trampolines that replace parts of it (patch/table.h): on the
 * way in the registers become those of a guest that knows nothing of trampolines, on the way out
 * RIP leads into them again, and the virtual interrupt flag goes where trampolines find it.
 */
#ifndef ENGINE_SETTLE_H
#define ENGINE_SETTLE_H

#include "accel/direct/engine/engine.h"

enum settled {
    SETTLED_OUTSIDE, /* was in the guest's own code */
    SETTLED_INSIDE,  /* was in a trampoline; RIP is at the instruction it stands for */
    SETTLED_DONE,    /* the same, but RIP is behind it: for instance at the HLT that says that
                        something is pending and interrupts are enabled */
    SETTLED_BROKEN,  /* in a trampoline, but not as the engine led there */
};

/* After the registers were loaded from the signal frame. */
enum settled settle_enter(struct cpu *cpu);

/* Would a trampoline do in several instructions what the instruction at RIP does? */
bool settle_replaces(const struct cpu *cpu);

/* Before the registers are stored. `pending`: something is to be done as soon as interrupts are
 * enabled. Returns where to resume. */
uint64_t settle_leave(struct cpu *cpu, bool pending);

#endif
