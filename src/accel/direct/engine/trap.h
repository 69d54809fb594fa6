/*
 * The signal handler: from a trap of the guest back into the guest.
 */
#ifndef ENGINE_TRAP_H
#define ENGINE_TRAP_H

#include "accel/direct/engine/interrupt.h"

struct siginfo;
struct ucontext;

/* Called from entry.S on the thread's alternate stack with all signals blocked. */
void trap_handle(int signal, struct siginfo *info, struct ucontext *context);

/* Deliver an exception or interrupt; a triple fault goes to the VMM. */
void trap_deliver(struct cpu *cpu, const struct fault *fault, enum interrupt_source source);

#endif
