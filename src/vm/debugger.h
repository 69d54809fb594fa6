/*
 * The debug server of a VM (spec/debug.md): the thread that talks to GDB, and what a session
 * (debug/gdb/session.h) needs of the machine, on top of vm/pause.h.
 *
 * The thread waits for a client, stops the guest for it and starts a session; when that ends with a
 * detach or a lost connection the guest runs on and another client may come. A second client at the
 * same time is turned away.
 */
#ifndef VM_DEBUGGER_H
#define VM_DEBUGGER_H

#include "sandbox/calls.h"
#include "uhyve.h"

struct uhyve_vm;

extern const struct sandbox_call debugger_calls[];

/* If the parameters ask for a debugger: open its socket. Returns 0 or -errno with *error filled. */
int debugger_create(struct uhyve_vm *vm, struct uhyve_error *error);
/* The vCPUs are ready, and held. */
int debugger_start(struct uhyve_vm *vm, struct uhyve_error *error);
/* The vCPUs have ended: tell the client, and end the thread if there is one. */
void debugger_finish(struct uhyve_vm *vm);
void debugger_destroy(struct uhyve_vm *vm);

#endif
