/*
 * The I/O APIC: where a device's interrupt line goes (Intel 82093AA).
 */
#ifndef GUESTS_LIB_IOAPIC_H
#define GUESTS_LIB_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

/* Interrupts of this line raise `vector` on the CPU with APIC ID 0: while it is asserted (`level`,
 * active low, as PCI has it), or when it becomes so. */
void ioapic_route(unsigned line, unsigned vector, bool level);
void ioapic_mask(unsigned line);

#endif
