/*
 * Running ahead: after a trap the engine emulates the instructions that follow too, as long as
 * another one that would trap is to be expected soon.
 */
#ifndef ENGINE_AHEAD_H
#define ENGINE_AHEAD_H

#include "accel/direct/engine/engine.h"

/* What a thread knows about the code it has emulated; zeroed at its start, owned by the thread. */
struct ahead;
#define AHEAD_SIZE 0x30000 /* at least sizeof(struct ahead) */

/*
 * Called in a signal handler when an instruction has been emulated and RIP is behind it. Emulates
 * whole instructions of the guest and stops at any of them. `dense`: the guest has not run for long
 * since the trap before.
 */
void ahead_run(struct cpu *cpu, bool dense);

#endif
