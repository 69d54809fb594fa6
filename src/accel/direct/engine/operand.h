/*
 * Operands of a decoded instruction: registers of the guest and effective addresses.
 */
#ifndef ENGINE_OPERAND_H
#define ENGINE_OPERAND_H

#include "accel/direct/engine/decode.h"
#include "accel/direct/engine/engine.h"

/* `size` is 1, 2, 4 or 8 bytes. Without REX, byte registers 4 to 7 are AH, CH, DH, BH. */
uint64_t operand_get_register(const struct cpu *cpu, const struct insn *insn, unsigned number,
                              unsigned size);
/* Writing 4 bytes clears the upper half, as the processor does; 1 and 2 bytes leave it. */
void operand_set_register(struct cpu *cpu, const struct insn *insn, unsigned number, unsigned size,
                          uint64_t value);

/* Linear address of the memory operand. */
uint64_t operand_address(const struct cpu *cpu, const struct insn *insn);

static inline uint64_t operand_mask(unsigned size)
{
    return size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

static inline int64_t operand_sign_extend(uint64_t value, unsigned size)
{
    unsigned unused = 64 - 8 * size;
    return (int64_t)(value << unused) >> unused;
}

/* Does the condition in the low four bits of an opcode hold? */
bool operand_condition(uint8_t opcode, uint64_t rflags);

/* The guest's segment bases, which the processor holds. */
uint64_t operand_segment_base(uint8_t segment);
void operand_set_segment_base(uint8_t segment, uint64_t base);

#endif
