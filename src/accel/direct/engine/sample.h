/*
 * Samples for the profiler: where the guest is, without handing the turn to the VMM, which would
 * cost the guest many times what looking costs.
 */
#ifndef ENGINE_SAMPLE_H
#define ENGINE_SAMPLE_H

#include "accel/direct/engine/engine.h"

/* Fill shared->sample: RIP and the return addresses along the chain of frame pointers. */
void sample_take(struct cpu *cpu);

#endif
