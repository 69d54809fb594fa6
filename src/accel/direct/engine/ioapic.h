/*
 * An I/O APIC with 24 lines (Intel 82093AA datasheet). Any vCPU may call; it has its own lock.
 */
#ifndef ENGINE_IOAPIC_H
#define ENGINE_IOAPIC_H

#include "accel/direct/engine/engine.h"

#define IOAPIC_BASE UINT64_C(0xfec00000)
#define IOAPIC_SIZE 0x1000

void ioapic_reset(void);
uint32_t ioapic_read(uint32_t offset);
void ioapic_write(uint32_t offset, uint32_t value);

/* The VMM has changed lines. */
void ioapic_lines_changed(void);

/* The handler of a level-triggered interrupt is done: a line that is still asserted interrupts
 * again. */
void ioapic_end_of_interrupt(uint8_t vector);

#endif
