/*
 * A vCPU from the VMM's side: its thread hands the turn to the engine's thread and waits for it to
 * come back. What the engine wrote is copied and checked before it is used.
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "accel/direct/direct.h"
#include "util/error.h"
#include "util/text.h"

/* How long the engine may take to react to a kick before it counts as taken over by the guest; and
 * the most that counts of one wait: the clock goes on while both are stopped, by Ctrl-Z for
 * instance. */
#define KICK_TIMEOUT_NS 2000000000
#define KICK_WAIT_NS    100000000

/* How long a side waits actively for its turn: the VMM's for less than waking up an idle host CPU
 * costs; the engine's for as long as copying a MiB to or from a file takes, or each such call of
 * the guest's would end with that wake-up, a fifth of its time. */
#define VMM_SPIN_US    50
#define ENGINE_SPIN_US 400

#define XSAVE_LEGACY_SIZE 576 /* with the header */

static struct spin spin_for(const struct accel_vm *vm, uint32_t microseconds)
{
    uint64_t ticks = vm->spins ? (uint64_t)microseconds * vm->header->tsc_khz / 1000 : 0;
    return (struct spin){.most = (uint32_t)ticks, .current = (uint32_t)ticks};
}

int direct_vcpu_create(struct accel_vm *vm, unsigned index, struct accel_vcpu **result,
                       struct uhyve_error *error)
{
    int err = vm_wait_ready(vm, error);
    if (err)
        return err;
    struct accel_vcpu *vcpu = calloc(1, sizeof *vcpu);
    if (!vcpu)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    *vcpu = (struct accel_vcpu){.vm = vm, .index = index, .shared = vm_shared_vcpu(vm, index)};
    vcpu->spin = spin_for(vm, VMM_SPIN_US);
    vcpu->shared->spin = spin_for(vm, ENGINE_SPIN_US);

    /* The engine's thread runs where this one may: --affinity. */
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        sched_setaffinity(vcpu->shared->tid, sizeof set, &set);
    pthread_mutex_lock(&vm->lock);
    vm->vcpus[index] = vcpu;
    pthread_mutex_unlock(&vm->lock);
    *result = vcpu;
    return 0;
}

void direct_vcpu_destroy(struct accel_vcpu *vcpu)
{
    debug_vcpu_gone(vcpu);
    free(vcpu);
}

void vcpu_notify(const struct accel_vm *vm, unsigned index, uint32_t pending)
{
    struct direct_vcpu *shared = vm_shared_vcpu(vm, index);

    __atomic_fetch_or(&shared->pending, pending, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&shared->sequence, 1, __ATOMIC_SEQ_CST);
    switch (__atomic_load_n(&shared->mode, __ATOMIC_SEQ_CST)) {
    case DIRECT_MODE_GUEST:
        process_signal(&vm->process, shared->tid, DIRECT_KICK_SIGNAL);
        break;
    case DIRECT_MODE_HALTED:
        syscall(SYS_futex, &shared->sequence, FUTEX_WAKE, 1, NULL);
        break;
    }
}

void direct_vcpu_kick(struct accel_vcpu *vcpu)
{
    atomic_store(&vcpu->kicked, true);
    vcpu_notify(vcpu->vm, vcpu->index, DIRECT_PENDING_KICK);
}

uint32_t direct_vcpu_tsc_khz(struct accel_vcpu *vcpu)
{
    return vcpu->vm->header->tsc_khz;
}

int direct_vcpu_get_state(struct accel_vcpu *vcpu, struct x86_state *state)
{
    *state = vcpu->shared->state;
    return 0;
}

int direct_vcpu_set_state(struct accel_vcpu *vcpu, const struct x86_state *state)
{
    /* A vCPU that waits in HLT does so no longer when it is sent elsewhere. */
    if (state->rip != vcpu->shared->state.rip)
        vcpu->shared->halted = false;
    vcpu->shared->state = *state;
    return 0;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool my_turn(const struct direct_vcpu *shared)
{
    return __atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE) == DIRECT_TURN_VMM;
}

/* Wait for the engine. False if it does not react to a kick. */
static bool wait_for_turn(struct accel_vcpu *vcpu)
{
    struct direct_vcpu *shared = vcpu->shared;
    uint32_t cpu;
    uint64_t start = spin_now(&cpu);
    uint32_t limit = spin_limit(&vcpu->spin, cpu, shared->engine_cpu);
    uint64_t waited = 0;

    while (__builtin_ia32_rdtsc() - start < limit) {
        if (my_turn(shared)) {
            spin_succeeded(&vcpu->spin);
            return true;
        }
        __builtin_ia32_pause();
    }
    while (!my_turn(shared)) {
        spin_failed(&vcpu->spin);
        if (waited > KICK_TIMEOUT_NS)
            return false;
        bool kicked = atomic_load(&vcpu->kicked);
        uint64_t before = kicked ? now_ns() : 0;
        const struct timespec timeout = {.tv_nsec = KICK_WAIT_NS};
        __atomic_store_n(&shared->vmm_sleeps, 1, __ATOMIC_SEQ_CST);
        if (!my_turn(shared))
            syscall(SYS_futex, &shared->turn, FUTEX_WAIT, DIRECT_TURN_ENGINE,
                    kicked ? &timeout : NULL);
        __atomic_store_n(&shared->vmm_sleeps, 0, __ATOMIC_RELAXED);
        if (kicked) {
            uint64_t passed = now_ns() - before;
            waited += passed < KICK_WAIT_NS ? passed : KICK_WAIT_NS;
        }
    }
    return true;
}

static void enter(struct accel_vcpu *vcpu)
{
    struct direct_vcpu *shared = vcpu->shared;

    spin_now(&shared->vmm_cpu);
    __atomic_store_n(&shared->turn, DIRECT_TURN_ENGINE, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&shared->engine_sleeps, __ATOMIC_SEQ_CST))
        syscall(SYS_futex, &shared->turn, FUTEX_WAKE, 1, NULL);
}

static bool is_power_of_two(uint32_t value, uint32_t most)
{
    return value && value <= most && !(value & (value - 1));
}

/* Turn what the engine wrote, already copied, into an exit. False if it makes no sense. */
static bool take_exit(struct accel_vcpu *vcpu, const struct direct_exit *from,
                      struct accel_exit *exit)
{
    memcpy(vcpu->data, from->data, sizeof vcpu->data);
    switch (from->kind) {
    case DIRECT_EXIT_IO:
        if (!is_power_of_two(from->size, 4) || from->port > UINT16_MAX)
            return false;
        vcpu->reading = !from->write;
        *exit = (struct accel_exit){
            .kind = ACCEL_EXIT_IO,
            .io = {.port = (uint16_t)from->port,
                   .size = (uint8_t)from->size,
                   .in = !from->write,
                   .count = 1,
                   .data = vcpu->data,
                   .rdi = vcpu->shared->state.gpr[X86_RDI],
                   .rip = vcpu->shared->state.rip},
        };
        return true;
    case DIRECT_EXIT_MMIO:
        if (!is_power_of_two(from->size, 8))
            return false;
        vcpu->reading = !from->write;
        *exit = (struct accel_exit){
            .kind = ACCEL_EXIT_MMIO,
            .mmio = {.gpa = from->gpa,
                     .size = (uint8_t)from->size,
                     .write = from->write,
                     .data = vcpu->data},
        };
        return true;
    case DIRECT_EXIT_SHUTDOWN:
        *exit = (struct accel_exit){.kind = ACCEL_EXIT_SHUTDOWN};
        return true;
    case DIRECT_EXIT_INTERRUPTED:
        atomic_store(&vcpu->kicked, false);
        *exit = (struct accel_exit){.kind = ACCEL_EXIT_INTERRUPTED};
        return true;
    case DIRECT_EXIT_DEBUG:
        if (from->event > DIRECT_DEBUG_HARDWARE || from->slot >= ACCEL_HARDWARE_BREAKPOINTS)
            return false;
        *exit = (struct accel_exit){
            .kind = ACCEL_EXIT_DEBUG,
            .debug = {.event = (enum accel_debug_event)from->event,
                      .slot = from->slot,
                      .rip = vcpu->shared->state.rip},
        };
        return true;
    case DIRECT_EXIT_FAILED:
        *exit = (struct accel_exit){.kind = ACCEL_EXIT_FAILED};
        memcpy(exit->reason, from->reason, sizeof from->reason - 1);
        text_make_printable(exit->reason);
        return true;
    default:
        return false;
    }
}

static void fail(struct accel_exit *exit, const char *reason)
{
    *exit = (struct accel_exit){.kind = ACCEL_EXIT_FAILED};
    snprintf(exit->reason, sizeof exit->reason, "%s", reason);
}

static void fail_dead(const struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    *exit = (struct accel_exit){.kind = ACCEL_EXIT_FAILED};
    process_describe_death(&vcpu->vm->process, exit->reason, sizeof exit->reason);
}

static bool sweep(struct accel_vcpu *vcpu, gpa_t entry, struct accel_exit *exit)
{
    gpa_t page = align_down(entry, DIRECT_PAGE);

    if (ram_at(vcpu->vm->ram, page, DIRECT_PAGE) && code_patch_page(vcpu->vm, page, entry) == 0)
        return true;
    fail(exit, "the guest runs code that cannot be prepared for the accelerator 'direct'");
    return false;
}

/* Have the engine do something for the VMM while the guest waits. */
static int request(struct accel_vcpu *vcpu, enum direct_request what)
{
    vcpu->shared->request = what;
    enter(vcpu);
    if (atomic_load(&vcpu->vm->process.dead))
        vm_engine_died(vcpu->vm);
    return wait_for_turn(vcpu) && !atomic_load(&vcpu->vm->process.dead) ? 0 : -EIO;
}

int direct_vcpu_get_xsave(struct accel_vcpu *vcpu, void *area, size_t size)
{
    int err = request(vcpu, DIRECT_REQUEST_GET_XSAVE);
    uint32_t stored = vcpu->shared->xsave_size;

    if (err)
        return err;
    size = size < stored ? size : stored;
    size = size < DIRECT_PAGE ? size : DIRECT_PAGE;
    memcpy(area, vm_xsave_area(vcpu->vm, vcpu->index), size);
    return (int)size;
}

int direct_vcpu_set_xsave(struct accel_vcpu *vcpu, const void *area, size_t size)
{
    if (size < XSAVE_LEGACY_SIZE)
        return -EINVAL;
    size = size < DIRECT_PAGE ? size : DIRECT_PAGE;
    memcpy(vm_xsave_area(vcpu->vm, vcpu->index), area, size);
    vcpu->shared->xsave_size = (uint32_t)size;
    return request(vcpu, DIRECT_REQUEST_SET_XSAVE);
}

/* Take the port writes that were made before the exit. */
static void take_writes(struct accel_vcpu *vcpu)
{
    uint32_t count = vcpu->shared->writes;
    const uint8_t *state = vcpu->vm->control + DIRECT_AREA + DIRECT_AREA_STATES;

    vcpu->write_next = 0;
    vcpu->write_count = count < TRAMPOLINE_WRITES ? count : TRAMPOLINE_WRITES;
    memcpy(vcpu->writes, state + offsetof(struct trampoline_state, writes),
           vcpu->write_count * sizeof vcpu->writes[0]);
}

/* Report the next of them, with those that follow to the same port. */
static void deliver_writes(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    const struct trampoline_write *first = &vcpu->writes[vcpu->write_next], *write = first;
    const struct trampoline_write *end = vcpu->writes + vcpu->write_count;
    uint8_t size = first->size == 1 ? 1 : 4;
    uint32_t count = 0;

    for (; write < end && write->port == first->port && write->size == first->size; write++)
        memcpy(vcpu->write_data + size * count++, &write->data, size);
    vcpu->write_next += count;
    *exit = (struct accel_exit){
        .kind = ACCEL_EXIT_IO,
        .queued = true,
        .io = {.port = first->port, .size = size, .count = count, .data = vcpu->write_data},
    };
}

/* Enter the guest and wait for its exit; false if there is none, with *exit filled. */
static bool run_guest(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    struct accel_vm *vm = vcpu->vm;

    do {
        if (atomic_load(&vm->process.dead)) {
            fail_dead(vcpu, exit);
            return false;
        }
        enter(vcpu);
        /* The engine may have died before `enter`, after which nobody gives the turn back. */
        if (atomic_load(&vm->process.dead))
            vm_engine_died(vm);
        if (!wait_for_turn(vcpu)) {
            process_signal(&vm->process, 0, SIGKILL);
            fail(exit, "the guest's process did not react and was ended");
            return false;
        }
    } while (atomic_load(&vm->process.dead));
    return true;
}

void direct_vcpu_run(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    if (vcpu->reading)
        memcpy(vcpu->shared->exit.data, vcpu->data, sizeof vcpu->data);
    vcpu->reading = false;
    for (;;) {
        if (!vcpu->holds) {
            if (!run_guest(vcpu, exit))
                return;
            vcpu->held = vcpu->shared->exit;
            vcpu->holds = true;
            take_writes(vcpu);
        }
        if (vcpu->write_next < vcpu->write_count) {
            deliver_writes(vcpu, exit);
            return;
        }
        vcpu->holds = false;
        if (vcpu->held.kind == DIRECT_EXIT_WRITES)
            continue;
        if (vcpu->held.kind == DIRECT_EXIT_SWEEP) {
            if (!sweep(vcpu, vcpu->held.gpa, exit))
                return;
            continue;
        }
        if (!take_exit(vcpu, &vcpu->held, exit))
            fail(exit, "the guest's process gave an answer without sense");
        return;
    }
}
