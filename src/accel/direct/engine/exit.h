/*
 * Handing over to the VMM and coming back.
 */
#ifndef ENGINE_EXIT_H
#define ENGINE_EXIT_H

#include "accel/direct/engine/engine.h"

/* Wait for the VMM's first command. */
void exit_wait(struct cpu *cpu);

/* Port I/O of 1, 2 or 4 bytes; an IN fills `data`. */
void exit_io(struct cpu *cpu, uint16_t port, bool write, uint32_t *data, unsigned size);

/* Device memory, 1 to 8 bytes. */
void exit_mmio(struct cpu *cpu, uint64_t gpa, bool write, uint8_t *data, unsigned size);

/* Have a page of RAM swept for sensitive instructions. */
void exit_sweep(struct cpu *cpu, uint64_t gpa);

/* Every exit also delivers the port writes that wait (queue.h); this one does nothing else. */
void exit_writes(struct cpu *cpu);

void exit_interrupted(struct cpu *cpu);

void exit_debug(struct cpu *cpu, enum direct_debug_event event, uint32_t slot);

/* The vCPU cannot go on. They return only if the VMM insists on going on. */
void exit_shutdown(struct cpu *cpu);
void exit_failed(struct cpu *cpu, const char *reason);

#endif
