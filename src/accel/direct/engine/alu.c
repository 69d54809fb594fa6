#include "accel/direct/engine/alu.h"

#define STATUS_FLAGS UINT64_C(0x8d5) /* OF SF ZF AF PF CF */

/* Run the instruction, read the flags. PUSHF needs the stack, so this file is compiled without a
 * red zone. */
#define RUN(instruction, type)                                                                     \
    __asm__(instruction "; pushfq; popq %[flags]"                                                  \
            : [a] "+r"(*(type *)&a), [flags] "=&r"(flags)                                          \
            : [b] "r"((type)b)                                                                     \
            : "cc", "memory")

/* The same for instructions that depend on flags, or leave some as they are. */
#define RUN_WITH_FLAGS(instruction, type)                                                          \
    __asm__("pushq %[flags]; popfq; " instruction "; pushfq; popq %[flags]"                        \
            : [a] "+r"(*(type *)&a), [flags] "+r"(flags)                                           \
            : [b] "r"((type)b)                                                                     \
            : "cc", "memory")

#define RUN_SHIFT(instruction, type)                                                               \
    __asm__("pushq %[flags]; popfq; " instruction " %%cl, %[a]; pushfq; popq %[flags]"             \
            : [a] "+r"(*(type *)&a), [flags] "+r"(flags)                                           \
            : "c"(count)                                                                           \
            : "cc", "memory")

#define SIZED(run, instruction)                                                                    \
    switch (size) {                                                                                \
    case 1:                                                                                        \
        run(instruction, uint8_t);                                                                 \
        break;                                                                                     \
    case 2:                                                                                        \
        run(instruction, uint16_t);                                                                \
        break;                                                                                     \
    case 4:                                                                                        \
        run(instruction, uint32_t);                                                                \
        break;                                                                                     \
    default:                                                                                       \
        run(instruction, uint64_t);                                                                \
    }                                                                                              \
    break

#define SIZED_WIDE(instruction)                                                                    \
    switch (size) {                                                                                \
    case 2:                                                                                        \
        RUN_WITH_FLAGS(instruction, uint16_t);                                                     \
        break;                                                                                     \
    case 4:                                                                                        \
        RUN_WITH_FLAGS(instruction, uint32_t);                                                     \
        break;                                                                                     \
    default:                                                                                       \
        RUN_WITH_FLAGS(instruction, uint64_t);                                                     \
    }                                                                                              \
    break

static void set_status(uint64_t *rflags, uint64_t flags)
{
    *rflags = (*rflags & ~STATUS_FLAGS) | (flags & STATUS_FLAGS);
}

uint64_t alu_run(enum alu_op op, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags)
{
    uint64_t flags = (*rflags & STATUS_FLAGS) | 2;

    switch (op) {
    case ALU_ADD:
        SIZED(RUN, "add %[b], %[a]");
    case ALU_OR:
        SIZED(RUN, "or %[b], %[a]");
    case ALU_ADC:
        SIZED(RUN_WITH_FLAGS, "adc %[b], %[a]");
    case ALU_SBB:
        SIZED(RUN_WITH_FLAGS, "sbb %[b], %[a]");
    case ALU_AND:
        SIZED(RUN, "and %[b], %[a]");
    case ALU_SUB:
        SIZED(RUN, "sub %[b], %[a]");
    case ALU_XOR:
        SIZED(RUN, "xor %[b], %[a]");
    case ALU_CMP:
        SIZED(RUN, "cmp %[b], %[a]");
    case ALU_TEST:
        SIZED(RUN, "test %[b], %[a]");
    case ALU_INC:
        SIZED(RUN_WITH_FLAGS, "inc %[a]");
    case ALU_DEC:
        SIZED(RUN_WITH_FLAGS, "dec %[a]");
    case ALU_NEG:
        SIZED(RUN, "neg %[a]");
    }
    set_status(rflags, flags);
    return a;
}

uint64_t alu_run_shift(enum alu_shift op, unsigned size, uint64_t a, uint8_t count,
                       uint64_t *rflags)
{
    uint64_t flags = (*rflags & STATUS_FLAGS) | 2;

    switch (op) {
    case ALU_ROL:
        SIZED(RUN_SHIFT, "rol");
    case ALU_ROR:
        SIZED(RUN_SHIFT, "ror");
    case ALU_RCL:
        SIZED(RUN_SHIFT, "rcl");
    case ALU_RCR:
        SIZED(RUN_SHIFT, "rcr");
    case ALU_SHL:
    case ALU_SAL:
        SIZED(RUN_SHIFT, "shl");
    case ALU_SHR:
        SIZED(RUN_SHIFT, "shr");
    case ALU_SAR:
        SIZED(RUN_SHIFT, "sar");
    }
    set_status(rflags, flags);
    return a;
}

uint64_t alu_run_wide(enum alu_wide op, unsigned size, uint64_t a, uint64_t b, uint64_t *rflags)
{
    uint64_t flags = (*rflags & STATUS_FLAGS) | 2;

    switch (op) {
    case ALU_BT:
        SIZED_WIDE("bt %[b], %[a]");
    case ALU_BTS:
        SIZED_WIDE("bts %[b], %[a]");
    case ALU_BTR:
        SIZED_WIDE("btr %[b], %[a]");
    case ALU_BTC:
        SIZED_WIDE("btc %[b], %[a]");
    case ALU_IMUL:
        SIZED_WIDE("imul %[b], %[a]");
    case ALU_BSF:
        SIZED_WIDE("bsf %[b], %[a]");
    case ALU_BSR:
        SIZED_WIDE("bsr %[b], %[a]");
    case ALU_TZCNT: /* as bytes, for assemblers that want a CPU chosen */
        SIZED_WIDE("rep bsf %[b], %[a]");
    case ALU_LZCNT:
        SIZED_WIDE("rep bsr %[b], %[a]");
    case ALU_POPCNT:
        SIZED_WIDE("popcnt %[b], %[a]");
    }
    set_status(rflags, flags);
    return a;
}

#define MULTIPLY(instruction, type)                                                                \
    __asm__(instruction "; pushfq; popq %[flags]"                                                  \
            : "+a"(*(type *)rax), "=d"(*(type *)rdx), [flags] "=&r"(flags)                         \
            : [b] "r"((type)b)                                                                     \
            : "cc", "memory")

void alu_multiply(bool sign, unsigned size, uint64_t *rax, uint64_t *rdx, uint64_t b,
                  uint64_t *rflags)
{
    uint64_t flags;

    if (sign && size == 8)
        MULTIPLY("imulq %[b]", uint64_t);
    else if (sign)
        MULTIPLY("imull %[b]", uint32_t);
    else if (size == 8)
        MULTIPLY("mulq %[b]", uint64_t);
    else
        MULTIPLY("mull %[b]", uint32_t);
    set_status(rflags, flags);
}

#define DIVIDE(instruction, type)                                                                  \
    __asm__(instruction " %[b]" : "+a"(*(type *)rax), "+d"(*(type *)rdx) : [b] "r"((type)b) : "cc")

bool alu_divide(bool sign, unsigned size, uint64_t *rax, uint64_t *rdx, uint64_t b)
{
    uint64_t mask = size == 8 ? UINT64_MAX : UINT32_MAX, top = mask / 2 + 1;
    uint64_t extension = *rax & top ? mask : 0;

    b &= mask;
    if (sign ? (*rdx & mask) != extension || !b || (b == mask && (*rax & mask) == top)
             : (*rdx & mask) >= b)
        return false;
    if (sign && size == 8)
        DIVIDE("idivq", uint64_t);
    else if (sign)
        DIVIDE("idivl", uint32_t);
    else if (size == 8)
        DIVIDE("divq", uint64_t);
    else
        DIVIDE("divl", uint32_t);
    return true;
}
