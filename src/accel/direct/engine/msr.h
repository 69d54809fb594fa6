/*
 * Model-specific registers, and the CPUID leaves.
 */
#ifndef ENGINE_MSR_H
#define ENGINE_MSR_H

#include "accel/direct/engine/engine.h"

void msr_reset(struct cpu *cpu);

/* False: there is no such register, or the value is not allowed (#GP). */
bool msr_read(struct cpu *cpu, uint32_t number, uint64_t *value);
bool msr_write(struct cpu *cpu, uint32_t number, uint64_t value);

/* CPUID with the guest's EAX and ECX; the result goes to its registers. */
void cpuid_run(struct cpu *cpu);

#endif
