#include "accel/direct/engine/interrupt.h"

#include "accel/direct/engine/mmu.h"

/* Gate and descriptor fields (section 6.14.1 and 3.4.5). */
#define GATE_INTERRUPT  0xe
#define GATE_TRAP       0xf
#define GATE_PRESENT    (UINT64_C(1) << 47)
#define CODE_SEGMENT    (UINT64_C(3) << 43) /* S and the executable bit */
#define CODE_LONG       (UINT64_C(1) << 53)
#define SEGMENT_PRESENT (UINT64_C(1) << 47)

#define TSS_IST1 0x24

#define ERROR_EXTERNAL 1u
#define ERROR_IDT      2u

bool interrupt_read_descriptor(struct cpu *cpu, uint16_t selector, uint64_t *words, unsigned size)
{
    const struct x86_table *gdt = &cpu->state->gdt;
    uint32_t offset = selector & 0xfff8;

    if ((selector & 4) || offset + size - 1 > gdt->limit)
        return raise_fault(cpu, VECTOR_GP, selector & 0xfffc);
    return mmu_read(cpu, gdt->base + offset, words, size);
}

static bool is_contributory(uint8_t vector)
{
    return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

/* Does `second`, raised while `first` was being delivered, make a double fault? */
static bool is_double(uint8_t first, uint8_t second)
{
    if (is_contributory(first))
        return is_contributory(second);
    return first == VECTOR_PF && (is_contributory(second) || second == VECTOR_PF);
}

/* Top of the stack the handler starts on, before alignment. */
static bool handler_stack(struct cpu *cpu, unsigned ist, uint32_t external, uint64_t *stack)
{
    const struct x86_segment *tr = &cpu->state->tr;
    uint32_t offset = TSS_IST1 + 8 * (ist - 1);

    *stack = cpu->state->gpr[X86_RSP];
    if (!ist)
        return true;
    if (offset + 7 > tr->limit)
        return raise_fault(cpu, VECTOR_TS, (tr->selector & 0xfffcu) | external);
    return mmu_read(cpu, tr->base + offset, stack, 8);
}

static bool check_code_segment(struct cpu *cpu, uint16_t selector, uint32_t external)
{
    uint64_t descriptor;

    if (!(selector & 0xfffc))
        return raise_fault(cpu, VECTOR_GP, external);
    if (!interrupt_read_descriptor(cpu, selector, &descriptor, 8)) {
        cpu->fault.error |= cpu->fault.vector == VECTOR_GP ? external : 0;
        return false;
    }
    if ((descriptor & CODE_SEGMENT) != CODE_SEGMENT || !(descriptor & CODE_LONG))
        return raise_fault(cpu, VECTOR_GP, (selector & 0xfffcu) | external);
    if (!(descriptor & SEGMENT_PRESENT))
        return raise_fault(cpu, VECTOR_NP, (selector & 0xfffcu) | external);
    return true;
}

static bool deliver_once(struct cpu *cpu, const struct fault *fault, enum interrupt_source source)
{
    struct x86_state *state = cpu->state;
    uint32_t external = source == INTERRUPT_SOFTWARE ? 0 : ERROR_EXTERNAL;
    uint32_t offset = fault->vector * 16u, error = fault->vector * 8u | ERROR_IDT | external;
    uint64_t gate[2], stack;

    if (offset + 15 > state->idt.limit)
        return raise_fault(cpu, VECTOR_GP, error);
    if (!mmu_read(cpu, state->idt.base + offset, gate, sizeof gate))
        return false;
    unsigned type = gate[0] >> 40 & 0x1f;
    if (type != GATE_INTERRUPT && type != GATE_TRAP)
        return raise_fault(cpu, VECTOR_GP, error);
    if (!(gate[0] & GATE_PRESENT))
        return raise_fault(cpu, VECTOR_NP, error);
    uint16_t selector = (uint16_t)(gate[0] >> 16);
    uint64_t handler = (gate[0] & 0xffff) | (gate[0] >> 32 & 0xffff0000) | gate[1] << 32;
    if (!check_code_segment(cpu, selector, external) ||
        !handler_stack(cpu, gate[0] >> 32 & 7, external, &stack))
        return false;
    if (!is_canonical(handler))
        return raise_fault(cpu, VECTOR_GP, external);

    uint64_t rf = source == INTERRUPT_FAULT ? RFLAGS_RF : 0;
    const uint64_t frame[] = {
        fault->error,       state->rip,          state->cs.selector,
        state->rflags | rf, state->gpr[X86_RSP], state->ss.selector,
    };
    unsigned skip = fault->has_error ? 0 : 1;
    unsigned size = (unsigned)sizeof frame - 8 * skip;
    stack = (stack & ~UINT64_C(15)) - size;
    if (!mmu_write(cpu, stack, frame + skip, size)) {
        /* A stack that is not canonical is a stack fault. */
        if (cpu->fault.vector == VECTOR_GP)
            cpu->fault = (struct fault){VECTOR_SS, true, external, 0};
        return false;
    }
    state->gpr[X86_RSP] = stack;
    state->rip = handler;
    state->cs.selector = selector;
    state->rflags &= ~(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM);
    if (type == GATE_INTERRUPT)
        state->rflags &= ~X86_RFLAGS_IF;
    return true;
}

bool interrupt_deliver(struct cpu *cpu, const struct fault *fault, enum interrupt_source source)
{
    struct fault current = *fault;

    for (;;) {
        if (current.vector == VECTOR_PF && source != INTERRUPT_EXTERNAL)
            cpu->state->cr2 = current.address;
        if (deliver_once(cpu, &current, source))
            return true;
        struct fault next = cpu->fault;
        if (current.vector == VECTOR_DF && source == INTERRUPT_FAULT)
            return false;
        bool is_exception = source == INTERRUPT_FAULT || source == INTERRUPT_TRAP;
        if (is_exception && is_double(current.vector, next.vector))
            next = (struct fault){.vector = VECTOR_DF, .has_error = true};
        if (next.vector == VECTOR_PF)
            cpu->state->cr2 = next.address;
        current = next;
        source = INTERRUPT_FAULT;
    }
}
