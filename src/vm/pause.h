/*
 * Stopping the vCPUs of a VM and letting them go on, for a debugger.
 *
 * A vCPU leaves the guest when it is kicked, and parks: its thread waits until it is released, or
 * until the VM stops (stop_fd), and on request works on its vCPU meanwhile, because an accelerator
 * takes calls for a vCPU from that thread only. Whether it may enter the guest is decided in one
 * place, pause_enter, before each run.
 *
 * A vCPU that is in a host call (it waits for input, say) cannot park. It is outside the guest, and
 * pause_enter will keep it there: it counts as stopped, with the registers it had when the call
 * began, and nothing can be changed in it. One lock guards everything.
 *
 * All of it does nothing in a VM without a debugger, whose vm->pause is NULL.
 */
#ifndef VM_PAUSE_H
#define VM_PAUSE_H

#include "accel/accel.h"
#include "debug/gdb/machine.h"

struct pause;
struct uhyve_vm;
struct vcpu;

enum pause_event_kind {
    PAUSE_NOTHING,
    PAUSE_DEBUG, /* what the accelerator reports */
    PAUSE_CRASH, /* the guest cannot go on */
};

struct pause_event {
    enum pause_event_kind kind;
    enum accel_debug_event debug;
    unsigned slot;
    enum gdb_signal signal; /* PAUSE_CRASH */
};

/*
 * Every vCPU starts held: none executes an instruction before pause_resume. `notify_fd` is an
 * eventfd of the caller that is written to when a vCPU has an event. Returns 0 or -errno.
 */
int pause_create(struct uhyve_vm *vm, int notify_fd);
void pause_destroy(struct uhyve_vm *vm);

/* On the vCPU's thread. */

/* Before each run: false if the VM stops and there is to be none. */
bool pause_enter(struct vcpu *vcpu);
/* After each run, with its exit. */
void pause_left(struct vcpu *vcpu, const struct accel_exit *exit);
/* An ACCEL_EXIT_DEBUG. */
void pause_debug(struct vcpu *vcpu, const struct accel_exit *exit);
/* The guest has crashed: with a debugger attached wait, so that its user can look. `state`, if not
 * NULL, is shown as the vCPU's registers. */
void pause_crashed(struct vcpu *vcpu, enum gdb_signal signal, const struct x86_state *state);
/* The guest wants to end, which must not happen behind the back of a debugger that has stopped it.
 */
void pause_before_end(struct vcpu *vcpu);
/* The thread is done with its vCPU. */
void pause_ended(struct vcpu *vcpu);

/* On the debugger's thread. */

/* Whether events and crashes are waited for; without a debugger the guest is on its own. */
void pause_attach(struct uhyve_vm *vm, bool attached);
/* Return when no vCPU executes guest code any more. */
void pause_all(struct uhyve_vm *vm);
/* Let vCPUs run; cpu_count actions. Held ones stay as they are. */
void pause_resume(struct uhyve_vm *vm, const struct gdb_action *actions);
/* This vCPU's breakpoint instruction is the guest's own: let it handle it and go on, unless
 * everything is held. */
void pause_pass_breakpoint(struct uhyve_vm *vm, unsigned cpu);

/* Look at, or take, what a vCPU stopped for. */
struct pause_event pause_peek(struct uhyve_vm *vm, unsigned cpu);
void pause_forget(struct uhyve_vm *vm, unsigned cpu);

/* The following are for stopped vCPUs; 0 or -errno. -EBUSY: in a host call. */
int pause_get_state(struct uhyve_vm *vm, unsigned cpu, struct x86_state *state);
int pause_set_state(struct uhyve_vm *vm, unsigned cpu, const struct x86_state *state);
int pause_get_xsave(struct uhyve_vm *vm, unsigned cpu, void *area, size_t size);
int pause_set_xsave(struct uhyve_vm *vm, unsigned cpu, const void *area, size_t size);
/* For all vCPUs; takes effect with the next pause_resume. */
int pause_set_hardware(struct uhyve_vm *vm, const struct accel_hardware_breakpoint *slots);

#endif
