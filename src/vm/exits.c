/*
 * What a guest does that needs the VMM: the exits of its vCPUs, on the thread that runs the vCPU.
 */
#include <stdio.h>
#include <string.h>

#include "vm/vm.h"

/* Where a kernel looks for tables of the firmware, word by word: 17,408 reads at every boot with
 * several CPUs. */
#define BIOS_AREA_START 0x9f000
#define BIOS_AREA_END   0x100000

static void count(struct vcpu *vcpu, unsigned counter)
{
    /* One writer, so no atomic addition is needed. */
    uint64_t value = atomic_load_explicit(&vcpu->count[counter], memory_order_relaxed);
    atomic_store_explicit(&vcpu->count[counter], value + 1, memory_order_relaxed);
}

static void count_other(struct vcpu *vcpu, enum vcpu_counter counter)
{
    count(vcpu, COUNT_HYPERCALLS_MAX + counter);
}

static void log_unknown(struct vcpu *vcpu, const char *what, uint64_t address)
{
    bool last;
    if (log_limit_pass(&vcpu->vm->unknown_access, &last))
        log_info(&vcpu->vm->log, "CPU %u: %s 0x%llx is ignored%s", vcpu->index, what,
                 (unsigned long long)address, last ? " (further ones are not reported)" : "");
}

static bool read_page_tables(void *context, uint64_t *cr3)
{
    struct vcpu *vcpu = context;
    struct x86_state state;

    if (vcpu->vm->accel->vcpu_get_state(vcpu->accel, &state) != 0)
        return false;
    *cr3 = state.cr3;
    return true;
}

static void end_in_crash(struct vcpu *vcpu, struct vm_crash *crash)
{
    crash->vcpu = vcpu->index;
    console_flush(vcpu->vm->console);
    pause_crashed(vcpu, crash->signal, crash->state_valid ? &crash->state : NULL);
    vm_end(vcpu->vm, UHYVE_CRASHED, 0, crash);
}

/* If it failed, where it was then may tell why. */
static void end_on_exit(struct vcpu *vcpu, int exit_code)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct vm_crash crash = {.vcpu = vcpu->index};

    /* While a slow reader can still be waited for. */
    console_flush(vm->console);
    if (exit_code != 0)
        crash.state_valid = vm->accel->vcpu_get_state(vcpu->accel, &crash.state) == 0;
    pause_before_end(vcpu);
    vm_end(vm, UHYVE_EXITED, exit_code, &crash);
}

static void end_on_shutdown(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct vm_crash crash = {.signal = GDB_SIGSEGV};

    snprintf(crash.cause, sizeof crash.cause,
             "triple fault: an exception occurred while the guest could not handle one");
    crash.state_valid = !exit->state_lost &&
                        vcpu->vm->accel->vcpu_get_state(vcpu->accel, &crash.state) == 0;
    end_in_crash(vcpu, &crash);
}

static void end_on_failure(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct vm_crash crash = {.signal = GDB_SIGABRT};

    snprintf(crash.cause, sizeof crash.cause, "%s", exit->reason);
    crash.state_valid = vcpu->vm->accel->vcpu_get_state(vcpu->accel, &crash.state) == 0;
    end_in_crash(vcpu, &crash);
}

/* The signal by which debuggers know an exception. */
static enum gdb_signal exception_signal(unsigned vector)
{
    switch (vector) {
    case X86_VECTOR_DIVIDE_ERROR:
    case X86_VECTOR_X87:
    case X86_VECTOR_SIMD:
        return GDB_SIGFPE;
    case X86_VECTOR_DEBUG:
    case X86_VECTOR_BREAKPOINT:
        return GDB_SIGTRAP;
    case X86_VECTOR_INVALID_OPCODE:
        return GDB_SIGILL;
    case X86_VECTOR_ALIGNMENT:
        return GDB_SIGBUS;
    default:
        return GDB_SIGSEGV;
    }
}

/* An exception before the kernel had handlers of its own. False if the port was written to by
 * somebody else. */
static bool end_on_exception(struct vcpu *vcpu)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct vm_crash crash = {.state_valid = true};
    struct x86_exception exception;
    char detail[120] = "";

    int err = vm->accel->vcpu_get_state(vcpu->accel, &crash.state);
    if (err) {
        /* Whoever wrote to the port does not expect to go on. */
        crash.state_valid = false;
        crash.signal = GDB_SIGABRT;
        snprintf(crash.cause, sizeof crash.cause,
                 "an exception, perhaps, but the registers of the CPU cannot be read: %s",
                 strerror(-err));
        end_in_crash(vcpu, &crash);
        return true;
    }
    if (!x86_boot_exception(&vm->ram, &vm->layout, &crash.state, &exception))
        return false;
    if (exception.vector == X86_VECTOR_PAGE_FAULT) {
        snprintf(detail, sizeof detail, " at address 0x%llx, error code 0x%llx (%s%s)",
                 (unsigned long long)crash.state.cr2, (unsigned long long)exception.error_code,
                 exception.error_code & 16  ? "instruction fetch"
                 : exception.error_code & 2 ? "write"
                                            : "read",
                 exception.error_code & 8   ? ", reserved bit set"
                 : exception.error_code & 1 ? ", not permitted"
                                            : ", not mapped");
        crash.has_address = true;
        crash.address = crash.state.cr2;
    } else if (exception.has_error_code)
        snprintf(detail, sizeof detail, ", error code 0x%llx",
                 (unsigned long long)exception.error_code);
    snprintf(crash.cause, sizeof crash.cause,
             "%s (exception %u)%s, before the kernel had set up its exception handlers",
             x86_exception_name(exception.vector), exception.vector, detail);
    crash.signal = exception_signal(exception.vector);
    end_in_crash(vcpu, &crash);
    return true;
}

static void handle_io(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct uhyve_vm *vm = vcpu->vm;
    size_t bytes = (size_t)exit->io.size * exit->io.count;

    if (exit->io.in) {
        /* Nothing is behind any port but a PCI bus's: reads float high. That also answers a scan
         * for PCI devices where there are none. */
        if (!vm_device_io(vm, exit))
            memset(exit->io.data, 0xff, bytes);
        count_other(vcpu, COUNT_IO_READ);
        return;
    }
    const struct hypercall *call = hypercall_find(exit->io.port);
    if (call) {
        const struct hypercall_caller caller = {read_page_tables, vcpu};
        const struct hypercall_write write = {exit->io.size, exit->io.count, exit->io.data,
                                              exit->io.rdi};
        int exit_code = 0;
        count(vcpu, hypercall_number(call));
        if (vcpu_call(vcpu, call, exit->io.port, &caller, &write, &exit_code) == HYPERCALL_EXIT) {
            end_on_exit(vcpu, exit_code);
        }
        return;
    }
    count_other(vcpu, exit->queued ? COUNT_IO_QUEUED : COUNT_IO_WRITE);
    if (exit->io.port == X86_EXCEPTION_PORT && end_on_exception(vcpu))
        return;
    if (!vm_device_io(vm, exit) && !exit->queued)
        log_unknown(vcpu, "a write to I/O port", exit->io.port);
}

/* There is no firmware. The first read of its area gets that answer here, the others need not leave
 * the guest. */
static bool read_bios_area(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct uhyve_vm *vm = vcpu->vm;
    gpa_t gpa = exit->mmio.gpa;

    if (exit->mmio.write || gpa < BIOS_AREA_START || gpa >= BIOS_AREA_END)
        return false;
    memset(exit->mmio.data, 0, exit->mmio.size);
    if (!atomic_exchange(&vm->bios_area_mapped, true) && vm->accel->vm_map_zeros)
        vm->accel->vm_map_zeros(vm->machine, BIOS_AREA_START, BIOS_AREA_END - BIOS_AREA_START);
    return true;
}

static void handle_mmio(struct vcpu *vcpu, const struct accel_exit *exit)
{
    count_other(vcpu, exit->mmio.write ? COUNT_MMIO_WRITE : COUNT_MMIO_READ);
    if (read_bios_area(vcpu, exit) || vm_device_memory(vcpu->vm, exit))
        return;
    if (!exit->mmio.write)
        memset(exit->mmio.data, 0xff, exit->mmio.size);
    log_unknown(vcpu,
                exit->mmio.write ? "a write without memory behind it, at"
                                 : "a read without memory behind it, at",
                exit->mmio.gpa);
}

/* The profiler disturbs a vCPU only while it is in the guest. */
static void enter_guest(struct vcpu *vcpu, struct accel_exit *exit)
{
    struct uhyve_vm *vm = vcpu->vm;

    if (vm->profile)
        atomic_store(&vcpu->in_guest, true);
    vm->accel->vcpu_run(vcpu->accel, exit);
    if (vm->profile)
        atomic_store(&vcpu->in_guest, false);
}

void vcpu_run_guest(struct vcpu *vcpu)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct accel_exit exit = {0};

    while (vm->pause ? pause_enter(vcpu) : !atomic_load(&vm->stopping)) {
        enter_guest(vcpu, &exit);
        if (vm->pause)
            pause_left(vcpu, &exit);
        switch (exit.kind) {
        case ACCEL_EXIT_IO:
            handle_io(vcpu, &exit);
            break;
        case ACCEL_EXIT_MMIO:
            handle_mmio(vcpu, &exit);
            break;
        case ACCEL_EXIT_HALT:
            count_other(vcpu, COUNT_HALT);
            break;
        case ACCEL_EXIT_INTERRUPTED:
            count_other(vcpu, COUNT_INTERRUPTED);
            break;
        case ACCEL_EXIT_DEBUG: /* only where a debugger asked for something */
            pause_debug(vcpu, &exit);
            break;
        case ACCEL_EXIT_SHUTDOWN:
            count_other(vcpu, COUNT_SHUTDOWN);
            end_on_shutdown(vcpu, &exit);
            return;
        case ACCEL_EXIT_FAILED:
            end_on_failure(vcpu, &exit);
            return;
        }
        if (vm->profile)
            vcpu_profile(vcpu, &exit);
    }
}
