#include "accel/direct/engine/exit.h"

#include <linux/futex.h>

#include "accel/direct/engine/debug.h"
#include "accel/direct/engine/lift.h"
#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/operand.h"
#include "accel/direct/engine/syscalls.h"
#include "accel/direct/engine/wait.h"
#include "accel/direct/engine/xstate.h"

static bool my_turn(const struct direct_vcpu *shared)
{
    return __atomic_load_n(&shared->turn, __ATOMIC_ACQUIRE) == DIRECT_TURN_ENGINE;
}

static void wait_for_turn(struct direct_vcpu *shared)
{
    uint32_t cpu;
    uint64_t start = spin_now(&cpu);
    uint32_t limit = spin_limit(&shared->spin, cpu, shared->vmm_cpu);

    while (rdtsc() - start < limit) {
        if (my_turn(shared)) {
            spin_succeeded(&shared->spin);
            return;
        }
        __asm__ volatile("pause");
    }
    while (!my_turn(shared)) {
        spin_failed(&shared->spin);
        __atomic_store_n(&shared->engine_sleeps, 1, __ATOMIC_SEQ_CST);
        if (!my_turn(shared))
            sys_futex(&shared->turn, FUTEX_WAIT, DIRECT_TURN_VMM, 0);
        __atomic_store_n(&shared->engine_sleeps, 0, __ATOMIC_RELAXED);
    }
}

static void load_bases(const struct cpu *cpu)
{
    operand_set_segment_base(SEGMENT_FS, cpu->state->fs.base);
    operand_set_segment_base(SEGMENT_GS, cpu->state->gs.base);
}

static void give_turn(struct direct_vcpu *shared)
{
    spin_now(&shared->engine_cpu);
    __atomic_store_n(&shared->turn, DIRECT_TURN_VMM, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&shared->vmm_sleeps, __ATOMIC_SEQ_CST))
        sys_futex(&shared->turn, FUTEX_WAKE, 1, 0);
}

static void serve(struct cpu *cpu)
{
    struct direct_vcpu *shared = cpu->shared;
    uint8_t *area = (uint8_t *)(DIRECT_CONTROL + DIRECT_XSAVE + (uint64_t)cpu->index * DIRECT_PAGE);

    if (shared->request == DIRECT_REQUEST_GET_XSAVE)
        shared->xsave_size = xstate_get_area(cpu, area);
    else
        xstate_set_area(cpu, area, shared->xsave_size);
    shared->request = DIRECT_REQUEST_RUN;
}

void exit_wait(struct cpu *cpu)
{
    wait_for_turn(cpu->shared);
    while (cpu->shared->request != DIRECT_REQUEST_RUN) {
        serve(cpu);
        give_turn(cpu->shared);
        wait_for_turn(cpu->shared);
    }
    load_bases(cpu);
    if (engine.debugged)
        debug_resume(cpu);
}

static void leave(struct cpu *cpu, enum direct_exit_kind kind)
{
    struct direct_vcpu *shared = cpu->shared;

    if (cpu->lifted_count)
        lift_end(cpu, false);
    /* Whoever wants the vCPU's attention need not signal it meanwhile, nor wait for it. */
    if (shared->mode != DIRECT_MODE_ENGINE)
        wait_set_mode(cpu, DIRECT_MODE_ENGINE);
    shared->exit.kind = kind;
    shared->writes = cpu->queued;
    cpu->queued = 0;
    cpu->state->fs.base = operand_segment_base(SEGMENT_FS);
    cpu->state->gs.base = operand_segment_base(SEGMENT_GS);
    cpu->state->cr8 = shared->apic.tpr >> 4;
    give_turn(shared);
    exit_wait(cpu);
}

/* An exit in the middle of an instruction. If a debugger sends the guest elsewhere meanwhile, that
 * is for the time after it. */
static void leave_and_complete(struct cpu *cpu, enum direct_exit_kind kind)
{
    uint64_t rip = cpu->state->rip;

    leave(cpu, kind);
    if (cpu->state->rip == rip)
        return;
    cpu->redirected = true;
    cpu->redirected_rip = cpu->state->rip;
    cpu->state->rip = rip;
}

void exit_io(struct cpu *cpu, uint16_t port, bool write, uint32_t *data, unsigned size)
{
    struct direct_exit *exit = &cpu->shared->exit;

    exit->port = port;
    exit->size = size;
    exit->write = write;
    memory_copy(exit->data, data, 4);
    leave_and_complete(cpu, DIRECT_EXIT_IO);
    memory_copy(data, exit->data, 4);
}

void exit_mmio(struct cpu *cpu, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
    struct direct_exit *exit = &cpu->shared->exit;

    exit->gpa = gpa;
    exit->size = size;
    exit->write = write;
    memory_copy(exit->data, data, size);
    leave_and_complete(cpu, DIRECT_EXIT_MMIO);
    if (!write)
        memory_copy(data, exit->data, size);
}

void exit_sweep(struct cpu *cpu, uint64_t gpa)
{
    cpu->shared->exit.gpa = gpa;
    leave(cpu, DIRECT_EXIT_SWEEP);
}

void exit_writes(struct cpu *cpu)
{
    leave(cpu, DIRECT_EXIT_WRITES);
}

void exit_interrupted(struct cpu *cpu)
{
    leave(cpu, DIRECT_EXIT_INTERRUPTED);
}

void exit_debug(struct cpu *cpu, enum direct_debug_event event, uint32_t slot)
{
    cpu->shared->exit.event = event;
    cpu->shared->exit.slot = slot;
    leave(cpu, DIRECT_EXIT_DEBUG);
}

void exit_shutdown(struct cpu *cpu)
{
    leave(cpu, DIRECT_EXIT_SHUTDOWN);
}

void exit_failed(struct cpu *cpu, const char *reason)
{
    char *to = cpu->shared->exit.reason, *last = to + sizeof cpu->shared->exit.reason - 1;

    while (*reason && to < last)
        *to++ = *reason++;
    *to = '\0';
    leave(cpu, DIRECT_EXIT_FAILED);
}
