/*
 * Who called whom on a stopped x86_64 vCPU, as well as its stack tells.
 *
 * Pure function of the guest's state; bounded work whatever the guest left on its stack.
 */
#ifndef DEBUG_BACKTRACE_H
#define DEBUG_BACKTRACE_H

#include "arch/x86_64/state.h"
#include "debug/guest_view.h"

enum frame_origin {
    FRAME_RIP,     /* where the vCPU is */
    FRAME_TABLE,   /* return address that the image's unwind tables tell */
    FRAME_POINTER, /* return address from the chain of frame pointers */
    FRAME_GUESS,   /* a value on the stack that could be a return address */
};

struct frame {
    enum frame_origin origin;
    gva_t address; /* RIP, or the return address */
    gva_t slot;    /* where on the stack it was found; 0 for FRAME_RIP */
    bool earlier;  /* on the stack that was in use before the current one */
};

#define BACKTRACE_MAX        64 /* frames of each origin */
#define BACKTRACE_FRAMES     (2 + 5 * BACKTRACE_MAX)
#define BACKTRACE_SCAN_BYTES 4096  /* of the stack, from RSP upward */
#define BACKTRACE_SCAN_OTHER 32768 /* of the stack before it */

/*
 * Fill `frames` and return their number, at least 1: RIP, the callers as far as the image has
 * unwind tables for them, and from there on in ascending order of their slots, which is innermost
 * caller first,
 * - the frame pointer chain from RBP, which ends where it does not go upward, is misaligned or
 *   unmapped, or where a return address is not in the kernel's code, and
 * - because most kernels are built without frame pointers, whatever else on the stack is in the
 *   kernel's code and follows a call instruction;
 * then, since kernels run system calls on a stack of their own, what can be found on the stack of
 * the application: its pointer is in a register that the kernel's functions save.
 */
size_t backtrace_walk(const struct guest_view *view, const struct x86_state *state,
                      struct frame frames[BACKTRACE_FRAMES]);

/* Add " at FILE:LINE", where the frame is in the source, if the image tells. */
void backtrace_add_place(const struct guest_view *view, const struct frame *frame,
                         struct text *text);

/* Add one line for each frame; guesses have a question mark for a number. */
void backtrace_format(const struct guest_view *view, const struct frame *frames, size_t count,
                      struct text *text);

#endif
