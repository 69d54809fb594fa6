#include "accel/direct/engine/debug.h"

#include "accel/direct/engine/execute.h"
#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/lift.h"
#include "accel/direct/engine/map.h"
#include "accel/direct/engine/trap.h"
#include "accel/direct/engine/wait.h"

/* How often the guest may try again an instruction that faults. */
#define STUCK_MAX 4

static bool is_same(const struct direct_breakpoint *a, const struct direct_breakpoint *b)
{
    return a->kind == b->kind && a->size == b->size && a->address == b->address;
}

static void take_over_slots(struct cpu *cpu)
{
    bool changed = false;

    for (unsigned i = 0; i < DIRECT_BREAKPOINTS; i++) {
        const struct direct_breakpoint slot = cpu->shared->debug.slot[i];
        changed = changed || !is_same(&slot, &cpu->slots[i]);
        cpu->slots[i] = slot;
    }
    if (!changed)
        return;
    cpu->watching = false;
    for (unsigned i = 0; i < DIRECT_BREAKPOINTS; i++)
        cpu->watching = cpu->watching || cpu->slots[i].kind == DIRECT_BREAK_WRITE ||
                        cpu->slots[i].kind == DIRECT_BREAK_ACCESS;
    map_flush_all(); /* what is mapped has the permissions of before */
}

void debug_resume(struct cpu *cpu)
{
    struct direct_debug *debug = &cpu->shared->debug;

    take_over_slots(cpu);
    if (!debug->inject)
        return;
    debug->inject = false;
    cpu->state->rip++;
    trap_deliver(cpu, &(struct fault){.vector = VECTOR_BP}, INTERRUPT_TRAP);
}

/* Tell the VMM of what has happened, if it wants to know. */
static void report(struct cpu *cpu)
{
    uint32_t hits = cpu->hits;
    bool step = cpu->step_done && cpu->shared->debug.step;

    cpu->hits = 0;
    cpu->step_done = false;
    if (hits)
        exit_debug(cpu, DIRECT_DEBUG_HARDWARE, (uint32_t)__builtin_ctz(hits));
    else if (step)
        exit_debug(cpu, DIRECT_DEBUG_STEP, 0);
}

bool debug_holds(struct cpu *cpu)
{
    if (cpu->redirected) {
        cpu->state->rip = cpu->redirected_rip;
        cpu->redirected = cpu->step_done = false;
    }
    if (lift_wait(cpu))
        return true;
    if (!cpu->hits && !cpu->step_done)
        return false;
    wait_set_mode(cpu, DIRECT_MODE_ENGINE);
    report(cpu);
    return true;
}

bool debug_breakpoint(struct cpu *cpu)
{
    if (!cpu->shared->debug.enabled)
        return false;
    cpu->state->rip--;
    exit_debug(cpu, DIRECT_DEBUG_BREAKPOINT, 0);
    return true;
}

bool debug_stops_here(struct cpu *cpu)
{
    for (unsigned i = 0; i < DIRECT_BREAKPOINTS; i++)
        if (cpu->slots[i].kind == DIRECT_BREAK_EXECUTE && cpu->slots[i].address == cpu->state->rip)
            cpu->hits |= 1u << i;
    return cpu->hits;
}

/* Has any vCPU a breakpoint on the instruction at RIP? */
static bool is_breakpoint(uint64_t rip)
{
    for (unsigned i = 0; i < engine.header->cpu_count; i++)
        for (unsigned j = 0; j < DIRECT_BREAKPOINTS; j++) {
            const struct direct_breakpoint *slot = &engine_vcpu(i)->debug.slot[j];
            if (slot->kind == DIRECT_BREAK_EXECUTE && slot->address == rip)
                return true;
        }
    return false;
}

bool debug_is_stale(struct cpu *cpu, const struct insn *insn)
{
    struct translation t;

    if (insn->map != MAP_ONE || insn->opcode != DIRECT_TRAP ||
        !mmu_translate(cpu, cpu->state->rip, ACCESS_EXECUTE, &t))
        return false;
    const volatile uint8_t *byte = ram_view(t.gpa, 1);
    return byte && *byte != DIRECT_TRAP;
}

/* Does the vCPU fault again and again without having executed anything? */
static bool is_stuck(struct cpu *cpu)
{
    uint64_t digest = cpu->state->rip ^ cpu->state->rflags;

    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        digest = (digest << 7 | digest >> 57) ^ cpu->state->gpr[i];
    if (digest != cpu->stuck_registers || cpu->shared->traps != cpu->stuck_traps + 1)
        cpu->stuck = 0;
    cpu->stuck_registers = digest;
    cpu->stuck_traps = cpu->shared->traps;
    return ++cpu->stuck > STUCK_MAX;
}

static bool is_trap(uint64_t gpa, uint8_t *original)
{
    return *(volatile uint8_t *)ram_view(gpa, 1) == DIRECT_TRAP && mmu_find_site(gpa, original);
}

bool debug_passes(struct cpu *cpu, const struct insn *insn, enum result *result)
{
    struct translation t;
    uint8_t original;

    *result = RESULT_UNKNOWN;
    if (!mmu_translate(cpu, cpu->state->rip, ACCESS_EXECUTE, &t) || !ram_view(t.gpa, 1))
        return false;
    if (!is_trap(t.gpa, &original))
        return !is_stuck(cpu);
    /* The VMM tells of a breakpoint before it puts the trap there, and until it has removed it. */
    if (!is_breakpoint(cpu->state->rip))
        return !is_trap(t.gpa, &original) && !is_stuck(cpu);
    if (insn)
        *result = execute_run(cpu, insn);
    if (*result == RESULT_UNKNOWN)
        lift_byte(cpu, t.gpa);
    return true;
}
