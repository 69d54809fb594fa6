/*
 * Decoding one instruction of 64-bit code, as far as the engine ever looks at it: length, opcode,
 * operands in memory and registers. Legacy and VEX encodings; EVEX and XOP are told apart from
 * nothing and fail. Pure.
 */
#ifndef ENGINE_DECODE_H
#define ENGINE_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#define INSN_MAX 15 /* bytes */

enum insn_map {
    MAP_ONE,  /* one-byte opcodes */
    MAP_0F,   /* 0F xx */
    MAP_0F38, /* 0F 38 xx */
    MAP_0F3A, /* 0F 3A xx */
};

enum insn_prefix {
    PREFIX_NONE,
    PREFIX_66,
    PREFIX_F3,
    PREFIX_F2,
};

#define INSN_NO_REGISTER 0xff
#define INSN_RIP         0x10 /* as base register */

enum insn_segment {
    SEGMENT_NONE, /* base 0 in 64-bit mode */
    SEGMENT_FS,
    SEGMENT_GS,
};

struct insn {
    uint8_t length;
    uint8_t map; /* enum insn_map */
    uint8_t opcode;
    bool lock, rep, repne, operand16, address32;
    bool vex;
    uint8_t vex_length; /* bytes: 16 or 32 */
    uint8_t vex_register;
    uint8_t prefix; /* enum insn_prefix: the one that selects an SSE instruction */
    uint8_t rex;    /* 0 if there is none; W, R, X, B in the low bits */
    bool has_modrm;
    uint8_t modrm;
    uint8_t reg, rm; /* with REX bits; rm is a register only if !memory */
    bool memory;
    uint8_t segment; /* enum insn_segment */
    uint8_t base, index, scale;
    int64_t displacement; /* also the address of MOV with a direct offset */
    uint8_t size;         /* operand size in bytes of opcodes that have no byte form: 2, 4 or 8 */
    int64_t immediate;    /* sign-extended */
};

/* Decode the instruction at the start of `code`. False if it is incomplete, invalid or of an
 * encoding that is not covered. */
bool insn_decode(const uint8_t *code, unsigned available, struct insn *insn);

static inline bool insn_rex_w(const struct insn *insn)
{
    return insn->rex & 8;
}

/* The opcode extension in ModRM. */
static inline uint8_t insn_extension(const struct insn *insn)
{
    return insn->modrm >> 3 & 7;
}

#endif
