/*
 * LAR, LSL, VERR and VERW: what the guest's descriptor tables say about a selector, as a processor
 * at CPL 0 sees it (Intel SDM volume 2). Their result is in ZF; only page faults are exceptions.
 */
#include "accel/direct/engine/interrupt.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"
#include "accel/direct/engine/privileged.h"

#define ACCESS_RIGHTS    UINT64_C(0x00f0ff00) /* of a descriptor's upper half */
#define TYPE_SEGMENT     0x10                 /* the S bit; then bit 3: code */
#define TYPE_CODE        0x08
#define TYPE_CONFORMING  0x04 /* of code */
#define TYPE_RW          0x02 /* of code: readable, of data: writable */
#define TYPE_LDT         2
#define TYPE_TSS         9
#define TYPE_TSS_BUSY    11
#define TYPE_CALL_GATE   12
#define FLAG_GRANULARITY (UINT64_C(1) << 55)

enum query {
    QUERY_RIGHTS,
    QUERY_LIMIT,
    QUERY_READ,
    QUERY_WRITE,
};

static bool is_visible(uint64_t descriptor, uint16_t selector, enum query query)
{
    unsigned type = descriptor >> 40 & 0x1f, dpl = descriptor >> 45 & 3;
    bool code = (type & (TYPE_SEGMENT | TYPE_CODE)) == (TYPE_SEGMENT | TYPE_CODE);

    if (!(type & TYPE_SEGMENT) && query != QUERY_RIGHTS && query != QUERY_LIMIT)
        return false;
    if (!(type & TYPE_SEGMENT) && type != TYPE_LDT && type != TYPE_TSS && type != TYPE_TSS_BUSY &&
        (type != TYPE_CALL_GATE || query != QUERY_RIGHTS))
        return false;
    if (query == QUERY_READ && code && !(type & TYPE_RW))
        return false;
    if (query == QUERY_WRITE && (code || !(type & TYPE_RW)))
        return false;
    return (code && (type & TYPE_CONFORMING)) || dpl >= (selector & 3u);
}

static uint64_t limit(uint64_t descriptor)
{
    uint64_t value = (descriptor & 0xffff) | (descriptor >> 32 & 0xf0000);
    return descriptor & FLAG_GRANULARITY ? value << 12 | 0xfff : value;
}

/* The operand is always 16 bits. */
static bool read_selector(struct cpu *cpu, const struct insn *insn, uint16_t *selector)
{
    *selector = (uint16_t)cpu->state->gpr[insn->rm];
    return !insn->memory || mmu_read(cpu, operand_address(cpu, insn), selector, sizeof *selector);
}

enum result descriptor_run(struct cpu *cpu, const struct insn *insn)
{
    uint64_t descriptor = 0;
    uint16_t selector;
    enum query query;

    if (insn->opcode == 0x02)
        query = QUERY_RIGHTS;
    else if (insn->opcode == 0x03)
        query = QUERY_LIMIT;
    else if (insn->opcode == 0x00 && (insn_extension(insn) & 6) == 4)
        query = insn_extension(insn) == 4 ? QUERY_READ : QUERY_WRITE;
    else
        return RESULT_UNKNOWN;
    if (!read_selector(cpu, insn, &selector))
        return RESULT_FAULT;
    bool found = (selector & 0xfffc) &&
                 interrupt_read_descriptor(cpu, selector, &descriptor, sizeof descriptor);
    if ((selector & 0xfffc) && !found && cpu->fault.vector == VECTOR_PF)
        return RESULT_FAULT;
    cpu->state->rflags &= ~RFLAGS_ZF;
    if (!found || !is_visible(descriptor, selector, query))
        return RESULT_OK;
    cpu->state->rflags |= RFLAGS_ZF;
    if (query == QUERY_RIGHTS)
        operand_set_register(cpu, insn, insn->reg, insn->size, descriptor >> 32 & ACCESS_RIGHTS);
    else if (query == QUERY_LIMIT)
        operand_set_register(cpu, insn, insn->reg, insn->size, limit(descriptor));
    return RESULT_OK;
}
