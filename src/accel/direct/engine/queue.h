/*
 * Port writes that wait for their delivery to the VMM (patch/trampoline.h has the list itself).
 *
 * They are delivered before the next exit of any kind, before the vCPU sleeps, when the list is
 * full, and QUEUE_DELAY_US after the first of them at the latest. Trampolines may append to a list
 * that has been opened by a first write, which the engine always sees: it starts that time. While a
 * handler runs the list is closed, and `queued` counts.
 */
#ifndef ENGINE_QUEUE_H
#define ENGINE_QUEUE_H

#include "accel/direct/engine/engine.h"

#define QUEUE_DELAY_US 500

static inline struct trampoline_state *queue_state(unsigned index)
{
    return (struct trampoline_state *)(DIRECT_CONTROL + DIRECT_AREA + DIRECT_AREA_STATES +
                                       index * (uint64_t)DIRECT_PAGE);
}

static inline enum trampoline_port queue_port_kind(uint16_t port)
{
    const uint8_t *ports = (const uint8_t *)(DIRECT_CONTROL + DIRECT_AREA + DIRECT_AREA_PORTS);
    return __atomic_load_n(&ports[port], __ATOMIC_ACQUIRE);
}

/* Append a write; only of the first vCPU. */
void queue_add(struct cpu *cpu, uint16_t port, uint32_t data, unsigned size);

/* At the beginning of a trap: what have trampolines appended? */
void queue_close(struct cpu *cpu);

/* At its end: let trampolines append. */
void queue_open(struct cpu *cpu);

/* Deliver what waits, if there is anything. */
void queue_flush(struct cpu *cpu);

static inline bool queue_is_due(const struct cpu *cpu)
{
    return cpu->queued && rdtsc() >= cpu->queue_deadline;
}

#endif
