/*
 * The core file of a guest that crashed or panicked. Each vCPU's thread keeps its registers when it
 * leaves its loop; the file is written when all have ended.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "debug/core_dump.h"
#include "util/error.h"
#include "vm/vm.h"

#define XSAVE_MAX 16384 /* with all that there is today 11,008 */

struct vcpu_core {
    bool valid;
    struct x86_state state;
    size_t xsave_size;
    _Alignas(64) uint8_t xsave[XSAVE_MAX];
};

void vcpu_keep_core(struct vcpu *vcpu)
{
    const struct accel *accel = vcpu->vm->accel;

    if (vcpu->vm->params.crash_dump_fd < 0 || vcpu->core)
        return;
    vcpu->core = aligned_alloc(64, sizeof *vcpu->core);
    if (!vcpu->core)
        return;
    vcpu->core->valid = accel->vcpu_get_state(vcpu->accel, &vcpu->core->state) == 0;
    int size = vcpu->core->valid && accel->vcpu_get_xsave
                   ? accel->vcpu_get_xsave(vcpu->accel, vcpu->core->xsave, XSAVE_MAX)
                   : 0;
    vcpu->core->xsave_size = size > 0 ? (size_t)size : 0;
}

static void original_code(void *context, gpa_t gpa, void *copy, size_t size)
{
    struct uhyve_vm *vm = context;
    if (vm->accel->vm_original_code)
        vm->accel->vm_original_code(vm->machine, gpa, copy, size);
}

/* What a program of Linux would have ended with. */
static int signal_of(const struct uhyve_vm *vm)
{
    static const struct {
        const char *cause;
        int signal;
    } signals[] = {{"invalid opcode", SIGILL}, {"divide error", SIGFPE}, {"breakpoint", SIGTRAP}};

    if (vm->outcome != UHYVE_CRASHED)
        return SIGABRT;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strstr(vm->crash.cause, signals[i].cause))
            return signals[i].signal;
    return SIGSEGV;
}

/* The vCPU that ended the guest comes first, with the registers its report shows. */
static size_t collect(struct uhyve_vm *vm, struct core_cpu *cpus)
{
    size_t count = 0;

    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        unsigned index = (vm->crash.vcpu + i) % vm->params.cpu_count;
        const struct vcpu_core *core = vm->vcpus[index].core;
        if (!core || !core->valid)
            continue;
        cpus[count++] = (struct core_cpu){
            .index = index,
            .state = i == 0 && vm->crash.state_valid ? &vm->crash.state : &core->state,
            .xsave = core->xsave_size ? core->xsave : NULL,
            .xsave_size = core->xsave_size,
        };
    }
    return count;
}

void vm_dump_core(struct uhyve_vm *vm)
{
    int err = -ENOMEM;

    if (vm->params.crash_dump_fd < 0)
        return;
    struct core_cpu *cpus = calloc(vm->params.cpu_count, sizeof *cpus);
    size_t count = cpus ? collect(vm, cpus) : 0;
    const char *slash = strrchr(vm->params.image, '/');
    const struct core_dump dump = {
        .ram = &vm->ram,
        .cpus = cpus,
        .cpu_count = count,
        .signal = signal_of(vm),
        .name = slash ? slash + 1 : vm->params.image,
        .entry = vm->elf.entry + (vm->elf.relocatable ? vm->layout.kernel_start : 0),
        .original = original_code,
        .context = vm,
    };
    if (count)
        err = core_dump_write(&dump, vm->params.crash_dump_fd);
    if (err)
        log_warn(&vm->log, "the crash dump could not be written: %s (%s)", strerror(-err),
                 error_remedy(-err, "check where it goes"));
    free(cpus);
}
