/*
 * The report about a guest that crashed: what happened, the registers, the code around RIP and who
 * called it (spec/debug.md section 9).
 *
 * For the thread that stopped the vCPU, while it is stopped; bounded work whatever the guest's
 * state is.
 */
#ifndef DEBUG_CRASH_H
#define DEBUG_CRASH_H

#include "arch/x86_64/state.h"
#include "debug/guest_view.h"

struct crash {
    const char *cause; /* one sentence */
    unsigned vcpu;     /* index */
    /* False if the state no longer tells where the guest was: AMD processors reset the CPU when
     * they report a triple fault. */
    bool registers_valid;
    const struct x86_state *state;
    const struct guest_view *view;
};

/* Add the report to `text`, the cause as its first line. */
void crash_report(const struct crash *crash, struct text *text);

#endif
