/*
 * XCR0 and the instructions that depend on it.
 *
 * The processor uses the host's XCR0, which enables at least as much as the guest has enabled. A
 * guest that saves "everything" into an area of the size that fits its own XCR0 would be overrun,
 * so XGETBV, XSAVE and XRSTOR are patched and emulated here with the guest's XCR0. The registers
 * themselves are in the XSAVE area of the signal frame (Intel SDM volume 1, chapter 13).
 */
#ifndef ENGINE_XSTATE_H
#define ENGINE_XSTATE_H

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/engine.h"

/* Ask the processor for the layout of the area; once, before threads start. */
void xstate_init(void);

/* What a guest may enable: legacy state, AVX and AVX-512 as far as the host has them. */
uint64_t xstate_allowed(void);

/* Bytes of an XSAVE area with the components in `mask`. */
uint32_t xstate_size(uint64_t mask);

/*
 * The registers as XSAVE stores all that a guest may enable, of which every component has its
 * values in the area. Get returns its size in bytes; set takes components that lie within `size`
 * bytes, 576 at least, and leaves the others as they are.
 */
uint32_t xstate_get_area(struct cpu *cpu, uint8_t *area);
void xstate_set_area(struct cpu *cpu, const uint8_t *area, uint32_t size);

/* XGETBV and XSETBV. */
enum result xstate_get_register(struct cpu *cpu);
enum result xstate_set_register(struct cpu *cpu);

/* XSAVE, XSAVEOPT and XRSTOR with a memory operand. */
enum result xstate_save(struct cpu *cpu, const struct insn *insn, bool optimised);
enum result xstate_restore(struct cpu *cpu, const struct insn *insn);

#endif
