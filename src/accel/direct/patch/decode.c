#include "accel/direct/patch/decode.h"

#include <string.h>

/*
 * What follows an opcode. The immediate sizes: B one byte, W two, Z four (two with 66), V eight
 * with REX.W, else as Z, A an absolute address of eight bytes (four with 67), E three (enter).
 */
enum {
    N = 0, /* nothing */
    M = 1, /* ModRM with what it brings */
    B = 2, /* immediates: a field of three bits */
    W = 4,
    Z = 6,
    V = 8,
    A = 10,
    E = 12,
    R = 14,   /* a distance of four bytes, whatever the prefixes */
    IMM = 14, /* mask of the field */
    P = 16,   /* prefix, escape or special case, handled by name */
    X = 32,   /* no instruction in 64-bit mode */
    MB = M | B,
    MZ = M | Z,
};

/* clang-format off */
static const uint8_t one_byte_map[256] = {
    /*       0  1  2  3  4  5  6  7  8  9  A  B  C  D  E  F */
    /* 0 */  M, M, M, M, B, Z, X, X, M, M, M, M, B, Z, X, P,
    /* 1 */  M, M, M, M, B, Z, X, X, M, M, M, M, B, Z, X, X,
    /* 2 */  M, M, M, M, B, Z, P, X, M, M, M, M, B, Z, P, X,
    /* 3 */  M, M, M, M, B, Z, P, X, M, M, M, M, B, Z, P, X,
    /* 4 */  P, P, P, P, P, P, P, P, P, P, P, P, P, P, P, P,
    /* 5 */  N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N,
    /* 6 */  X, X, P, M, P, P, P, P, Z,MZ, B,MB, N, N, N, N,
    /* 7 */  B, B, B, B, B, B, B, B, B, B, B, B, B, B, B, B,
    /* 8 */ MB,MZ, X,MB, M, M, M, M, M, M, M, M, M, M, M, P,
    /* 9 */  N, N, N, N, N, N, N, N, N, N, X, N, N, N, N, N,
    /* A */  A, A, A, A, N, N, N, N, B, Z, N, N, N, N, N, N,
    /* B */  B, B, B, B, B, B, B, B, V, V, V, V, V, V, V, V,
    /* C */ MB,MB, W, N, P, P,MB,MZ, E, N, W, N, N, B, X, N,
    /* D */  M, M, M, M, X, X, X, N, M, M, M, M, M, M, M, M,
    /* E */  B, B, B, B, B, B, B, B, R, R, X, B, N, N, N, N,
    /* F */  P, N, P, P, N, N, P, P, N, N, N, N, N, N, M, M,
};

static const uint8_t two_byte_map[256] = {
    /*       0  1  2  3  4  5  6  7  8  9  A  B  C  D  E  F */
    /* 0 */  M, M, M, M, X, N, N, N, N, N, X, N, X, M, N,MB,
    /* 1 */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 2 */  M, M, M, M, X, X, X, X, M, M, M, M, M, M, M, M,
    /* 3 */  N, N, N, N, N, N, X, N, P, X, P, X, X, X, X, X,
    /* 4 */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 5 */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 6 */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* 7 */ MB,MB,MB,MB, M, M, M, N, M, M, X, X, M, M, M, M,
    /* 8 */  R, R, R, R, R, R, R, R, R, R, R, R, R, R, R, R,
    /* 9 */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* A */  N, N, N, M,MB, M, X, X, N, N, N, M,MB, M, M, M,
    /* B */  M, M, M, M, M, M, M, M, M, M,MB, M, M, M, M, M,
    /* C */  M, M,MB, M,MB,MB,MB, M, N, N, N, N, N, N, N, N,
    /* D */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* E */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
    /* F */  M, M, M, M, M, M, M, M, M, M, M, M, M, M, M, M,
};
/* clang-format on */

/* The bytes not yet looked at. `past` is set by reading beyond them. */
struct cursor {
    const uint8_t *code;
    size_t size, at;
    bool past;
};

static inline uint8_t take(struct cursor *cursor)
{
    if (cursor->at >= cursor->size) {
        cursor->past = true;
        return 0;
    }
    return cursor->code[cursor->at++];
}

/* The immediate of a VEX or EVEX instruction: the same opcodes have one as without VEX. */
static int vector_form(unsigned map, uint8_t opcode)
{
    switch (map) {
    case 1:
        if (opcode >> 4 == 8)
            return X;
        return opcode == 0x77 ? N : M | (two_byte_map[opcode] & IMM);
    case 2:
    case 5:
    case 6:
        return M;
    case 3:
        return MB;
    default:
        return X;
    }
}

static int take_vex(struct cursor *cursor, struct decode_insn *insn, uint8_t first)
{
    unsigned map = 1;
    if (first == 0xC4)
        map = take(cursor) & 31;
    take(cursor);
    insn->map = DECODE_VECTOR;
    insn->opcode = take(cursor);
    return map >= 1 && map <= 3 ? vector_form(map, insn->opcode) : X;
}

static int take_evex(struct cursor *cursor, struct decode_insn *insn)
{
    uint8_t first = take(cursor), second = take(cursor);
    take(cursor);
    insn->map = DECODE_VECTOR;
    insn->opcode = take(cursor);
    if ((first & 8) || !(second & 4))
        return X;
    int form = vector_form(first & 7, insn->opcode);
    return form == N ? X : form;
}

/* AMD's XOP shares its first byte with pop r/m and differs in the map number. */
static int take_xop_or_pop(struct cursor *cursor, struct decode_insn *insn)
{
    uint8_t first = cursor->at < cursor->size ? cursor->code[cursor->at] : 0;
    unsigned map = first & 31;
    if (map < 8)
        return first & 0x38 ? X : M;
    take(cursor);
    take(cursor);
    insn->map = DECODE_VECTOR;
    insn->opcode = take(cursor);
    return map == 8 ? MB : map == 9 ? M : map == 10 ? MZ : X;
}

static int take_two_byte(struct cursor *cursor, struct decode_insn *insn)
{
    insn->map = DECODE_0F;
    insn->opcode = take(cursor);
    if (insn->opcode == 0x38 || insn->opcode == 0x3A) {
        bool third = insn->opcode == 0x3A;
        insn->map = third ? DECODE_0F3A : DECODE_0F38;
        insn->opcode = take(cursor);
        return third ? MB : M;
    }
    /* SSE4a's extrq and insertq have two immediate bytes. */
    if (insn->opcode == 0x78 && (insn->prefixes & (DECODE_66 | DECODE_F2)))
        return M | W;
    return two_byte_map[insn->opcode];
}

/* Prefixes and opcode. Returns the form of what follows, or X. */
static int take_opcode(struct cursor *cursor, struct decode_insn *insn)
{
    for (;;) {
        uint8_t byte = take(cursor);
        int form = one_byte_map[byte];
        insn->opcode = byte;
        if (!(form & P))
            return cursor->past ? X : form;
        switch (byte) {
        case 0x0F:
            return take_two_byte(cursor, insn);
        case 0x62:
            return take_evex(cursor, insn);
        case 0x8F:
            return take_xop_or_pop(cursor, insn);
        case 0xC4:
        case 0xC5:
            return take_vex(cursor, insn, byte);
        case 0xF6: /* test has an immediate, the others of the group do not */
        case 0xF7: {
            bool test = cursor->at < cursor->size && !(cursor->code[cursor->at] & 0x30);
            return !test ? M : byte == 0xF6 ? MB : MZ;
        }
        case 0x66:
            insn->prefixes |= DECODE_66;
            break;
        case 0x67:
            insn->prefixes |= DECODE_67;
            break;
        case 0xF0:
            insn->prefixes |= DECODE_LOCK;
            break;
        case 0xF2:
            insn->prefixes |= DECODE_F2;
            break;
        case 0xF3:
            insn->prefixes |= DECODE_F3;
            break;
        case 0x64:
        case 0x65:
            insn->prefixes |= DECODE_SEGMENT;
            break;
        default: /* segment prefixes without meaning, and REX */
            break;
        }
        /* A REX prefix counts only right before the opcode. */
        insn->rex = byte >> 4 == 4 ? byte : 0;
    }
}

static void take_modrm(struct cursor *cursor, struct decode_insn *insn)
{
    insn->has_modrm = true;
    insn->modrm = take(cursor);
    unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;
    /* Moves to and from control and debug registers ignore mod. */
    if (mod == 3 || (insn->map == DECODE_0F && insn->opcode >= 0x20 && insn->opcode <= 0x23))
        return;
    if (rm == 4) {
        uint8_t sib = take(cursor);
        if (mod == 0 && (sib & 7) == 5)
            cursor->at += 4;
    } else if (mod == 0 && rm == 5) {
        insn->disp_offset = (uint8_t)cursor->at;
        cursor->at += 4;
    }
    cursor->at += mod == 1 ? 1 : mod == 2 ? 4 : 0;
}

static size_t immediate_size(const struct decode_insn *insn, int form)
{
    bool wide = insn->rex & 8, small = (insn->prefixes & DECODE_66) && !wide;
    switch (form & IMM) {
    case B:
        return 1;
    case W:
        return 2;
    case Z:
        return small ? 2 : 4;
    case V:
        return wide ? 8 : small ? 2 : 4;
    case A:
        return insn->prefixes & DECODE_67 ? 4 : 8;
    case E:
        return 3;
    case R:
        return 4;
    default:
        return 0;
    }
}

static bool flow_one_byte(struct decode_insn *insn)
{
    uint8_t opcode = insn->opcode;
    if (opcode >> 4 == 7) {
        insn->flow = DECODE_BRANCH;
        insn->relative_size = 1;
        return true;
    }
    if (opcode < 0xC2)
        return true;
    switch (opcode) {
    case 0xE0 ... 0xE3:
        insn->flow = DECODE_LOOP;
        insn->relative_size = 1;
        break;
    case 0xE8:
        insn->flow = DECODE_CALL;
        insn->relative_size = 4;
        break;
    case 0xE9:
    case 0xEB:
        insn->flow = DECODE_JUMP;
        insn->relative_size = opcode == 0xE9 ? 4 : 1;
        break;
    case 0xC2:
    case 0xC3:
    case 0xCA:
    case 0xCB:
    case 0xCF:
        insn->flow = DECODE_RETURN;
        break;
    case 0xC6:
    case 0xC7: /* only mov, xabort and xbegin live here */
        if (opcode == 0xC7 && insn->modrm == 0xF8) {
            insn->flow = DECODE_TRANSACTION;
            insn->relative_size = insn->prefixes & DECODE_66 ? 0 : 4;
        }
        return decode_reg(insn) == 0 || insn->modrm == 0xF8;
    case 0xFE:
        return decode_reg(insn) < 2;
    case 0xFF:
        if (decode_reg(insn) == 2 || decode_reg(insn) == 3)
            insn->flow = DECODE_CALL_INDIRECT;
        else if (decode_reg(insn) == 4 || decode_reg(insn) == 5)
            insn->flow = DECODE_JUMP_INDIRECT;
        return decode_reg(insn) != 7;
    default:
        break;
    }
    return true;
}

static void flow_two_byte(struct decode_insn *insn)
{
    switch (insn->opcode) {
    case 0x80 ... 0x8F:
        insn->flow = DECODE_BRANCH;
        insn->relative_size = 4;
        break;
    case 0x07: /* sysret */
    case 0x35: /* sysexit */
        insn->flow = DECODE_RETURN;
        break;
    case 0x0B: /* ud2, ud1 */
    case 0xB9:
    case 0xFF: /* ud0 */
        insn->flow = DECODE_STOP;
        break;
    default:
        break;
    }
}

/*
 * What most instructions are: an opcode of the first map below C2, at most with a REX prefix. False
 * for others. All of DECODE_MAX_LENGTH bytes must be readable.
 */
static bool decode_common(const uint8_t *code, struct decode_insn *insn)
{
    uint8_t rex = 0, opcode = code[0];
    unsigned at = 1;
    if (opcode >> 4 == 4) {
        rex = opcode;
        opcode = code[at++];
    }
    int form = one_byte_map[opcode];
    if (opcode >= 0xC2 || (form & (P | X)))
        return false;
    *insn = (struct decode_insn){.rex = rex, .opcode = opcode};
    if (opcode >> 4 == 7) {
        insn->flow = DECODE_BRANCH;
        insn->relative_size = 1;
    }
    if (form & M) {
        insn->has_modrm = true;
        insn->modrm = code[at++];
        unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;
        if (mod == 0 && rm == 5) {
            insn->disp_offset = (uint8_t)at;
            at += 4;
        } else if (mod != 3) {
            at += mod == 1 ? 1 : mod == 2 ? 4 : 0;
            if (rm == 4)
                at += 1 + (mod == 0 && (code[at] & 7) == 5 ? 4 : 0);
        }
    }
    if (form & IMM)
        at += (unsigned)immediate_size(insn, form);
    insn->length = (uint8_t)at;
    return true;
}

bool decode(const uint8_t *code, size_t size, struct decode_insn *insn)
{
    if (size >= DECODE_MAX_LENGTH && decode_common(code, insn))
        return true;
    struct cursor cursor = {code, size < DECODE_MAX_LENGTH ? size : DECODE_MAX_LENGTH, 0, false};
    memset(insn, 0, sizeof *insn);
    int form = take_opcode(&cursor, insn);
    if (form & (X | P))
        return false;
    if (form & M)
        take_modrm(&cursor, insn);
    cursor.at += immediate_size(insn, form);
    if (cursor.past || cursor.at > cursor.size)
        return false;
    insn->length = (uint8_t)cursor.at;
    if (insn->map == DECODE_0F)
        flow_two_byte(insn);
    else if (insn->map == DECODE_ONE_BYTE)
        return flow_one_byte(insn);
    return true;
}

uint64_t decode_target(const struct decode_insn *insn, const uint8_t *code, uint64_t address)
{
    uint64_t next = address + insn->length;
    if (insn->relative_size == 1)
        return next + (uint64_t)(int64_t)(int8_t)code[insn->length - 1];
    int32_t distance;
    memcpy(&distance, code + insn->length - sizeof distance, sizeof distance);
    return next + (uint64_t)(int64_t)distance;
}
