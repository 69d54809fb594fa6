#include "accel/direct/engine/execute.h"

#include "accel/direct/engine/alu.h"
#include "accel/direct/engine/emulate.h"
#include "accel/direct/engine/mmu.h"
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

enum result execute_get_rm(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t *value)
{
    *value = 0;
    if (insn->memory)
        return mmu_read(cpu, operand_address(cpu, insn), value, size) ? RESULT_OK : RESULT_FAULT;
    *value = get(cpu, insn, insn->rm, size);
    return RESULT_OK;
}

static enum result push(struct cpu *cpu, const struct insn *insn, uint64_t value)
{
    uint64_t *rsp = &cpu->state->gpr[X86_RSP];

    if (insn->operand16)
        return RESULT_UNKNOWN;
    if (!mmu_write(cpu, *rsp - 8, &value, 8))
        return RESULT_FAULT;
    *rsp -= 8;
    return RESULT_OK;
}

static enum result pop(struct cpu *cpu, const struct insn *insn, uint64_t *value)
{
    uint64_t *rsp = &cpu->state->gpr[X86_RSP];

    if (insn->operand16)
        return RESULT_UNKNOWN;
    if (!mmu_read(cpu, *rsp, value, 8))
        return RESULT_FAULT;
    *rsp += 8;
    return RESULT_OK;
}

static enum result pop_register(struct cpu *cpu, const struct insn *insn, unsigned number)
{
    uint64_t value;
    enum result result = pop(cpu, insn, &value);
    if (result == RESULT_OK)
        cpu->state->gpr[number] = value;
    return result;
}

/* Branches set RIP to what the caller then adds the length to. */
static enum result jump(struct cpu *cpu, const struct insn *insn, uint64_t target)
{
    if (!is_canonical(target))
        return RESULT_UNKNOWN;
    cpu->state->rip = target - insn->length;
    return RESULT_OK;
}

enum result execute_jump(struct cpu *cpu, const struct insn *insn, bool taken)
{
    if (!taken)
        return RESULT_OK;
    if (insn->operand16)
        return RESULT_UNKNOWN;
    return jump(cpu, insn, cpu->state->rip + insn->length + (uint64_t)insn->immediate);
}

static enum result call(struct cpu *cpu, const struct insn *insn, uint64_t target)
{
    if (!is_canonical(target))
        return RESULT_UNKNOWN;
    enum result result = push(cpu, insn, cpu->state->rip + insn->length);
    return result == RESULT_OK ? jump(cpu, insn, target) : result;
}

static enum result ret(struct cpu *cpu, const struct insn *insn)
{
    uint64_t target;

    if (insn->operand16)
        return RESULT_UNKNOWN;
    if (!mmu_read(cpu, cpu->state->gpr[X86_RSP], &target, 8))
        return RESULT_FAULT;
    enum result result = jump(cpu, insn, target);
    if (result == RESULT_OK)
        cpu->state->gpr[X86_RSP] += 8 + (insn->opcode == 0xc2 ? (uint16_t)insn->immediate : 0);
    return result;
}

static enum result leave(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value, *gpr = cpu->state->gpr;

    if (insn->operand16)
        return RESULT_UNKNOWN;
    if (!mmu_read(cpu, gpr[X86_RBP], &value, 8))
        return RESULT_FAULT;
    gpr[X86_RSP] = gpr[X86_RBP] + 8;
    gpr[X86_RBP] = value;
    return RESULT_OK;
}

/* Arithmetic whose destination is a register. */
static void alu(struct cpu *cpu, const struct insn *insn, enum alu_op op, unsigned number,
                unsigned size, uint64_t operand)
{
    uint64_t value = get(cpu, insn, number, size);

    value = alu_run(op, size, value, operand, &cpu->state->rflags);
    if (op != ALU_CMP && op != ALU_TEST)
        set(cpu, insn, number, size, value);
}

/* IMUL with three operands. */
static enum result multiply_immediate(struct cpu *cpu, const struct insn *insn)
{
    uint64_t value;
    enum result result = execute_get_rm(cpu, insn, insn->size, &value);

    if (result == RESULT_OK)
        set(cpu, insn, insn->reg, insn->size,
            alu_run_wide(ALU_IMUL, insn->size, value, (uint64_t)insn->immediate,
                         &cpu->state->rflags));
    return result;
}

static enum result shift(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint8_t count = insn->opcode < 0xd0   ? (uint8_t)insn->immediate
                    : insn->opcode < 0xd2 ? 1
                                          : (uint8_t)cpu->state->gpr[X86_RCX];
    uint64_t value, rflags = cpu->state->rflags;
    enum result result = execute_get_rm(cpu, insn, size, &value);

    if (result != RESULT_OK)
        return result;
    value = alu_run_shift(insn_extension(insn), size, value, count, &rflags);
    if (!insn->memory)
        set(cpu, insn, insn->rm, size, value);
    else if (!mmu_write(cpu, operand_address(cpu, insn), &value, size))
        return RESULT_FAULT;
    cpu->state->rflags = rflags;
    return RESULT_OK;
}

/* MUL, IMUL, DIV, IDIV with RAX and RDX. */
static enum result multiply_divide(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    unsigned kind = insn_extension(insn);
    uint64_t operand, rax = cpu->state->gpr[X86_RAX], rdx = cpu->state->gpr[X86_RDX];

    if (size < 4)
        return RESULT_UNKNOWN;
    enum result result = execute_get_rm(cpu, insn, size, &operand);
    if (result != RESULT_OK)
        return result;
    if (kind < 6)
        alu_multiply(kind & 1, size, &rax, &rdx, operand, &cpu->state->rflags);
    else if (!alu_divide(kind & 1, size, &rax, &rdx, operand))
        return RESULT_UNKNOWN;
    set(cpu, insn, X86_RAX, size, rax);
    set(cpu, insn, X86_RDX, size, rdx);
    return RESULT_OK;
}

/* Groups 3, 4 and 5 with a register, and what group 3 has in memory beyond emulate.c. */
static enum result group3_to_5(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    unsigned kind = insn_extension(insn);
    uint64_t value = insn->memory ? 0 : get(cpu, insn, insn->rm, size);

    if (insn->opcode < 0xf8 && kind >= 4)
        return multiply_divide(cpu, insn, size);
    if (insn->memory)
        return RESULT_UNKNOWN;
    if (insn->opcode < 0xf8) {
        if (kind < 2)
            alu(cpu, insn, ALU_TEST, insn->rm, size,
                (uint64_t)insn->immediate & operand_mask(size));
        else if (kind == 2)
            set(cpu, insn, insn->rm, size, ~value);
        else
            alu(cpu, insn, ALU_NEG, insn->rm, size, 0);
        return RESULT_OK;
    }
    if (kind < 2) {
        alu(cpu, insn, kind ? ALU_DEC : ALU_INC, insn->rm, size, 0);
        return RESULT_OK;
    }
    if (insn->opcode == 0xfe || insn->operand16)
        return RESULT_UNKNOWN;
    value = cpu->state->gpr[insn->rm];
    switch (kind) {
    case 2:
        return call(cpu, insn, value);
    case 4:
        return jump(cpu, insn, value);
    case 6:
        return push(cpu, insn, value);
    default:
        return RESULT_UNKNOWN;
    }
}

static enum result exchange(struct cpu *cpu, const struct insn *insn, unsigned first,
                            unsigned second, unsigned size)
{
    uint64_t value = get(cpu, insn, first, size);
    set(cpu, insn, first, size, get(cpu, insn, second, size));
    set(cpu, insn, second, size, value);
    return RESULT_OK;
}

/* CBW and its wider kin (98), CWD and its (99). */
static enum result extend_accumulator(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->size;
    uint64_t rax = cpu->state->gpr[X86_RAX];

    if (insn->opcode == 0x98)
        set(cpu, insn, X86_RAX, size, (uint64_t)operand_sign_extend(rax, size / 2));
    else
        set(cpu, insn, X86_RDX, size, operand_sign_extend(rax, size) < 0 ? UINT64_MAX : 0);
    return RESULT_OK;
}

/* Opcodes below 40: register forms and those with the accumulator. */
static enum result arithmetic(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint8_t form = insn->opcode & 7;
    enum alu_op op = insn->opcode >> 3;

    if (form >= 4)
        alu(cpu, insn, op, X86_RAX, size, (uint64_t)insn->immediate & operand_mask(size));
    else if (form & 2)
        alu(cpu, insn, op, insn->reg, size, get(cpu, insn, insn->rm, size));
    else
        alu(cpu, insn, op, insn->rm, size, get(cpu, insn, insn->reg, size));
    return RESULT_OK;
}

static enum result one_byte_low(struct cpu *cpu, const struct insn *insn)
{
    uint8_t op = insn->opcode, number = (uint8_t)((op & 7) | (insn->rex & 1) << 3);

    switch (op) {
    case 0x50 ... 0x57:
        return push(cpu, insn, cpu->state->gpr[number]);
    case 0x58 ... 0x5f:
        return pop_register(cpu, insn, number);
    case 0x63:
        if (insn->memory)
            return RESULT_UNKNOWN;
        set(cpu, insn, insn->reg, insn->size,
            (uint64_t)operand_sign_extend(cpu->state->gpr[insn->rm], insn->size < 4 ? 2 : 4));
        return RESULT_OK;
    case 0x68:
    case 0x6a:
        return push(cpu, insn, (uint64_t)insn->immediate);
    case 0x69:
    case 0x6b:
        return multiply_immediate(cpu, insn);
    case 0x70 ... 0x7f:
        return execute_jump(cpu, insn, operand_condition(op, cpu->state->rflags));
    default:
        return RESULT_UNKNOWN;
    }
}

/* Opcodes 80 to 8F, with a register where memory could be. */
static enum result register_moves(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    switch (insn->opcode) {
    case 0x80:
    case 0x81:
    case 0x83:
        alu(cpu, insn, insn_extension(insn), insn->rm, size,
            (uint64_t)insn->immediate & operand_mask(size));
        return RESULT_OK;
    case 0x84:
    case 0x85:
        alu(cpu, insn, ALU_TEST, insn->rm, size, get(cpu, insn, insn->reg, size));
        return RESULT_OK;
    case 0x86:
    case 0x87:
        return exchange(cpu, insn, insn->rm, insn->reg, size);
    case 0x88:
    case 0x89:
        set(cpu, insn, insn->rm, size, get(cpu, insn, insn->reg, size));
        return RESULT_OK;
    case 0x8a:
    case 0x8b:
        set(cpu, insn, insn->reg, size, get(cpu, insn, insn->rm, size));
        return RESULT_OK;
    case 0x8f:
        return pop_register(cpu, insn, insn->rm);
    default:
        return RESULT_UNKNOWN;
    }
}

static enum result one_byte_high(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint8_t op = insn->opcode, number = (uint8_t)((op & 7) | (insn->rex & 1) << 3);

    switch (op) {
    case 0x90 ... 0x97:
        if (insn->rep)
            return RESULT_UNKNOWN; /* PAUSE */
        return number ? exchange(cpu, insn, number, X86_RAX, insn->size) : RESULT_OK;
    case 0x98:
    case 0x99:
        return extend_accumulator(cpu, insn);
    case 0xa8:
    case 0xa9:
        alu(cpu, insn, ALU_TEST, X86_RAX, size, (uint64_t)insn->immediate & operand_mask(size));
        return RESULT_OK;
    case 0xb0 ... 0xb7:
        set(cpu, insn, number, 1, (uint64_t)insn->immediate);
        return RESULT_OK;
    case 0xb8 ... 0xbf:
        set(cpu, insn, number, insn->size, (uint64_t)insn->immediate);
        return RESULT_OK;
    case 0xc0:
    case 0xc1:
    case 0xd0 ... 0xd3:
        return shift(cpu, insn, size);
    case 0xc2:
    case 0xc3:
        return ret(cpu, insn);
    case 0xc6:
    case 0xc7:
        if (insn->memory || insn_extension(insn))
            return RESULT_UNKNOWN;
        set(cpu, insn, insn->rm, size, (uint64_t)insn->immediate);
        return RESULT_OK;
    case 0xc9:
        return leave(cpu, insn);
    case 0xe3:
        return insn->address32 ? RESULT_UNKNOWN
                               : execute_jump(cpu, insn, cpu->state->gpr[X86_RCX] == 0);
    case 0xe8:
        return call(cpu, insn, cpu->state->rip + insn->length + (uint64_t)insn->immediate);
    case 0xe9:
    case 0xeb:
        return execute_jump(cpu, insn, true);
    case 0xf6:
    case 0xf7:
    case 0xfe:
    case 0xff:
        return group3_to_5(cpu, insn, size);
    case 0xf8:
        cpu->state->rflags &= ~RFLAGS_CF;
        return RESULT_OK;
    case 0xf9:
        cpu->state->rflags |= RFLAGS_CF;
        return RESULT_OK;
    case 0xfc:
        cpu->state->rflags &= ~RFLAGS_DF;
        return RESULT_OK;
    default:
        return RESULT_UNKNOWN;
    }
}

static enum result one_byte(struct cpu *cpu, const struct insn *insn)
{
    uint8_t op = insn->opcode;
    unsigned size = op & 1 ? insn->size : 1;

    if (op < 0x40)
        return insn->memory ? RESULT_UNKNOWN : arithmetic(cpu, insn, size);
    if (op < 0x80)
        return one_byte_low(cpu, insn);
    if (op == 0x8d && insn->memory) {
        struct insn plain = *insn;
        plain.segment = SEGMENT_NONE;
        set(cpu, insn, insn->reg, insn->size, operand_address(cpu, &plain));
        return RESULT_OK;
    }
    if (op < 0x90)
        return insn->memory ? RESULT_UNKNOWN : register_moves(cpu, insn, size);
    return one_byte_high(cpu, insn, size);
}

/* May the instruction have a LOCK prefix? Others raise #UD with it. */
static bool is_lockable(const struct insn *insn)
{
    uint8_t op = insn->opcode, kind = insn_extension(insn);

    if (!insn->memory)
        return false;
    if (insn->map == MAP_0F)
        return op == 0xab || op == 0xb3 || op == 0xbb || (op == 0xba && kind > 4) ||
               (op & 0xfe) == 0xb0 || (op & 0xfe) == 0xc0;
    if (op < 0x40)
        return (op & 7) < 2 && op >> 3 != ALU_CMP;
    return ((op == 0x80 || op == 0x81 || op == 0x83) && kind != ALU_CMP) || (op & 0xfe) == 0x86 ||
           ((op & 0xfe) == 0xf6 && (kind == 2 || kind == 3)) || ((op & 0xfe) == 0xfe && kind < 2);
}

enum result execute_run(struct cpu *cpu, const struct insn *insn)
{
    enum result result = RESULT_UNKNOWN;

    if (insn->vex || (insn->lock && !is_lockable(insn)))
        return RESULT_UNKNOWN;
    if (insn->memory || (insn->map == MAP_ONE && insn->opcode >= 0xa0 && insn->opcode <= 0xaf))
        result = emulate_access(cpu, insn);
    if (result != RESULT_UNKNOWN)
        return result;
    if (insn->map == MAP_ONE)
        result = one_byte(cpu, insn);
    else if (insn->map == MAP_0F)
        result = execute_two_byte(cpu, insn);
    if (result == RESULT_OK)
        cpu->state->rip += insn->length;
    return result;
}
