/*
 * Arithmetic with flags, computed by the processor itself. Pure.
 */
#ifndef ENGINE_ALU_H
#define ENGINE_ALU_H

#include <stdint.h>

/* In the order of their encoding in opcodes 00 to 3F and in the extension of group 1. */
enum alu_op {
    ALU_ADD,
    ALU_OR,
    ALU_ADC,
    ALU_SBB,
    ALU_AND,
    ALU_SUB,
    ALU_XOR,
    ALU_CMP,
    ALU_TEST,
    ALU_INC,
    ALU_DEC,
    ALU_NEG,
};

/*
 * a OP b on operands of `size` bytes (1, 2, 4, 8); operations of one operand ignore b. Returns the
 * result (for CMP and TEST: a) and changes the status flags in *rflags, no other bits.
 */
uint64_t alu_run(enum alu_op op, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags);

#endif
