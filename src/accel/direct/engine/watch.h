/*
 * Watchpoints of a debugger. A page with one is mapped without the permission in question, so that
 * every access to it faults and is emulated; whether it touches the watched bytes is decided by the
 * access itself (watch_note). Pure.
 */
#ifndef ENGINE_WATCH_H
#define ENGINE_WATCH_H

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/engine.h"

enum watch {
    WATCH_NOTHING,
    WATCH_WRITES,
    WATCH_ACCESSES, /* nothing may be mapped */
};

/* What is watched on the guest-virtual page at `page`, for any vCPU: they share their mappings. */
enum watch watch_page(uint64_t page);

/* Shrink [*start, *end) around `page` so that no other page in it is watched, and to `page` alone
 * if that is. */
void watch_clip(uint64_t page, uint64_t *start, uint64_t *end);

/* The vCPU has accessed [gva, gva + size): remember in cpu->hits which of its slots that concerns.
 * Called if cpu->watching. */
void watch_note(struct cpu *cpu, uint64_t gva, uint64_t size, bool write);

/*
 * Bytes that the instruction `code[size]`, which is not emulated, may access in memory: the width
 * of a vector or floating-point operand. Exact for whole vectors, too many for some parts of them.
 */
unsigned watch_width(const uint8_t *code, unsigned size);

#endif
