/*
 * The local APIC in x2APIC mode: one-shot timer (TSC deadline) and interrupts between CPUs (Intel
 * SDM volume 3, chapter 11). Vectors are those of trap_handle.
 */
#ifndef GUESTS_LIB_APIC_H
#define GUESTS_LIB_APIC_H

#include <stdint.h>

/* Once on each CPU, after trap_init. Ends the VM with a message if there is no x2APIC. */
void apic_init(void);

/* The same for CPU 0 of a guest that needs nothing but interrupts of devices and does with an older
 * APIC, too. */
void apic_init_for_lines(void);

/* APIC ID of this CPU; uhyve makes it equal to the CPU index. */
uint32_t apic_id(void);

/* Raise `vector` on this CPU when the time stamp counter reaches `tsc`. */
void apic_timer_at(unsigned vector, uint64_t tsc);

/* Raise `vector` on the CPU with this APIC ID. */
void apic_send(uint32_t id, unsigned vector);

/* The last thing a handler does. */
void apic_end_of_interrupt(void);

#endif
