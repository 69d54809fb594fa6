/*
 * What the VMM needs while a guest runs, collected for the sandbox (sandbox/sandbox.h has the
 * theory): which system calls, which files.
 */
#include "console/sink.h"
#include "hypercall/hypercall.h"
#include "sandbox/sandbox.h"
#include "vm/vm.h"

/*
 * The system calls of each module, and when it makes them. A module that makes system calls while a
 * guest runs lists them in its own source file and has a line here; what the C library does for
 * everyone (sandbox/runtime.c) is always permitted.
 */
static const struct {
    const struct sandbox_call *calls;
    bool (*needed)(const struct uhyve_vm *vm); /* NULL: in every run */
} call_lists[] = {
    {vcpu_calls, NULL},
    {image_calls, NULL},
    {sink_calls, NULL},
    {hypercall_file_calls, NULL},
};

#define CALL_LISTS (sizeof call_lists / sizeof *call_lists)

int vm_isolate(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct uhyve_params *params = &vm->params;
    const struct sandbox_call *calls[CALL_LISTS + 2];
    struct sandbox sandbox = {
        .isolation = params->isolation,
        .filter = params->filter_calls,
        .change_user = params->change_user,
        .uid = params->uid,
        .gid = params->gid,
        .calls = calls,
        .peer = vm->accel->vm_process ? vm->accel->vm_process(vm->machine) : 0,
    };

    for (size_t i = 0; i < CALL_LISTS; i++)
        if (!call_lists[i].needed || call_lists[i].needed(vm))
            calls[sandbox.call_list_count++] = call_lists[i].calls;
    calls[sandbox.call_list_count++] = vm->accel->calls;
    if (vm->devices.net)
        calls[sandbox.call_list_count++] = virtio_net_calls(vm->devices.net);
    sandbox.files.signal_others = sandbox.peer != 0;
    return sandbox_enter(&sandbox, &vm->log, error);
}
