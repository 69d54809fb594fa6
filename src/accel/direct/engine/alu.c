#include "accel/direct/engine/alu.h"

#define STATUS_FLAGS UINT64_C(0x8d5) /* OF SF ZF AF PF CF */

/* Load the flags, run the instruction, read the flags back. PUSHF needs the stack, so this file is
 * compiled without a red zone. */
#define RUN(instruction, type)                                                                     \
    __asm__("pushq %[flags]; popfq; " instruction "; pushfq; popq %[flags]"                        \
            : [a] "+r"(*(type *)&a), [flags] "+r"(flags)                                           \
            : [b] "r"((type)b)                                                                     \
            : "cc", "memory")

#define RUN_SIZED(instruction)                                                                     \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        RUN(instruction, uint8_t);                                                                 \
        break;                                                                                     \
    case 2:                                                                                        \
        RUN(instruction, uint16_t);                                                                \
        break;                                                                                     \
    case 4:                                                                                        \
        RUN(instruction, uint32_t);                                                                \
        break;                                                                                     \
    default:                                                                                       \
        RUN(instruction, uint64_t);                                                                \
    }                                                                                              \
    break

uint64_t alu_run(enum alu_op op, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags)
{
    uint64_t flags = (*rflags & STATUS_FLAGS) | 2;

    switch (op) {
    case ALU_ADD:
        RUN_SIZED("add %[b], %[a]");
    case ALU_OR:
        RUN_SIZED("or %[b], %[a]");
    case ALU_ADC:
        RUN_SIZED("adc %[b], %[a]");
    case ALU_SBB:
        RUN_SIZED("sbb %[b], %[a]");
    case ALU_AND:
        RUN_SIZED("and %[b], %[a]");
    case ALU_SUB:
        RUN_SIZED("sub %[b], %[a]");
    case ALU_XOR:
        RUN_SIZED("xor %[b], %[a]");
    case ALU_CMP:
        RUN_SIZED("cmp %[b], %[a]");
    case ALU_TEST:
        RUN_SIZED("test %[b], %[a]");
    case ALU_INC:
        RUN_SIZED("inc %[a]");
    case ALU_DEC:
        RUN_SIZED("dec %[a]");
    case ALU_NEG:
        RUN_SIZED("neg %[a]");
    }
    *rflags = (*rflags & ~STATUS_FLAGS) | (flags & STATUS_FLAGS);
    return a;
}
