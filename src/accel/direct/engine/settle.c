#include "accel/direct/engine/settle.h"

#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/queue.h"

static bool read_stack(void *context, uint64_t address, uint64_t *value)
{
    return mmu_read(context, address, value, sizeof *value);
}

enum settled settle_enter(struct cpu *cpu)
{
    struct x86_state *state = cpu->state;
    uint64_t host = state->rip;

    queue_close(cpu);
    if (cpu->trampoline)
        state->rflags = (state->rflags & ~X86_RFLAGS_IF) |
                        (cpu->trampoline->interrupt_flag & X86_RFLAGS_IF);
    if (!trampoline_contains(engine.table, host))
        return SETTLED_OUTSIDE;
    struct trampoline_registers registers = {
        .rip = host,
        .rsp = state->gpr[X86_RSP],
        .rax = state->gpr[X86_RAX],
        .rcx = state->gpr[X86_RCX],
    };
    if (!trampoline_settle(engine.table, &registers, read_stack, cpu))
        return SETTLED_BROKEN;
    state->rip = registers.rip;
    state->gpr[X86_RSP] = registers.rsp;
    state->gpr[X86_RAX] = registers.rax;
    state->gpr[X86_RCX] = registers.rcx;
    if (registers.completed && registers.kind == SWEEP_POPF)
        cpu->flags_restored = state->rflags & X86_RFLAGS_IF;
    return registers.completed ? SETTLED_DONE : SETTLED_INSIDE;
}

bool settle_replaces(const struct cpu *cpu)
{
    uint64_t rip = cpu->state->rip;
    const struct patch *patch = engine.area ? patch_find(engine.table, rip) : (void *)0;

    for (unsigned i = 0; patch && i < patch->step_count; i++)
        if (patch->address + patch->steps[i].guest == rip)
            return patch->steps[i].kind != SWEEP_NONE;
    return false;
}

uint64_t settle_leave(struct cpu *cpu, bool pending)
{
    struct trampoline_state *trampoline = cpu->trampoline;

    if (trampoline) {
        trampoline->interrupt_flag = (uint32_t)(cpu->state->rflags & X86_RFLAGS_IF);
        trampoline->tsc_aux = (uint32_t)cpu->shared->msrs.tsc_aux;
        trampoline->never = 0;
        trampoline->pending = pending;
        queue_open(cpu);
    }
    return patch_host_address(engine.table, cpu->state->rip);
}
