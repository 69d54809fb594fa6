/*
 * Guest-physical addresses without RAM behind them: the local APIC's page, the I/O APIC, and
 * everything else, which the VMM answers.
 */
#ifndef ENGINE_DEVICE_H
#define ENGINE_DEVICE_H

#include "accel/direct/engine/engine.h"

/* One access of any size; it is split into pieces of at most 8 bytes. Reads fill `data`. */
void device_access(struct cpu *cpu, uint64_t gpa, bool write, uint8_t *data, unsigned size);

#endif
