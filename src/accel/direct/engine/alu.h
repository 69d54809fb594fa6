/*
 * Arithmetic with flags, computed by the processor itself. Pure.
 */
#ifndef ENGINE_ALU_H
#define ENGINE_ALU_H

#include <stdbool.h>
#include <stdint.h>

/* The first eight are in the order of their encoding in opcodes 00 to 3F and in the extension of
 * group 1. */
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

/* In the order of the extension of group 2. */
enum alu_shift {
    ALU_ROL,
    ALU_ROR,
    ALU_RCL,
    ALU_RCR,
    ALU_SHL,
    ALU_SHR,
    ALU_SAL, /* the same as SHL */
    ALU_SAR,
};

/* What has no byte form. In the order of the extension of group 8, less 4; then others. */
enum alu_wide {
    ALU_BT,
    ALU_BTS,
    ALU_BTR,
    ALU_BTC,
    ALU_IMUL,
    ALU_BSF, /* of b; the result is a if b is 0 */
    ALU_BSR,
    ALU_TZCNT, /* of b; BSF on processors that do not know it, and so on */
    ALU_LZCNT,
    ALU_POPCNT,
};

/*
 * a OP b on operands of `size` bytes (1, 2, 4, 8); operations of one operand ignore b. Returns the
 * result (for CMP and TEST: a) and changes the status flags in *rflags, no other bits.
 */
uint64_t alu_run(enum alu_op op, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags);
uint64_t alu_run_shift(enum alu_shift op, unsigned size, uint64_t a, uint8_t count,
                       uint64_t *rflags);
/* `size` is 2, 4 or 8. */
uint64_t alu_run_wide(enum alu_wide op, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags);

/* RDX:RAX = RAX * b, `size` is 4 or 8; the upper halves of registers are the caller's affair. */
void alu_multiply(bool sign, unsigned size, uint64_t *rax, uint64_t *rdx, uint64_t b,
                  uint64_t *rflags);

/* RDX:RAX / b: quotient to RAX, remainder to RDX. False, with nothing changed, if the division
 * would raise an exception or is signed with a dividend of more than `size` bytes. */
bool alu_divide(bool sign, unsigned size, uint64_t *rax, uint64_t *rdx, uint64_t b);

#endif
