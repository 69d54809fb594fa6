/*
 * Events: telling a vCPU that something is pending, and waiting for it.
 *
 * Who posts an event sets its bits first and calls wait_notify then. A vCPU announces its mode
 * (wait_set_mode) first and looks for events then. Both in sequentially consistent order: one of
 * the two always sees the other.
 */
#ifndef ENGINE_WAIT_H
#define ENGINE_WAIT_H

#include "accel/direct/engine/engine.h"

void wait_notify(struct direct_vcpu *target);

static inline void wait_set_mode(struct cpu *cpu, enum direct_mode mode)
{
    __atomic_store_n(&cpu->shared->mode, mode, __ATOMIC_SEQ_CST);
}

/*
 * HLT: wait for an event after `sequence` was read, or until the TSC reaches `deadline` (0: no
 * limit); may return early. If the guest's last HLT was short, it does not sleep at first: whoever
 * posts the event need not wake anybody then, and the host CPU is at work at once. Called and left
 * in DIRECT_MODE_ENGINE.
 */
void wait_in_halt(struct cpu *cpu, uint32_t sequence, uint64_t deadline);

/*
 * Called when the host's timer has fired. Where vCPUs share host CPUs, one that waits actively for
 * a lock keeps its holder from running: give way for a moment. The loop itself must run natively,
 * because kernels count the PAUSEs in it.
 */
void wait_for_others(struct cpu *cpu);

/* Have the host's timer interrupt the guest when the local APIC's timer is due, or the delivery of
 * port writes. */
void wait_arm_timer(struct cpu *cpu);

#endif
