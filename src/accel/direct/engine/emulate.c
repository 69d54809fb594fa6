#include "accel/direct/engine/emulate.h"

#include "accel/direct/engine/alu.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"

static uint64_t load(const void *from, unsigned size)
{
    switch (size) {
    case 1:
        return __atomic_load_n((const uint8_t *)from, __ATOMIC_SEQ_CST);
    case 2:
        return __atomic_load_n((const uint16_t *)from, __ATOMIC_SEQ_CST);
    case 4:
        return __atomic_load_n((const uint32_t *)from, __ATOMIC_SEQ_CST);
    default:
        return __atomic_load_n((const uint64_t *)from, __ATOMIC_SEQ_CST);
    }
}

#define EXCHANGE_IF(type)                                                                          \
    __atomic_compare_exchange_n((type *)at, &(type){(type)old}, (type) new, false,                 \
                                __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

static bool exchange_if(void *at, unsigned size, uint64_t old, uint64_t new)
{
    switch (size) {
    case 1:
        return EXCHANGE_IF(uint8_t);
    case 2:
        return EXCHANGE_IF(uint16_t);
    case 4:
        return EXCHANGE_IF(uint32_t);
    default:
        return EXCHANGE_IF(uint64_t);
    }
}

/* What a read-modify-write instruction does with the old value. */
struct update {
    enum {
        UPDATE_ALU,
        UPDATE_NOT,
        UPDATE_EXCHANGE,
        UPDATE_COMPARE_EXCHANGE,
        UPDATE_SET,
        UPDATE_RESET,
        UPDATE_COMPLEMENT,
    } kind;
    enum alu_op op;
    uint64_t operand; /* of the operation, or the mask of the bit */
    uint64_t compare;
};

static uint64_t updated(const struct update *update, unsigned size, uint64_t old, uint64_t *rflags)
{
    switch (update->kind) {
    case UPDATE_ALU:
        return alu_run(update->op, size, old, update->operand, rflags);
    case UPDATE_NOT:
        return ~old;
    case UPDATE_EXCHANGE:
        return update->operand;
    case UPDATE_COMPARE_EXCHANGE:
        alu_run(ALU_CMP, size, update->compare, old, rflags);
        return old == update->compare ? update->operand : old;
    case UPDATE_SET:
    case UPDATE_RESET:
    case UPDATE_COMPLEMENT:
        *rflags = (*rflags & ~RFLAGS_CF) | (old & update->operand ? RFLAGS_CF : 0);
        return update->kind == UPDATE_SET     ? old | update->operand
               : update->kind == UPDATE_RESET ? old & ~update->operand
                                              : old ^ update->operand;
    }
    return old;
}

/*
 * Read-modify-write at `gva`. Always atomic on RAM, which is more than instructions without LOCK
 * promise; the flags are those of the attempt that succeeded. *old is what was there.
 */
static enum result modify(struct cpu *cpu, uint64_t gva, unsigned size, const struct update *update,
                          uint64_t *old)
{
    bool fault;
    uint64_t rflags, new;
    void *at = mmu_pointer(cpu, gva, size, ACCESS_WRITE, &fault);

    if (fault)
        return RESULT_FAULT;
    *old = 0;
    do {
        if (at)
            *old = load(at, size);
        else if (!mmu_read(cpu, gva, old, size))
            return RESULT_FAULT;
        rflags = cpu->state->rflags;
        new = updated(update, size, *old, &rflags);
    } while (at && !exchange_if(at, size, *old, new));
    if (!at && !mmu_write(cpu, gva, &new, size))
        return RESULT_FAULT;
    cpu->state->rflags = rflags;
    return RESULT_OK;
}

static enum result read_memory(struct cpu *cpu, uint64_t gva, unsigned size, uint64_t *value)
{
    *value = 0;
    return mmu_read(cpu, gva, value, size) ? RESULT_OK : RESULT_FAULT;
}

static enum result write_memory(struct cpu *cpu, uint64_t gva, unsigned size, uint64_t value)
{
    return mmu_write(cpu, gva, &value, size) ? RESULT_OK : RESULT_FAULT;
}

static enum result load_register(struct cpu *cpu, const struct insn *insn, unsigned from_size,
                                 unsigned to_size, bool sign)
{
    uint64_t value;
    enum result result = read_memory(cpu, operand_address(cpu, insn), from_size, &value);
    if (result == RESULT_OK)
        operand_set_register(cpu, insn, insn->reg, to_size,
                             sign ? (uint64_t)operand_sign_extend(value, from_size) : value);
    return result;
}

/* ALU operation with the memory operand as destination, or compared only. */
static enum result alu_on_memory(struct cpu *cpu, const struct insn *insn, enum alu_op op,
                                 unsigned size, uint64_t operand)
{
    uint64_t gva = operand_address(cpu, insn), old;

    if (op == ALU_CMP || op == ALU_TEST) {
        enum result result = read_memory(cpu, gva, size, &old);
        if (result == RESULT_OK)
            alu_run(op, size, old, operand, &cpu->state->rflags);
        return result;
    }
    return modify(cpu, gva, size,
                  &(struct update){.kind = UPDATE_ALU, .op = op, .operand = operand}, &old);
}

/* ADD ... CMP with a register as destination. */
static enum result alu_on_register(struct cpu *cpu, const struct insn *insn, enum alu_op op,
                                   unsigned size)
{
    uint64_t value;
    enum result result = read_memory(cpu, operand_address(cpu, insn), size, &value);
    if (result != RESULT_OK)
        return result;
    uint64_t old = operand_get_register(cpu, insn, insn->reg, size);
    value = alu_run(op, size, old, value, &cpu->state->rflags);
    if (op != ALU_CMP)
        operand_set_register(cpu, insn, insn->reg, size, value);
    return RESULT_OK;
}

static enum result exchange(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint64_t old, value = operand_get_register(cpu, insn, insn->reg, size);
    enum result result = modify(cpu, operand_address(cpu, insn), size,
                                &(struct update){.kind = UPDATE_EXCHANGE, .operand = value}, &old);
    if (result == RESULT_OK)
        operand_set_register(cpu, insn, insn->reg, size, old);
    return result;
}

/* PUSH, and CALL and JMP through memory. */
static enum result group5(struct cpu *cpu, const struct insn *insn)
{
    uint64_t target, *rsp = &cpu->state->gpr[X86_RSP], next = cpu->state->rip + insn->length;
    unsigned kind = insn_extension(insn), size = insn->operand16 && kind == 6 ? 2 : 8;
    enum result result = read_memory(cpu, operand_address(cpu, insn), size, &target);

    if (result != RESULT_OK)
        return result;
    if (kind != 4) {
        result = write_memory(cpu, *rsp - size, size, kind == 2 ? next : target);
        if (result != RESULT_OK)
            return result;
        *rsp -= size;
    }
    if (kind != 6)
        cpu->state->rip = target - insn->length; /* the caller adds the length */
    return RESULT_OK;
}

static enum result one_byte_group(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    unsigned kind = insn_extension(insn);
    uint64_t old, operand = (uint64_t)insn->immediate & operand_mask(size);

    switch (insn->opcode) {
    case 0x80:
    case 0x81:
    case 0x83:
        return alu_on_memory(cpu, insn, kind, size, operand);
    case 0xc6:
    case 0xc7:
        return kind ? RESULT_UNKNOWN : write_memory(cpu, operand_address(cpu, insn), size, operand);
    case 0xf6:
    case 0xf7:
        if (kind < 2)
            return alu_on_memory(cpu, insn, ALU_TEST, size, operand);
        if (kind == 2)
            return modify(cpu, operand_address(cpu, insn), size,
                          &(struct update){.kind = UPDATE_NOT}, &old);
        return kind == 3 ? alu_on_memory(cpu, insn, ALU_NEG, size, 0) : RESULT_UNKNOWN;
    default: /* FE, FF */
        if (kind < 2)
            return alu_on_memory(cpu, insn, kind ? ALU_DEC : ALU_INC, size, 0);
        if (insn->opcode == 0xff && (kind == 2 || kind == 4 || kind == 6))
            return group5(cpu, insn);
        return RESULT_UNKNOWN;
    }
}

static enum result one_byte(struct cpu *cpu, const struct insn *insn)
{
    uint8_t op = insn->opcode;
    unsigned size = op & 1 ? insn->size : 1;

    if (op >= 0xa0 && op <= 0xa3) {
        uint64_t value, gva = operand_address(cpu, insn);
        if (op >= 0xa2)
            return write_memory(cpu, gva, size, operand_get_register(cpu, insn, X86_RAX, size));
        enum result result = read_memory(cpu, gva, size, &value);
        if (result == RESULT_OK)
            operand_set_register(cpu, insn, X86_RAX, size, value);
        return result;
    }
    if (!insn->memory)
        return RESULT_UNKNOWN;
    if (op < 0x40 && (op & 7) < 4) {
        if (op & 2)
            return alu_on_register(cpu, insn, op >> 3, size);
        return alu_on_memory(cpu, insn, op >> 3, size,
                             operand_get_register(cpu, insn, insn->reg, size));
    }
    switch (op) {
    case 0x63:
        return load_register(cpu, insn, 4, insn->size, true);
    case 0x84:
    case 0x85:
        return alu_on_memory(cpu, insn, ALU_TEST, size,
                             operand_get_register(cpu, insn, insn->reg, size));
    case 0x86:
    case 0x87:
        return exchange(cpu, insn, size);
    case 0x88:
    case 0x89:
        return write_memory(cpu, operand_address(cpu, insn), size,
                            operand_get_register(cpu, insn, insn->reg, size));
    case 0x8a:
    case 0x8b:
        return load_register(cpu, insn, size, size, false);
    case 0x80:
    case 0x81:
    case 0x83:
    case 0xc6:
    case 0xc7:
    case 0xf6:
    case 0xf7:
    case 0xfe:
    case 0xff:
        return one_byte_group(cpu, insn, size);
    default:
        return RESULT_UNKNOWN;
    }
}

/* BT, BTS, BTR, BTC. With a register as index the bit may be far from the operand's address. */
static enum result bit_test(struct cpu *cpu, const struct insn *insn)
{
    static const int kinds[4] = {-1, UPDATE_SET, UPDATE_RESET, UPDATE_COMPLEMENT};
    unsigned bits = insn->size * 8;
    uint64_t gva = operand_address(cpu, insn), value, bit;
    int kind;

    if (insn->opcode == 0xba) {
        if (insn_extension(insn) < 4)
            return RESULT_UNKNOWN;
        kind = kinds[insn_extension(insn) - 4];
        bit = (uint64_t)insn->immediate % bits;
    } else {
        int64_t index = operand_sign_extend(cpu->state->gpr[insn->reg], insn->size);
        kind = kinds[insn->opcode >> 3 & 3];
        bit = (uint64_t)index % bits;
        gva += (uint64_t)((index - (int64_t)bit) / 8);
    }
    if (kind >= 0)
        return modify(cpu, gva, insn->size,
                      &(struct update){.kind = kind, .operand = UINT64_C(1) << bit}, &value);
    enum result result = read_memory(cpu, gva, insn->size, &value);
    if (result == RESULT_OK)
        cpu->state->rflags = (cpu->state->rflags & ~RFLAGS_CF) | (value >> bit & 1 ? RFLAGS_CF : 0);
    return result;
}

static enum result compare_exchange(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint64_t old;
    struct update update = {
        .kind = UPDATE_COMPARE_EXCHANGE,
        .operand = operand_get_register(cpu, insn, insn->reg, size),
        .compare = operand_get_register(cpu, insn, X86_RAX, size),
    };
    enum result result = modify(cpu, operand_address(cpu, insn), size, &update, &old);
    if (result == RESULT_OK && old != update.compare)
        operand_set_register(cpu, insn, X86_RAX, size, old);
    return result;
}

static enum result exchange_add(struct cpu *cpu, const struct insn *insn, unsigned size)
{
    uint64_t old;
    struct update update = {
        .kind = UPDATE_ALU,
        .op = ALU_ADD,
        .operand = operand_get_register(cpu, insn, insn->reg, size),
    };
    enum result result = modify(cpu, operand_address(cpu, insn), size, &update, &old);
    if (result == RESULT_OK)
        operand_set_register(cpu, insn, insn->reg, size, old);
    return result;
}

static enum result two_byte(struct cpu *cpu, const struct insn *insn)
{
    uint8_t op = insn->opcode;

    if (!insn->memory)
        return RESULT_UNKNOWN;
    if (op >= 0x40 && op <= 0x4f) {
        uint64_t value;
        enum result result = read_memory(cpu, operand_address(cpu, insn), insn->size, &value);
        if (result == RESULT_OK) {
            bool moves = operand_condition(op, cpu->state->rflags);
            if (!moves)
                value = operand_get_register(cpu, insn, insn->reg, insn->size);
            operand_set_register(cpu, insn, insn->reg, insn->size, value);
        }
        return result;
    }
    if (op >= 0x90 && op <= 0x9f)
        return write_memory(cpu, operand_address(cpu, insn), 1,
                            operand_condition(op, cpu->state->rflags));
    switch (op) {
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
    case 0xba:
        return bit_test(cpu, insn);
    case 0xb0:
    case 0xb1:
        return compare_exchange(cpu, insn, op & 1 ? insn->size : 1);
    case 0xc0:
    case 0xc1:
        return exchange_add(cpu, insn, op & 1 ? insn->size : 1);
    case 0xb6:
    case 0xb7:
        return load_register(cpu, insn, op & 1 ? 2 : 1, insn->size, false);
    case 0xbe:
    case 0xbf:
        return load_register(cpu, insn, op & 1 ? 2 : 1, insn->size, true);
    case 0xc3: /* MOVNTI */
        return write_memory(cpu, operand_address(cpu, insn), insn->size,
                            operand_get_register(cpu, insn, insn->reg, insn->size));
    case 0x0d: /* PREFETCHW */
    case 0x18: /* PREFETCH */
        return RESULT_OK;
    default:
        return emulate_vector(cpu, insn);
    }
}

enum result emulate_access(struct cpu *cpu, const struct insn *insn)
{
    enum result result = RESULT_UNKNOWN;

    if (insn->vex)
        result = emulate_vector(cpu, insn);
    else if (insn->map == MAP_ONE && insn->opcode >= 0xa4 && insn->opcode <= 0xaf)
        return emulate_string(cpu, insn);
    else if (insn->map == MAP_ONE)
        result = one_byte(cpu, insn);
    else if (insn->map == MAP_0F)
        result = two_byte(cpu, insn);
    if (result == RESULT_OK)
        cpu->state->rip += insn->length;
    return result;
}
