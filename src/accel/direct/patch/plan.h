/*
 * Decides for a loaded image what is done about each sensitive instruction, and does it: leave it
 * (it traps anyway), replace its first byte by HLT (one byte, faults with #GP at CPL 3), or replace
 * it and its neighbours by a jump to a trampoline.
 *
 * A jump has five bytes, most instructions in question have one. What is overwritten is therefore a
 * piece of straight-line code around the site: forward as far as needed, else also backward, where
 *   - all boundaries are proven (sweep.h) and lie in one run;
 *   - no instruction but the first is a target of anything (targets.h);
 *   - all can be moved: no calls, nothing that traps or is sensitive itself.
 * Nothing may be executing the image meanwhile.
 *
 * Doubtful sites are left alone: a byte of data that changes its value is an error that nobody
 * finds, while an unpatched instruction can only mislead the guest that was built that way. They
 * are counted, for the log.
 *
 * Set-up code, for one thread. The caller owns the table (free it).
 */
#ifndef DIRECT_PATCH_PLAN_H
#define DIRECT_PATCH_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "accel/direct/patch/sweep.h"
#include "accel/direct/patch/table.h"
#include "accel/direct/patch/trampoline.h"
#include "uhyve.h"

/* Executable bytes. */
struct plan_range {
    size_t offset, size; /* from the start of the image */
};

/* A set of kinds; or them. */
#define PLAN_NATIVE(kind) (UINT32_C(1) << (kind))

/* An image in memory: loaded, relocated, not yet run. */
struct plan_image {
    uint8_t *bytes; /* patched in place */
    size_t size;
    uint64_t address;              /* of bytes[0] in the guest */
    const struct plan_range *code; /* ascending, not overlapping */
    size_t code_count;
    struct sweep_symbols symbols; /* addresses in the guest */
    uint32_t native;              /* kinds to leave alone: PLAN_NATIVE(SWEEP_EXTENDED) and so on */
};

/* Where trampolines go. `bytes` and `size` may be 0 if target.mode is TRAMPOLINE_NONE. */
struct plan_area {
    struct trampoline_target target;
    uint8_t *bytes;   /* where the host writes them */
    size_t size;      /* 64 bytes for each KiB of code are plenty; when full, traps are used */
    uint64_t address; /* where they are executed, within 2 GiB of the code */
};

struct plan_report {
    size_t sites;       /* found */
    size_t doubtful;    /* of these: not proven, left alone */
    size_t trampolines; /* pieces replaced by a jump */
    size_t replaced;    /* sites in them */
    size_t trapped;     /* sites whose first byte is a trap now */
    size_t untouched;   /* proven ones that trap by themselves, or may run natively */
};

/*
 * Plan and patch. Returns 0 and *table, for free(), or -errno with *error filled (only memory can
 * be lacking) and the image unchanged. `report` may be NULL.
 */
int plan_make(const struct plan_image *image, const struct plan_area *area,
              struct patch_table **table, struct plan_report *report, struct uhyve_error *error);

#endif
