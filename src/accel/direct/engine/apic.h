/*
 * The local APIC with its timer, in x2APIC and xAPIC mode (Intel SDM volume 3, chapter 11), and
 * what can be waiting for a vCPU.
 */
#ifndef ENGINE_APIC_H
#define ENGINE_APIC_H

#include "accel/direct/engine/engine.h"

#define APIC_BASE_BSP     (UINT64_C(1) << 8)
#define APIC_BASE_X2APIC  (UINT64_C(1) << 10)
#define APIC_BASE_ENABLED (UINT64_C(1) << 11)

#define MSR_X2APIC_FIRST 0x800
#define MSR_X2APIC_LAST  0x8ff

void apic_reset(struct cpu *cpu);

/* A register by its number: offset in the page / 16, or MSR - 0x800. Returns false if there is none
 * or if it cannot be read or written. The ICR is one register of 64 bits in x2APIC mode. */
bool apic_read(struct cpu *cpu, unsigned number, uint64_t *value);
bool apic_write(struct cpu *cpu, unsigned number, uint64_t value);

uint64_t apic_get_deadline(const struct cpu *cpu);
void apic_set_deadline(struct cpu *cpu, uint64_t deadline);

/* If the timer is due, make its interrupt pending. */
void apic_poll_timer(struct cpu *cpu);

/* Vector of the interrupt to deliver now, -1 if there is none. apic_accept marks it in service. */
int apic_pending(const struct cpu *cpu);
void apic_accept(struct cpu *cpu, unsigned vector);

/* Make an interrupt pending on any vCPU and get its attention. */
void apic_post(unsigned index, uint8_t vector, bool level);
void apic_post_nmi(unsigned index);

/* Deliver a message as the ICR or an I/O APIC sends it. `mode` is the delivery mode. */
void apic_send(unsigned destination, bool logical, unsigned mode, uint8_t vector, bool level);

#endif
