/*
 * The crash report of a VM.
 */
#include "vm/vm.h"

const char *vm_report_crash(struct uhyve_vm *vm)
{
    const struct vm_crash *crash = &vm->crash;

    text_printf(&vm->report, "the guest crashed on CPU %u: %s", crash->vcpu, crash->cause);
    return vm->report.failed ? crash->cause : vm->report.data;
}
