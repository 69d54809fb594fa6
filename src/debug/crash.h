/*
 * The report about a guest that crashed, or that ended itself after a panic: what happened, the
 * registers, the code around RIP, who called it, the page tables of the address in question, the
 * last hypercalls and the last lines of the log (spec/debug.md section 9).
 *
 * For the thread that stopped the vCPU, while it is stopped; bounded work whatever the guest's
 * state is.
 */
#ifndef DEBUG_CRASH_H
#define DEBUG_CRASH_H

#include "arch/x86_64/state.h"
#include "debug/guest_view.h"
#include "debug/panic.h"
#include "hypercall/record.h"

struct disassembler;

/* What is NULL is left out. */
struct crash {
    const char *cause; /* one sentence */
    unsigned vcpu;     /* index */
    /* False if the state no longer tells where the guest was: AMD processors reset the CPU when
     * they report a triple fault. */
    bool registers_valid;
    const struct x86_state *state;
    const struct guest_view *view;

    bool exited;               /* the guest ended itself: its registers are those of that call */
    const struct panic *panic; /* what its log says */
    bool has_address;          /* the address whose access failed is known */
    gva_t address;
    const struct ram *ram; /* for page tables */
    const struct disassembler *disassembler;
    const struct call_history *history;
    const char *log; /* terminated */
};

/* Add the report to `text`, the cause as its first line. */
void crash_report(const struct crash *crash, struct text *text);

#endif
