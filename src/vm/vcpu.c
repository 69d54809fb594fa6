/*
 * The vCPU threads: one host thread for each virtual CPU.
 *
 * A thread creates its vCPU while the main thread loads the kernel, waits to be released, and then
 * runs the guest until the VM stops. Stopping never misses a thread: `stopping` is set and stop_fd
 * becomes readable first; then every thread is kicked, which makes the accelerator leave the guest
 * even if the signal arrives just before it enters; waits for slow files poll stop_fd; and because
 * other blocking host calls can only be interrupted while they wait, the kick is repeated until the
 * thread has ended.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "util/error.h"
#include "vm/vm.h"

#define KICK_INTERVAL_NS 5000000

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
    vm_end(vcpu->vm, UHYVE_CRASHED, 0, crash);
}

static void end_on_shutdown(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct vm_crash crash = {0};

    snprintf(crash.cause, sizeof crash.cause,
             "triple fault: an exception occurred while the guest could not handle one");
    crash.state_valid = !exit->state_lost &&
                        vcpu->vm->accel->vcpu_get_state(vcpu->accel, &crash.state) == 0;
    end_in_crash(vcpu, &crash);
}

static void end_on_failure(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct vm_crash crash = {0};

    snprintf(crash.cause, sizeof crash.cause, "%s", exit->reason);
    crash.state_valid = vcpu->vm->accel->vcpu_get_state(vcpu->accel, &crash.state) == 0;
    end_in_crash(vcpu, &crash);
}

/* An exception before the kernel had handlers of its own. False if the port was written to by
 * somebody else. */
static bool end_on_exception(struct vcpu *vcpu)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct vm_crash crash = {.state_valid = true};
    struct x86_exception exception;
    char detail[80] = "";

    if (vm->accel->vcpu_get_state(vcpu->accel, &crash.state) != 0 ||
        !x86_boot_exception(&vm->ram, &vm->layout, &crash.state, &exception))
        return false;
    if (exception.vector == X86_VECTOR_PAGE_FAULT)
        snprintf(detail, sizeof detail, " at address 0x%llx, error code 0x%llx",
                 (unsigned long long)crash.state.cr2, (unsigned long long)exception.error_code);
    else if (exception.has_error_code)
        snprintf(detail, sizeof detail, ", error code 0x%llx",
                 (unsigned long long)exception.error_code);
    snprintf(crash.cause, sizeof crash.cause,
             "%s (exception %u)%s, before the kernel had set up its exception handlers",
             x86_exception_name(exception.vector), exception.vector, detail);
    end_in_crash(vcpu, &crash);
    return true;
}

static void handle_io(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct uhyve_vm *vm = vcpu->vm;
    size_t bytes = (size_t)exit->io.size * exit->io.count;

    if (exit->io.in) {
        /* Nothing is behind any port: reads float high. That also answers a scan for PCI devices.
         */
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
        if (hypercall_run(call, &vm->hypercalls, &caller, &write, &exit_code) == HYPERCALL_EXIT)
            vm_end(vm, UHYVE_EXITED, exit_code, NULL);
        return;
    }
    count_other(vcpu, exit->queued ? COUNT_IO_QUEUED : COUNT_IO_WRITE);
    if (exit->io.port == X86_EXCEPTION_PORT && end_on_exception(vcpu))
        return;
    if (!exit->queued)
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
    if (read_bios_area(vcpu, exit))
        return;
    if (!exit->mmio.write)
        memset(exit->mmio.data, 0xff, exit->mmio.size);
    log_unknown(vcpu,
                exit->mmio.write ? "a write without memory behind it, at"
                                 : "a read without memory behind it, at",
                exit->mmio.gpa);
}

static void run_guest(struct vcpu *vcpu)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct accel_exit exit = {0};

    while (!atomic_load_explicit(&vm->stopping, memory_order_acquire)) {
        vm->accel->vcpu_run(vcpu->accel, &exit);
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
        case ACCEL_EXIT_SHUTDOWN:
            count_other(vcpu, COUNT_SHUTDOWN);
            end_on_shutdown(vcpu, &exit);
            return;
        case ACCEL_EXIT_FAILED:
            end_on_failure(vcpu, &exit);
            return;
        }
    }
}

static void pin(const struct vcpu *vcpu)
{
    const struct uhyve_params *params = &vcpu->vm->params;
    if (!params->affinity_count)
        return;
    unsigned host_cpu = params->affinity[vcpu->index];
    cpu_set_t *set = CPU_ALLOC(host_cpu + 1);
    size_t size = CPU_ALLOC_SIZE(host_cpu + 1);
    int err = ENOMEM;
    if (set) {
        CPU_ZERO_S(size, set);
        CPU_SET_S(host_cpu, size, set);
        err = pthread_setaffinity_np(pthread_self(), size, set);
        CPU_FREE(set);
    }
    if (err)
        log_warn(&vcpu->vm->log, "cannot pin CPU %u to host CPU %u: %s", vcpu->index, host_cpu,
                 strerror(err));
}

static int prepare(struct vcpu *vcpu, struct uhyve_error *error)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct x86_state state;

    pin(vcpu);
    int err = vm->accel->vcpu_create(vm->machine, vcpu->index, &vcpu->accel, error);
    if (err)
        return err;
    err = vm->accel->vcpu_get_state(vcpu->accel, &state);
    if (!err) {
        x86_boot_state(&state, &vm->layout, vcpu->index);
        err = vm->accel->vcpu_set_state(vcpu->accel, &state);
    }
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot set the registers of virtual CPU %u: %s", vcpu->index,
                         strerror(-err));
    return 0;
}

/* Tell the main thread how the preparation went; true if the guest is to run. */
static bool report_ready(struct vcpu *vcpu, int err, const struct uhyve_error *error)
{
    struct uhyve_vm *vm = vcpu->vm;

    pthread_mutex_lock(&vm->lock);
    if (err && !vm->vcpu_error) {
        vm->vcpu_error = err;
        vm->vcpu_message = *error;
    }
    vm->vcpus_ready++;
    pthread_cond_broadcast(&vm->changed);
    while (vm->phase == VM_PREPARING)
        pthread_cond_wait(&vm->changed, &vm->lock);
    bool run = vm->phase == VM_RUNNING;
    pthread_mutex_unlock(&vm->lock);
    return run;
}

static void *vcpu_thread(void *argument)
{
    struct vcpu *vcpu = argument;
    struct uhyve_error error = {0};
    int err = prepare(vcpu, &error);

    if (!report_ready(vcpu, err, &error))
        return NULL;
    uint64_t start = vm_now();
    if (vcpu->index == 0)
        atomic_store(&vcpu->vm->first_at, start);
    run_guest(vcpu);
    atomic_store(&vcpu->run_ns, vm_now() - start);
    return NULL;
}

static void ignore_signal(int signal)
{
}

/* Kicks interrupt a system call only if the signal has a handler; it need not do anything. */
static void install_kick_handler(void)
{
    struct sigaction action = {.sa_handler = ignore_signal};
    sigaction(ACCEL_KICK_SIGNAL, &action, NULL);
}

int vcpus_start(struct uhyve_vm *vm, struct uhyve_error *error)
{
    sigset_t all, old;
    int err = 0;

    install_kick_handler();
    /* The program's own signals are for its own threads. */
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigfillset(&all);
    sigdelset(&all, ACCEL_KICK_SIGNAL);
    for (size_t i = 0; i < sizeof own_faults / sizeof *own_faults; i++)
        sigdelset(&all, own_faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    for (unsigned i = 0; i < vm->params.cpu_count && !err; i++) {
        struct vcpu *vcpu = &vm->vcpus[i];
        err = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
        vcpu->started = err == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "cannot start the threads of %u virtual CPUs: %s (use a smaller -c, or "
                         "raise the limit on processes: ulimit -u)",
                         vm->params.cpu_count, strerror(err));
    return 0;
}

int vcpus_wait_ready(struct uhyve_vm *vm, struct uhyve_error *error)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->vcpus_ready < vm->params.cpu_count && !vm->vcpu_error)
        pthread_cond_wait(&vm->changed, &vm->lock);
    int err = vm->vcpu_error;
    if (err)
        *error = vm->vcpu_message;
    pthread_mutex_unlock(&vm->lock);
    return err;
}

void vcpus_release(struct uhyve_vm *vm, enum vm_phase phase)
{
    pthread_mutex_lock(&vm->lock);
    vm->phase = phase;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

static void kick(struct uhyve_vm *vm, struct vcpu *vcpu)
{
    if (vm->phase != VM_RUNNING)
        return; /* not in the guest, and about to end by itself */
    vm->accel->vcpu_kick(vcpu->accel);
    pthread_kill(vcpu->thread, ACCEL_KICK_SIGNAL);
}

static void join(struct uhyve_vm *vm, struct vcpu *vcpu)
{
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += KICK_INTERVAL_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (pthread_clockjoin_np(vcpu->thread, NULL, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
            return;
        kick(vm, vcpu);
    }
}

void vcpus_join(struct uhyve_vm *vm)
{
    for (unsigned i = 0; i < vm->params.cpu_count; i++)
        if (vm->vcpus[i].started)
            kick(vm, &vm->vcpus[i]);
    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        if (vm->vcpus[i].started)
            join(vm, &vm->vcpus[i]);
        vm->vcpus[i].started = false;
    }
}
