/*
 * Where one 64-bit mode instruction ends and the few things about it that a binary patcher needs:
 * opcode, operand form, and where control goes next (Intel SDM volume 2, chapter 2 and appendix A;
 * AMD APM volume 3, appendix A). It does not know what instructions compute.
 *
 * Why not a general decoder: one takes 80 to 120 ns for each instruction, and every instruction of
 * an image is decoded at every start. The unit tests and the fuzz target hold this one against such
 * a decoder (Zydis), on random bytes and on whole images.
 *
 * Pure functions without memory or library calls, for any thread and for freestanding programs.
 */
#ifndef DIRECT_PATCH_DECODE_H
#define DIRECT_PATCH_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DECODE_MAX_LENGTH 15

/* Opcode maps; VEX, EVEX and XOP instructions are kept apart because none of them is sensitive. */
enum decode_map {
    DECODE_ONE_BYTE,
    DECODE_0F,
    DECODE_0F38,
    DECODE_0F3A,
    DECODE_VECTOR,
};

enum decode_flow {
    DECODE_NEXT,          /* goes on behind it, if it does not trap */
    DECODE_JUMP,          /* always to decode_target */
    DECODE_BRANCH,        /* to decode_target or behind it: jcc */
    DECODE_LOOP,          /* the same with an 8-bit distance only: loop, jrcxz */
    DECODE_CALL,          /* to decode_target, later behind it */
    DECODE_TRANSACTION,   /* xbegin: decode_target is where an abort goes */
    DECODE_CALL_INDIRECT, /* call r/m, near or far */
    DECODE_JUMP_INDIRECT, /* jmp r/m, near or far */
    DECODE_RETURN,        /* near or far return, iret, sysret, sysexit */
    DECODE_STOP,          /* ud2 and the like: what follows need not be code */
};

enum decode_prefix {
    DECODE_66 = 1 << 0,
    DECODE_F2 = 1 << 1,
    DECODE_F3 = 1 << 2,
    DECODE_67 = 1 << 3,
    DECODE_LOCK = 1 << 4,
    DECODE_SEGMENT = 1 << 5, /* fs: or gs:, the others mean nothing */
};

struct decode_insn {
    uint8_t length;
    uint8_t map;           /* enum decode_map */
    uint8_t flow;          /* enum decode_flow */
    uint8_t prefixes;      /* enum decode_prefix, or-ed */
    uint8_t rex;           /* 0: none */
    uint8_t opcode;        /* last opcode byte */
    uint8_t modrm;         /* meaningful if has_modrm */
    uint8_t disp_offset;   /* of a 32-bit displacement from RIP; 0: no such operand */
    uint8_t relative_size; /* of the distance at the end of a direct branch: 1 or 4; 0: none */
    bool has_modrm;
};

/*
 * Decode the instruction at code[0]; at most `size` bytes may be read. Returns false if the bytes
 * are no instruction of 64-bit mode, or more than `size` bytes long. Lenient about prefixes that a
 * processor refuses with an opcode: such bytes do not occur in code, and trap.
 */
bool decode(const uint8_t *code, size_t size, struct decode_insn *insn);

/* Target of a direct branch whose first byte is at `address`, from the bytes it was decoded of. */
uint64_t decode_target(const struct decode_insn *insn, const uint8_t *code, uint64_t address);

static inline unsigned decode_mod(const struct decode_insn *insn)
{
    return insn->modrm >> 6;
}

static inline unsigned decode_reg(const struct decode_insn *insn)
{
    return insn->modrm >> 3 & 7;
}

/* True if the instruction behind it is not executed next in any case. */
static inline bool decode_ends_block(const struct decode_insn *insn)
{
    return insn->flow == DECODE_JUMP || insn->flow >= DECODE_JUMP_INDIRECT;
}

#endif
