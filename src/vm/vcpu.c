/*
 * vCPUs and their threads: vCPU 0 belongs to the thread that called uhyve_run, every other one has
 * a thread of its own.
 *
 * A guest with one CPU needs no further thread: nothing has to be woken between the start of the
 * program and the first guest instruction. The other threads create their vCPUs while the caller
 * loads the kernel and wait to be released.
 *
 * Stopping never misses a vCPU. `stopping` is set and stop_fd becomes readable first. Then the vCPU
 * is kicked, which makes the accelerator leave the guest even if the signal arrives just before it
 * enters; waits for slow files poll stop_fd. Any other host call can only be interrupted while it
 * waits, so threads of this file repeat the kick until the vCPU has left its loop. uhyve_stop kicks
 * vCPU 0 once: it may be running in a signal handler of that very thread.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "util/error.h"
#include "util/thread.h"
#include "vm/vm.h"

#define KICK_INTERVAL_NS 5000000
#define KICK_FIRST_NS    50000 /* a vCPU in the guest is out within some ten microseconds */

const struct sandbox_call vcpu_calls[] = {
    SANDBOX_CALL(write),             /* stop_fd */
    SANDBOX_CALL(sched_setaffinity), /* --affinity; for any thread of this user's */
    SANDBOX_END,
};

/* Pin the calling thread to the host CPU of this vCPU. Only an optimisation, so failure is no more
 * than a warning. */
static void pin(const struct vcpu *vcpu)
{
    unsigned host_cpu = vcpu->vm->params.affinity[vcpu->index];
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

/* Create the vCPU in its start state. */
static int prepare(struct vcpu *vcpu, struct uhyve_error *error)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct x86_state state;

    if (vm->params.affinity_count)
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

/* Run the guest on the calling thread until the VM stops. */
static void run(struct vcpu *vcpu)
{
    uint64_t start = vm_now();

    if (vcpu->index == 0)
        atomic_store(&vcpu->vm->first_at, start);
    atomic_store(&vcpu->running_tid, (int)syscall(SYS_gettid));
    vcpu_run_guest(vcpu);
    vcpu_keep_core(vcpu);
    pause_ended(vcpu);
    atomic_store(&vcpu->running_tid, 0);
    atomic_store(&vcpu->run_ns, vm_now() - start);
}

/* Async-signal-safe: see uhyve_stop. A stale thread id can at worst interrupt a system call
 * somewhere. */
void vcpu_kick(struct vcpu *vcpu)
{
    int tid = atomic_load(&vcpu->running_tid);

    if (!tid)
        return;
    vcpu->vm->accel->vcpu_kick(vcpu->accel);
    syscall(SYS_tgkill, getpid(), tid, ACCEL_KICK_SIGNAL);
}

/* Tell the caller's thread how the preparation went; true if the guest is to run. */
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
    bool go = vm->phase == VM_RUNNING;
    pthread_mutex_unlock(&vm->lock);
    return go;
}

/* The VM stops: see to it that this vCPU leaves its loop. */
static void drive_out(struct vcpu *vcpu)
{
    for (long wait = KICK_FIRST_NS; atomic_load(&vcpu->running_tid);
         wait = wait * 2 < KICK_INTERVAL_NS ? wait * 2 : KICK_INTERVAL_NS) {
        vcpu_kick(vcpu);
        nanosleep(&(struct timespec){.tv_nsec = wait}, NULL);
    }
}

static void *vcpu_thread(void *argument)
{
    struct vcpu *vcpu = argument;
    struct uhyve_error error = {0};
    int err = prepare(vcpu, &error);

    if (report_ready(vcpu, err, &error)) {
        run(vcpu);
        drive_out(&vcpu->vm->vcpus[0]); /* it is on the thread that joins this one */
    }
    return NULL;
}

static void ignore_signal(int signal)
{
}

/* A signal interrupts a system call only if it has a handler, which need not do anything. */
static void install_kick_handler(void)
{
    const struct sigaction action = {.sa_handler = ignore_signal};
    sigaction(ACCEL_KICK_SIGNAL, &action, NULL);
}

int vcpus_start(struct uhyve_vm *vm, struct uhyve_error *error)
{
    int err = 0;

    install_kick_handler();
    for (unsigned i = 1; i < vm->params.cpu_count && !err; i++) {
        struct vcpu *vcpu = &vm->vcpus[i];
        err = thread_start(&vcpu->thread, vcpu_thread, vcpu, ACCEL_KICK_SIGNAL);
        vcpu->has_thread = err == 0;
    }
    if (err)
        return error_set(
            error, UHYVE_STATUS_FAILED, -err,
            "cannot start the threads of %u virtual CPUs: %s (use a smaller -c, or " THREAD_REMEDY
            ")",
            vm->params.cpu_count, strerror(-err));
    return 0;
}

int vcpus_create_first(struct uhyve_vm *vm, struct uhyve_error *error)
{
    vm->caller_pinned = vm->params.affinity_count &&
                        pthread_getaffinity_np(pthread_self(), sizeof vm->caller_cpus,
                                               &vm->caller_cpus) == 0;
    return prepare(&vm->vcpus[0], error);
}

int vcpus_wait_ready(struct uhyve_vm *vm, struct uhyve_error *error)
{
    pthread_mutex_lock(&vm->lock);
    while (vm->vcpus_ready < vm->params.cpu_count - 1 && !vm->vcpu_error)
        pthread_cond_wait(&vm->changed, &vm->lock);
    int err = vm->vcpu_error;
    if (err && error)
        *error = vm->vcpu_message;
    pthread_mutex_unlock(&vm->lock);
    return err;
}

static void release(struct uhyve_vm *vm, enum vm_phase phase)
{
    pthread_mutex_lock(&vm->lock);
    vm->phase = phase;
    pthread_cond_broadcast(&vm->changed);
    pthread_mutex_unlock(&vm->lock);
}

static void join_others(struct uhyve_vm *vm)
{
    for (unsigned i = 1; i < vm->params.cpu_count; i++)
        vcpu_kick(&vm->vcpus[i]);
    for (unsigned i = 1; i < vm->params.cpu_count; i++) {
        struct vcpu *vcpu = &vm->vcpus[i];
        if (!vcpu->has_thread)
            continue;
        drive_out(vcpu);
        pthread_join(vcpu->thread, NULL);
        vcpu->has_thread = false;
    }
    /* Threads that the caller starts later would inherit the pinning of CPU 0. */
    if (vm->caller_pinned)
        pthread_setaffinity_np(pthread_self(), sizeof vm->caller_cpus, &vm->caller_cpus);
}

void vcpus_abort(struct uhyve_vm *vm)
{
    release(vm, VM_ABORTED);
    join_others(vm);
}

void vcpus_run(struct uhyve_vm *vm)
{
    sigset_t kick, old;

    /* On the caller's thread, too, kicks must get through. */
    sigemptyset(&kick);
    sigaddset(&kick, ACCEL_KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &kick, &old);
    release(vm, VM_RUNNING);
    run(&vm->vcpus[0]);
    join_others(vm);
    console_flush(vm->console);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}
