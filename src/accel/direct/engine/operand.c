#include "accel/direct/engine/operand.h"

#include <asm/prctl.h>

#include "accel/direct/engine/syscalls.h"

static bool is_high_byte(const struct insn *insn, unsigned number, unsigned size)
{
    return size == 1 && !insn->rex && number >= 4 && number < 8;
}

uint64_t operand_get_register(const struct cpu *cpu, const struct insn *insn, unsigned number,
                              unsigned size)
{
    if (is_high_byte(insn, number, size))
        return cpu->state->gpr[number - 4] >> 8 & 0xff;
    return cpu->state->gpr[number] & operand_mask(size);
}

void operand_set_register(struct cpu *cpu, const struct insn *insn, unsigned number, unsigned size,
                          uint64_t value)
{
    uint64_t *gpr = cpu->state->gpr;

    if (is_high_byte(insn, number, size))
        gpr[number - 4] = (gpr[number - 4] & ~UINT64_C(0xff00)) | (value & 0xff) << 8;
    else if (size >= 4)
        gpr[number] = value & operand_mask(size);
    else
        gpr[number] = (gpr[number] & ~operand_mask(size)) | (value & operand_mask(size));
}

uint64_t operand_address(const struct cpu *cpu, const struct insn *insn)
{
    uint64_t address = (uint64_t)insn->displacement;

    if (insn->base == INSN_RIP)
        address += cpu->state->rip + insn->length;
    else if (insn->base != INSN_NO_REGISTER)
        address += cpu->state->gpr[insn->base];
    if (insn->index != INSN_NO_REGISTER)
        address += cpu->state->gpr[insn->index] << insn->scale;
    if (insn->address32)
        address = (uint32_t)address;
    return address + operand_segment_base(insn->segment);
}

uint64_t operand_segment_base(uint8_t segment)
{
    uint64_t base = 0;

    if (segment == SEGMENT_NONE)
        return 0;
    if (!engine.fsgsbase)
        sys_arch_prctl(segment == SEGMENT_FS ? ARCH_GET_FS : ARCH_GET_GS, (uint64_t)&base);
    else if (segment == SEGMENT_FS)
        __asm__ volatile("rdfsbase %0" : "=r"(base));
    else
        __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

void operand_set_segment_base(uint8_t segment, uint64_t base)
{
    if (!engine.fsgsbase)
        sys_arch_prctl(segment == SEGMENT_FS ? ARCH_SET_FS : ARCH_SET_GS, base);
    else if (segment == SEGMENT_FS)
        __asm__ volatile("wrfsbase %0" : : "r"(base));
    else
        __asm__ volatile("wrgsbase %0" : : "r"(base));
}

bool operand_condition(uint8_t opcode, uint64_t rflags)
{
    bool carry = rflags & RFLAGS_CF, zero = rflags & RFLAGS_ZF, sign = rflags & RFLAGS_SF;
    bool overflow = rflags & RFLAGS_OF, parity = rflags & RFLAGS_PF;
    const bool values[8] = {overflow,
                            carry,
                            zero,
                            carry || zero,
                            sign,
                            parity,
                            sign != overflow,
                            zero || sign != overflow};
    return values[opcode >> 1 & 7] != (opcode & 1);
}
