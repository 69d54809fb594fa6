/*
 * What was patched, for whoever executes the patched code: the original bytes by address, and the
 * way between the addresses the guest knows and those in the trampolines.
 *
 * The table is one block of plain data without pointers, of patch_table_size bytes: it may be
 * copied or mapped elsewhere. It does not change any more once the guest runs, so any number of
 * threads may read it. Everything here is free of library calls but memcpy, and of locks and
 * allocation: a freestanding program may use it in a signal handler.
 *
 * The rules for the engine:
 *   1. On every entry from the guest (trap or signal), if trampoline_contains(rip), call
 *      trampoline_settle. It turns the registers into what the guest would have at an instruction
 *      boundary of its own: back to the instruction if it had no effect yet, behind it if it had.
 *      Nothing else may look at the registers before.
 *   2. On every return to the guest, take patch_host_address(rip) for RIP. This covers guest
 *      interrupt frames, whose RIP may lie in the bytes that a jump has replaced.
 *   3. A fault of a trampoline's own instruction (the guest's stack is not mapped, or no vCPU is
 *      known by ES) leads to rule 1 as well, and the engine then emulates the guest's instruction
 *      instead of executing it. A #GP at a HLT that no guest instruction stands for tells that an
 *      interrupt is pending with IF set: settle, deliver.
 *   4. To decode guest code, overlay it with patch_original.
 */
#ifndef DIRECT_PATCH_TABLE_H
#define DIRECT_PATCH_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accel/direct/patch/sweep.h"

#define PATCH_BYTES_MAX 20 /* a jump's first four bytes and one instruction */
#define PATCH_STEPS_MAX 6  /* four of one byte, one more, and the end */

/* One of the guest's instructions in a trampoline. */
struct patch_step {
    uint8_t guest; /* bytes from the patch's address */
    uint8_t kind;  /* enum sweep_kind: replaced by a sequence; SWEEP_NONE: moved */
    uint16_t host; /* bytes from the trampoline's start */
};

struct patch {
    uint64_t address;    /* of the first byte replaced, as the guest sees it */
    uint32_t trampoline; /* bytes from the start of the area, if there are steps */
    uint16_t size;       /* of the trampoline, in bytes */
    uint8_t kind;        /* of the site that asked for it */
    uint8_t length;      /* bytes of whole instructions in `original` */
    uint8_t step_count;  /* 0: a one-byte trap; the last one stands for the jump back, if any */
    uint8_t original[PATCH_BYTES_MAX];
    struct patch_step steps[PATCH_STEPS_MAX];
};

/*
 * How far a sequence has got, by the bytes between its start and RIP. All sequences of a kind in
 * one image are alike.
 */
struct patch_shape {
    uint8_t spilled;  /* from here on RAX and RCX are saved; 0: never */
    uint8_t moved;    /* from here on RSP has changed by rsp_delta; 0: never */
    int8_t rsp_delta; /* bytes */
    uint8_t commit;   /* from here on the guest's instruction has been executed */
};

struct patch_table {
    uint64_t area_address; /* trampolines, as the guest's code reaches them */
    uint32_t area_used;    /* bytes */
    uint32_t count;
    struct patch_shape shapes[SWEEP_KINDS];
    struct patch list[]; /* ascending addresses, not overlapping; trampolines ascend alike */
};

/* The registers that settling may change, and what it found. */
struct trampoline_registers {
    uint64_t rip, rsp, rax, rcx;
    uint8_t kind;   /* enum sweep_kind of the sequence that RIP was in; SWEEP_NONE: in none */
    bool completed; /* the sequence has had its effect: RIP is behind the guest's instruction */
};

/* Reads 8 bytes of guest memory. Returns false if it cannot. */
typedef bool trampoline_read(void *context, uint64_t address, uint64_t *value);

size_t patch_table_size(const struct patch_table *table);

/* The patch that `address` lies in, or NULL. Binary search. */
const struct patch *patch_find(const struct patch_table *table, uint64_t address);

#define PATCH_TRAP 0xf4 /* HLT: faults at CPL 3 */

/* Replace what is patched in the copy of guest memory [address, address + size) by the original. A
 * trap that is not there any more is left alone: somebody has written something else. */
void patch_original(const struct patch_table *table, uint64_t address, uint8_t *bytes, size_t size);

/* Where to resume the guest at its `rip`: the same, or in a trampoline. */
uint64_t patch_host_address(const struct patch_table *table, uint64_t rip);

static inline bool trampoline_contains(const struct patch_table *table, uint64_t rip)
{
    return rip - table->area_address < table->area_used;
}

/*
 * From registers inside a trampoline to registers of the guest (rule 1). Returns false if RIP is
 * not at an instruction of a trampoline, or if the saved registers cannot be read: then the guest
 * has broken it, by jumping there or by unmapping its stack.
 */
bool trampoline_settle(const struct patch_table *table, struct trampoline_registers *registers,
                       trampoline_read *read, void *context);

#endif
