/*
 * Moves between memory and vector registers, whose values are in the signal frame: XMM registers in
 * its FXSAVE area (Intel SDM volume 1, section 10.5.1), upper halves of YMM registers in the XSAVE
 * area behind it.
 */
#include "accel/direct/engine/emulate.h"
#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"

#define FXSAVE_XMM 160

static uint8_t *xmm(struct cpu *cpu, unsigned number)
{
    return cpu->fpu + FXSAVE_XMM + 16 * number;
}

/* Width in bytes and direction of the moves of map 0F; 0 if it is none. */
static unsigned move_width(const struct insn *insn, bool *store)
{
    uint8_t prefix = insn->prefix;

    switch (insn->opcode) {
    case 0x10: /* MOVUPS MOVUPD MOVSS MOVSD */
    case 0x11:
        *store = insn->opcode & 1;
        return prefix == PREFIX_F3 ? 4 : prefix == PREFIX_F2 ? 8 : 16;
    case 0x28: /* MOVAPS MOVAPD */
    case 0x29:
        *store = insn->opcode & 1;
        return 16;
    case 0x2b: /* MOVNTPS */
    case 0xe7: /* MOVNTDQ */
        *store = true;
        return insn->opcode == 0xe7 && prefix != PREFIX_66 ? 0 : 16;
    case 0x6f: /* MOVDQA MOVDQU */
    case 0x7f:
        *store = insn->opcode == 0x7f;
        return prefix == PREFIX_66 || prefix == PREFIX_F3 ? 16 : 0;
    case 0xd6: /* MOVQ to memory */
        *store = true;
        return prefix == PREFIX_66 ? 8 : 0;
    case 0x6e: /* MOVD MOVQ from memory */
        *store = false;
        return prefix != PREFIX_66 ? 0 : insn_rex_w(insn) ? 8 : 4;
    case 0x7e: /* MOVQ from memory, MOVD MOVQ to memory */
        *store = prefix == PREFIX_66;
        return prefix == PREFIX_F3 ? 8 : prefix != PREFIX_66 ? 0 : insn_rex_w(insn) ? 8 : 4;
    default:
        return 0;
    }
}

enum result emulate_vector(struct cpu *cpu, const struct insn *insn)
{
    bool store = false;
    unsigned width = insn->memory && insn->map == MAP_0F ? move_width(insn, &store) : 0;
    uint64_t gva = operand_address(cpu, insn);

    /* Writing an XMM register with a VEX instruction clears the upper bits, which are not within
     * reach here. */
    if (!width || (insn->vex && (!store || insn->vex_length != 16)))
        return RESULT_UNKNOWN;
    if (store)
        return mmu_write(cpu, gva, xmm(cpu, insn->reg), width) ? RESULT_OK : RESULT_FAULT;
    uint8_t value[16] = {0};
    if (!mmu_read(cpu, gva, value, width))
        return RESULT_FAULT;
    memory_copy(xmm(cpu, insn->reg), value, 16);
    return RESULT_OK;
}
