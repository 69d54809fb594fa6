/*
 * Finds the instructions that a ring-0 guest must not execute natively at CPL 3 because they would
 * not trap there but do something else (sensitive instructions), and those whose traps are worth
 * avoiding (cli, sti, in, out).
 *
 * Theory of operation. Both mistakes are grave: patching bytes that are data corrupts the guest,
 * and an instruction that is not found gives the guest the host's state. So every byte is decoded,
 * not only those around suspicious ones, in runs from one anchor to the next. Anchors are symbols,
 * and addresses on a multiple of 16 behind code that does not fall through. The sites of a run are
 * proven if
 *   - the run starts at an anchor, all its bytes decode, and it ends exactly at the next anchor
 *     (an instruction stream that is out of step with the code almost always fails at one of them:
 *     x86 streams fall into step within a few instructions);
 *   - every direct branch of a sound run that ends in this one ends on an instruction;
 *   - something says that it is code: a symbol, a direct branch into it, or a pointer to its start.
 * What is left over is reported as not proven, and must be decided by the caller: data between
 * functions looks like that. With data symbols or section bounds given, data is not looked at.
 *
 * Not reported, because they fault at CPL 3 by themselves and are left alone: the other privileged
 * instructions, and int3. Neither is rdtsc, which may run natively.
 *
 * Pure functions; a struct sweep belongs to one thread. Only sweep_find allocates memory (and is
 * apart from the others): the rest is fit for freestanding programs that bring memcpy and memset.
 */
#ifndef DIRECT_PATCH_SWEEP_H
#define DIRECT_PATCH_SWEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accel/direct/patch/decode.h"

enum sweep_kind {
    SWEEP_NONE,
    SWEEP_CLI, /* traps by itself */
    SWEEP_STI, /* traps by itself */
    SWEEP_IN,  /* traps by itself */
    SWEEP_OUT, /* traps by itself */
    SWEEP_PUSHF,
    SWEEP_POPF,
    SWEEP_RDTSCP,
    SWEEP_RDPID,
    SWEEP_CPUID,
    SWEEP_READ_SEGMENT,  /* mov r/m, sreg; push fs, gs */
    SWEEP_LOAD_SEGMENT,  /* mov sreg, r/m; pop fs, gs; lss, lfs, lgs: null is taken silently */
    SWEEP_READ_TABLE,    /* sgdt, sidt, sldt, str, smsw */
    SWEEP_PROBE_SEGMENT, /* lar, lsl, verr, verw */
    SWEEP_SYSTEM_CALL,   /* syscall, sysenter, int n: into the host kernel */
    SWEEP_EXTENDED,      /* xgetbv, xsave and kin: go by the host's XCR0 */
    SWEEP_HYPERCALL,     /* vmcall, vmmcall: in a VM, to the hypervisor below */
    SWEEP_FAR_TRANSFER,  /* iret, far return, call, jump: faults only with the usual selectors */
    SWEEP_KINDS,
};

struct sweep_site {
    uint64_t address;
    uint8_t length;
    uint8_t kind; /* enum sweep_kind */
    bool proven;  /* instruction boundaries, see above */
};

struct sweep_symbol {
    uint64_t address;
    uint64_t size; /* 0: unknown, up to the next symbol */
    bool code;     /* a function; else data, which is passed over */
};

/* Ascending addresses. Functions may nest. */
struct sweep_symbols {
    const struct sweep_symbol *list;
    size_t count;
};

struct sweep {
    const uint8_t *bytes;        /* where branches may end: the image. Not owned */
    size_t size;                 /* bytes, below 4 GiB */
    uint64_t address;            /* of bytes[0] in the guest */
    uint64_t *starts;            /* a bit for each byte: an instruction starts here */
    uint64_t *direct;            /* a bit for each byte: direct branches of sound runs end here */
    uint64_t *targets;           /* a bit for each byte: control may come here from elsewhere */
    uint64_t *anchors;           /* a bit for each byte: a run starts here */
    size_t code_start, code_end; /* where code may be, in bytes from the start of the image */
    size_t table_budget;         /* jump table entries that may still be looked at */
    struct sweep_site *sites;
    size_t max, count; /* count may exceed max: the sites beyond were not stored */
};

/* Memory for the map of an image. */
#define SWEEP_BITS_WORDS(size) (4 * ((size_t)(size) / 64 + 1))

/*
 * Begin with an empty map in bits[SWEEP_BITS_WORDS(size)], which need not be initialised; code may
 * be anywhere in it unless the caller narrows code_start and code_end.
 */
void sweep_start(struct sweep *sweep, const uint8_t *bytes, uint32_t size, uint64_t address,
                 uint64_t *bits, struct sweep_site *sites, size_t max);

/*
 * Decode [offset, offset + size) of the bytes, which is executable. Call it for ascending ranges.
 * `symbols` may be NULL.
 */
void sweep_range(struct sweep *sweep, size_t offset, size_t size,
                 const struct sweep_symbols *symbols);

/* After the last range (and targets_of_data, if at all): decide which of the sites are proven. */
void sweep_prove(struct sweep *sweep);

/*
 * All in one for one piece of code: stores up to `max` sites in ascending order and their number
 * in *count. Returns 0, -ENOSPC if there are more (*count tells how many), -ENOMEM or -E2BIG.
 */
int sweep_find(const uint8_t *code, size_t size, uint64_t address,
               const struct sweep_symbols *symbols, struct sweep_site *sites, size_t max,
               size_t *count);

/* What an instruction is to the sweep. */
enum sweep_kind sweep_classify(const struct decode_insn *insn);

/* True for kinds that need not be patched, because they fault at CPL 3. */
static inline bool sweep_traps(enum sweep_kind kind)
{
    return kind == SWEEP_CLI || kind == SWEEP_STI || kind == SWEEP_IN || kind == SWEEP_OUT;
}

static inline bool sweep_bit(const uint64_t *bits, size_t index)
{
    return bits[index / 64] >> (index % 64) & 1;
}

static inline void sweep_set_bit(uint64_t *bits, size_t index)
{
    bits[index / 64] |= UINT64_C(1) << (index % 64);
}

#endif
