/*
 * Hypercalls of a vCPU, with a record of each for the call trace and the crash report. A build
 * without UHYVE_TRACE has neither.
 */
#include <errno.h>
#include <string.h>

#include "util/error.h"
#include "vm/vm.h"

#ifdef UHYVE_TRACE

enum hypercall_outcome vcpu_call(struct vcpu *vcpu, const struct hypercall *call, uint16_t port,
                                 const struct hypercall_caller *caller,
                                 const struct hypercall_write *write, int *exit_code)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct trace *trace = vm->trace;
    const struct call_detail detail = {.full = trace != NULL, .ram = &vm->ram, .caller = caller};

    if (trace)
        trace_call_begin(trace, vcpu->index, &vcpu->history, port);
    struct call_record *record = call_record_begin(&vcpu->history, port, write, &detail);
    enum hypercall_outcome outcome = hypercall_run(call, &vm->hypercalls, caller, write, exit_code);
    call_record_end(record, &detail);
    if (trace)
        trace_call_end(trace, vcpu->index, record);
    return outcome;
}

int vm_trace_open(struct uhyve_vm *vm, struct uhyve_error *error)
{
    if (!vm->params.trace)
        return 0;
    return trace_create(&vm->trace, vm->params.trace, vm->params.trace_fd, vm->stop_fd,
                        vm->created_at, vm->params.cpu_count, error);
}

void vm_trace_finish(struct uhyve_vm *vm)
{
    if (!vm->trace)
        return;
    trace_finish(vm->trace);
    if (trace_error(vm->trace))
        log_warn(&vm->log, "a part of the call trace is lost: %s (%s)",
                 strerror(trace_error(vm->trace)),
                 error_remedy(trace_error(vm->trace), "check where it goes"));
}

void vm_trace_close(struct uhyve_vm *vm)
{
    trace_destroy(vm->trace);
}

#else

enum hypercall_outcome vcpu_call(struct vcpu *vcpu, const struct hypercall *call, uint16_t port,
                                 const struct hypercall_caller *caller,
                                 const struct hypercall_write *write, int *exit_code)
{
    return hypercall_run(call, &vcpu->vm->hypercalls, caller, write, exit_code);
}

int vm_trace_open(struct uhyve_vm *vm, struct uhyve_error *error)
{
    if (!vm->params.trace)
        return 0;
    return error_set(error, UHYVE_STATUS_USAGE, ENOSYS,
                     "this build of uhyve cannot trace hypercalls (configure it with "
                     "-Dtrace=enabled)");
}

void vm_trace_finish(struct uhyve_vm *vm)
{
}

void vm_trace_close(struct uhyve_vm *vm)
{
}

#endif
