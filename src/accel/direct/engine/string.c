/*
 * String instructions. One call handles at most BATCH elements and then returns with RIP still at
 * the instruction, so that interrupts get in between, as on a processor.
 */
#include "accel/direct/engine/alu.h"
#include "accel/direct/engine/emulate.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"

#define BATCH 4096

/* One element; source and destination registers are advanced only if nothing faulted. */
static bool element(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint64_t *gpr = cpu->state->gpr, mask = insn->address32 ? UINT32_MAX : UINT64_MAX;
    uint64_t from = (gpr[X86_RSI] & mask) + operand_segment_base(insn->segment);
    uint64_t to = gpr[X86_RDI] & mask, value = 0, other = 0;
    uint64_t step = cpu->state->rflags & RFLAGS_DF ? -(uint64_t)size : size;
    bool source = false, destination = true;

    switch (insn->opcode & 0xfe) {
    case 0xa4: /* MOVS */
        if (!mmu_read(cpu, from, &value, size) || !mmu_write(cpu, to, &value, size))
            return false;
        source = true;
        break;
    case 0xa6: /* CMPS */
        if (!mmu_read(cpu, from, &value, size) || !mmu_read(cpu, to, &other, size))
            return false;
        alu_run(ALU_CMP, size, value, other, &cpu->state->rflags);
        source = true;
        break;
    case 0xaa: /* STOS */
        if (!mmu_write(cpu, to, &gpr[X86_RAX], size))
            return false;
        break;
    case 0xac: /* LODS */
        if (!mmu_read(cpu, from, &value, size))
            return false;
        operand_set_register(cpu, insn, X86_RAX, size, value);
        source = true;
        destination = false;
        break;
    default: /* SCAS */
        if (!mmu_read(cpu, to, &other, size))
            return false;
        alu_run(ALU_CMP, size, operand_get_register(cpu, insn, X86_RAX, size), other,
                &cpu->state->rflags);
    }
    if (source)
        gpr[X86_RSI] = (gpr[X86_RSI] + step) & mask;
    if (destination)
        gpr[X86_RDI] = (gpr[X86_RDI] + step) & mask;
    return true;
}

enum result emulate_string(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->opcode & 1 ? insn->size : 1;
    uint8_t kind = insn->opcode & 0xfe;
    uint64_t *rcx = &cpu->state->gpr[X86_RCX];

    if (kind == 0xa8) /* TEST with an immediate */
        return RESULT_UNKNOWN;
    if (!insn->rep && !insn->repne) {
        if (!element(cpu, insn, size))
            return RESULT_FAULT;
        cpu->state->rip += insn->length;
        return RESULT_OK;
    }
    bool steps = cpu->stepping || (cpu->state->rflags & RFLAGS_TF);
    bool compares = kind == 0xa6 || kind == 0xae;
    for (unsigned i = 0; i < BATCH; i++) {
        if ((insn->address32 ? (uint32_t)*rcx : *rcx) == 0) {
            cpu->state->rip += insn->length;
            return RESULT_OK;
        }
        if (!element(cpu, insn, size))
            return RESULT_FAULT;
        *rcx = insn->address32 ? (uint32_t)(*rcx - 1) : *rcx - 1;
        bool equal = cpu->state->rflags & RFLAGS_ZF;
        if (compares && equal == insn->repne) {
            cpu->state->rip += insn->length;
            return RESULT_OK;
        }
        /* Each element is a step, and a watchpoint is reported behind it. */
        if ((steps || cpu->hits) && *rcx)
            return RESULT_OK;
    }
    return RESULT_OK;
}
