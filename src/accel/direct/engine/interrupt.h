/*
 * Delivery of exceptions and interrupts through the guest's interrupt descriptor table, as a
 * processor in 64-bit mode does it at CPL 0 (Intel SDM volume 3, sections 6.12 to 6.15).
 */
#ifndef ENGINE_INTERRUPT_H
#define ENGINE_INTERRUPT_H

#include "accel/direct/engine/engine.h"

enum interrupt_source {
    INTERRUPT_FAULT,    /* exception, RIP at the instruction */
    INTERRUPT_TRAP,     /* #DB after an instruction, #BP, #OF */
    INTERRUPT_EXTERNAL, /* from the local APIC, NMI */
    INTERRUPT_SOFTWARE, /* INT n */
};

/*
 * Deliver `fault`. If that raises another exception, that one is delivered, or a double fault, by
 * the rules of table 6-5. False: triple fault; the state is that before the first exception.
 */
bool interrupt_deliver(struct cpu *cpu, const struct fault *fault, enum interrupt_source source);

/* The 64-bit code or other descriptor behind a selector: 8 bytes, or 16 for system segments. False
 * if it lies beyond the limit of the GDT or a page fault occurs (then cpu->fault is set: #GP with
 * the selector in the first case). */
bool interrupt_read_descriptor(struct cpu *cpu, uint16_t selector, uint64_t *words, unsigned size);

#endif
