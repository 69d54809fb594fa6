/*
 * Instructions of the second opcode map (0F xx) among those of execute.h.
 */
#include "accel/direct/engine/execute.h"

#include "accel/direct/engine/alu.h"
#include "accel/direct/engine/operand.h"

static uint64_t get(const struct cpu *cpu, const struct insn *insn, unsigned number, unsigned size)
{
    return operand_get_register(cpu, insn, number, size);
}

static void set(struct cpu *cpu, const struct insn *insn, unsigned number, unsigned size,
                uint64_t value)
{
    operand_set_register(cpu, insn, number, size, value);
}

static enum result wide(struct cpu *cpu, const struct insn *insn, enum alu_wide op, unsigned number,
                        uint64_t operand)
{
    uint64_t value = get(cpu, insn, number, insn->size);

    value = alu_run_wide(op, insn->size, value, operand, &cpu->state->rflags);
    /* Scanning 0 leaves all 64 bits of the register. */
    bool scans_zero = (op == ALU_BSF || op == ALU_BSR) && !operand;
    if (op != ALU_BT && !scans_zero)
        set(cpu, insn, number, insn->size, value);
    return RESULT_OK;
}

static enum result wide_from_rm(struct cpu *cpu, const struct insn *insn, enum alu_wide op)
{
    uint64_t operand;
    enum result result = execute_get_rm(cpu, insn, insn->size, &operand);
    return result == RESULT_OK ? wide(cpu, insn, op, insn->reg, operand) : result;
}

/* MOVZX, MOVSX from a register. */
static enum result move_extended(struct cpu *cpu, const struct insn *insn)
{
    unsigned from = insn->opcode & 1 ? 2 : 1;
    uint64_t value = get(cpu, insn, insn->rm, from);

    if (insn->opcode & 8)
        value = (uint64_t)operand_sign_extend(value, from);
    set(cpu, insn, insn->reg, insn->size, value);
    return RESULT_OK;
}

static enum result compare_exchange(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint64_t old = get(cpu, insn, insn->rm, size), compare = get(cpu, insn, X86_RAX, size);

    alu_run(ALU_CMP, size, compare, old, &cpu->state->rflags);
    if (old == compare)
        set(cpu, insn, insn->rm, size, get(cpu, insn, insn->reg, size));
    else
        set(cpu, insn, X86_RAX, size, old);
    return RESULT_OK;
}

static enum result exchange_add(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint64_t old = get(cpu, insn, insn->rm, size), value = get(cpu, insn, insn->reg, size);

    value = alu_run(ALU_ADD, size, old, value, &cpu->state->rflags);
    set(cpu, insn, insn->reg, size, old);
    set(cpu, insn, insn->rm, size, value);
    return RESULT_OK;
}

static enum result swap_bytes(struct cpu *cpu, const struct insn *insn)
{
    unsigned number = (insn->opcode & 7u) | (insn->rex & 1u) << 3;
    uint64_t value = cpu->state->gpr[number];

    if (insn->operand16)
        return RESULT_UNKNOWN;
    value = insn->size == 8 ? __builtin_bswap64(value) : __builtin_bswap32((uint32_t)value);
    set(cpu, insn, number, insn->size, value);
    return RESULT_OK;
}

static enum result count_bits(struct cpu *cpu, const struct insn *insn)
{
    bool rep = insn->prefix == PREFIX_F3;

    if (insn->opcode == 0xb8)
        return rep ? wide_from_rm(cpu, insn, ALU_POPCNT) : RESULT_UNKNOWN;
    if (insn->opcode == 0xbc)
        return wide_from_rm(cpu, insn, rep ? ALU_TZCNT : ALU_BSF);
    return wide_from_rm(cpu, insn, rep ? ALU_LZCNT : ALU_BSR);
}

/* Instructions of the second map for which it does not matter whether an operand is in memory. */
static enum result two_byte_any(struct cpu *cpu, const struct insn *insn)
{
    switch (insn->opcode) {
    case 0x1e: /* ENDBR64 and other hints */
    case 0x1f:
        return RESULT_OK;
    case 0x31: {
        uint64_t now = rdtsc();
        cpu->state->gpr[X86_RAX] = (uint32_t)now;
        cpu->state->gpr[X86_RDX] = now >> 32;
        return RESULT_OK;
    }
    case 0x80 ... 0x8f:
        return execute_jump(cpu, insn, operand_condition(insn->opcode, cpu->state->rflags));
    case 0xaf:
        return wide_from_rm(cpu, insn, ALU_IMUL);
    case 0xb8:
    case 0xbc:
    case 0xbd:
        return count_bits(cpu, insn);
    case 0xc8 ... 0xcf:
        return swap_bytes(cpu, insn);
    default:
        return RESULT_UNKNOWN;
    }
}

enum result execute_two_byte(struct cpu *cpu, const struct insn *insn)
{
    uint8_t op = insn->opcode;
    enum result result = two_byte_any(cpu, insn);

    if (result != RESULT_UNKNOWN || insn->memory)
        return result;
    switch (op) {
    case 0x40 ... 0x4f: {
        bool moves = operand_condition(op, cpu->state->rflags);
        set(cpu, insn, insn->reg, insn->size,
            get(cpu, insn, moves ? insn->rm : insn->reg, insn->size));
        return RESULT_OK;
    }
    case 0x90 ... 0x9f:
        set(cpu, insn, insn->rm, 1, operand_condition(op, cpu->state->rflags));
        return RESULT_OK;
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
        return wide(cpu, insn, op >> 3 & 3, insn->rm, get(cpu, insn, insn->reg, insn->size));
    case 0xba:
        return insn_extension(insn) < 4 ? RESULT_UNKNOWN
                                        : wide(cpu, insn, insn_extension(insn) - 4u, insn->rm,
                                               (uint64_t)insn->immediate);
    case 0xae: /* LFENCE, MFENCE, SFENCE */
        if (insn->prefix != PREFIX_NONE || insn_extension(insn) < 5)
            return RESULT_UNKNOWN;
        __asm__ volatile("mfence" : : : "memory"); /* the strongest of the three */
        return RESULT_OK;
    case 0xb0:
    case 0xb1:
        return compare_exchange(cpu, insn, op & 1 ? insn->size : 1);
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
        return move_extended(cpu, insn);
    case 0xc0:
    case 0xc1:
        return exchange_add(cpu, insn, op & 1 ? insn->size : 1);
    default:
        return RESULT_UNKNOWN;
    }
}
