#include "accel/direct/engine/decode.h"

/* What follows an opcode (Intel SDM volume 2, appendix A). */
enum follow {
    MODRM = 1 << 0,
    IMM8 = 1 << 1,
    IMM16 = 1 << 2,
    IMM_Z = 1 << 3,  /* 2 or 4 bytes, by operand size */
    IMM_V = 1 << 4,  /* 2, 4 or 8 bytes */
    OFFSET = 1 << 5, /* an address */
    INVALID = 1 << 6,
};

struct cursor {
    const uint8_t *code;
    unsigned available;
    unsigned at;
    bool failed;
};

static uint8_t next_byte(struct cursor *cursor)
{
    if (cursor->at >= cursor->available || cursor->at >= INSN_MAX) {
        cursor->failed = true;
        return 0;
    }
    return cursor->code[cursor->at++];
}

static int64_t next_signed(struct cursor *cursor, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)next_byte(cursor) << (8 * i);
    unsigned unused = 64 - 8 * size;
    return size ? (int64_t)(value << unused) >> unused : 0;
}

static unsigned follow_one(uint8_t op)
{
    if (op < 0x40) {
        switch (op & 7) {
        case 4:
            return IMM8;
        case 5:
            return IMM_Z;
        case 6:
        case 7:
            return INVALID; /* segment pushes and decimal adjustments; prefixes are gone by now */
        default:
            return MODRM;
        }
    }
    if (op < 0x60)
        return op < 0x50 ? INVALID : 0; /* REX came before */
    if (op >= 0x70 && op <= 0x7f)
        return IMM8;
    if (op >= 0x84 && op <= 0x8f)
        return MODRM;
    if (op >= 0xb0 && op <= 0xb7)
        return IMM8;
    if (op >= 0xb8 && op <= 0xbf)
        return IMM_V;
    if (op >= 0xd0 && op <= 0xd3)
        return MODRM;
    if (op >= 0xd8 && op <= 0xdf)
        return MODRM;
    switch (op) {
    case 0x60:
    case 0x61:
    case 0x62:
    case 0x82:
    case 0x9a:
    case 0xc4:
    case 0xc5:
    case 0xce:
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xea:
        return INVALID;
    case 0x63:
    case 0xfe:
    case 0xff:
    case 0xf6: /* the immediate of TEST is added by the caller */
    case 0xf7:
        return MODRM;
    case 0x69:
    case 0x81:
    case 0xc7:
        return MODRM | IMM_Z;
    case 0x6b:
    case 0x80:
    case 0x83:
    case 0xc0:
    case 0xc1:
    case 0xc6:
        return MODRM | IMM8;
    case 0x68:
    case 0xa9:
    case 0xe8:
    case 0xe9:
        return IMM_Z;
    case 0x6a:
    case 0xa8:
    case 0xcd:
    case 0xe4:
    case 0xe5:
    case 0xe6:
    case 0xe7:
    case 0xeb:
    case 0xe0:
    case 0xe1:
    case 0xe2:
    case 0xe3:
        return IMM8;
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa3:
        return OFFSET;
    case 0xc2:
    case 0xca:
        return IMM16;
    case 0xc8:
        return IMM16 | IMM8;
    default:
        return 0;
    }
}

static unsigned follow_0f(uint8_t op)
{
    if (op >= 0x80 && op <= 0x8f)
        return IMM_Z;
    if ((op >= 0x30 && op <= 0x37) || (op >= 0xc8 && op <= 0xcf))
        return 0;
    switch (op) {
    case 0x05:
    case 0x06:
    case 0x07:
    case 0x08:
    case 0x09:
    case 0x0b:
    case 0x77:
    case 0xa0:
    case 0xa1:
    case 0xa2:
    case 0xa8:
    case 0xa9:
    case 0xaa:
        return 0;
    case 0x70:
    case 0x71:
    case 0x72:
    case 0x73:
    case 0xa4:
    case 0xac:
    case 0xba:
    case 0xc2:
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return MODRM | IMM8;
    case 0x04:
    case 0x0a:
    case 0x0c:
    case 0x0e: /* this and the next two are AMD's, with encodings of their own */
    case 0x0f:
    case 0x78:
        return INVALID;
    default:
        return MODRM;
    }
}

/* A near branch with an operand size of 16 bits: processors do not agree on what that is. */
static bool is_short_branch(const struct insn *insn)
{
    bool near = insn->map == MAP_ONE  ? (insn->opcode & 0xfe) == 0xe8
                : insn->map == MAP_0F ? (insn->opcode & 0xf0) == 0x80
                                      : false;
    return near && insn->size == 2;
}

static void read_prefixes(struct cursor *cursor, struct insn *insn, uint8_t *opcode)
{
    for (;;) {
        uint8_t byte = next_byte(cursor), rex = insn->rex;
        insn->rex = 0; /* counts only directly before the opcode */
        switch (byte) {
        case 0x66:
            insn->operand16 = true;
            continue;
        case 0x67:
            insn->address32 = true;
            continue;
        case 0xf0:
            insn->lock = true;
            continue;
        case 0xf2:
            insn->repne = true;
            insn->rep = false;
            continue;
        case 0xf3:
            insn->rep = true;
            insn->repne = false;
            continue;
        case 0x64:
            insn->segment = SEGMENT_FS;
            continue;
        case 0x65:
            insn->segment = SEGMENT_GS;
            continue;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            continue; /* without meaning in 64-bit mode */
        }
        if (byte >= 0x40 && byte <= 0x4f) {
            insn->rex = byte;
            continue;
        }
        insn->rex = rex;
        *opcode = byte;
        return;
    }
}

static uint8_t read_vex(struct cursor *cursor, struct insn *insn, uint8_t escape)
{
    uint8_t first = next_byte(cursor), second = first;

    insn->vex = true;
    insn->rex = 0x40 | (first & 0x80 ? 0 : 4);
    insn->map = MAP_0F;
    if (escape == 0xc4) {
        insn->rex |= (uint8_t)((first & 0x40 ? 0 : 2) | (first & 0x20 ? 0 : 1));
        insn->map = first & 0x1f;
        if (insn->map < MAP_0F || insn->map > MAP_0F3A)
            cursor->failed = true;
        second = next_byte(cursor);
        insn->rex |= second & 0x80 ? 8 : 0;
    }
    insn->vex_register = ~(second >> 3) & 15;
    insn->vex_length = second & 4 ? 32 : 16;
    insn->prefix = second & 3;
    return next_byte(cursor);
}

static void read_memory_operand(struct cursor *cursor, struct insn *insn)
{
    unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;
    unsigned b = (insn->rex & 1) << 3, x = (insn->rex & 2) << 2;

    insn->memory = true;
    insn->index = INSN_NO_REGISTER;
    insn->base = (uint8_t)(rm | b);
    if (rm == 4) {
        uint8_t sib = next_byte(cursor);
        unsigned index = (sib >> 3 & 7) | x;
        if (index != 4) {
            insn->index = (uint8_t)index;
            insn->scale = sib >> 6;
        }
        insn->base = (uint8_t)((sib & 7) | b);
        if ((sib & 7) == 5 && mod == 0) {
            insn->base = INSN_NO_REGISTER;
            insn->displacement = next_signed(cursor, 4);
        }
    } else if (rm == 5 && mod == 0) {
        insn->base = INSN_RIP;
        insn->displacement = next_signed(cursor, 4);
    }
    if (mod == 1)
        insn->displacement = next_signed(cursor, 1);
    else if (mod == 2)
        insn->displacement = next_signed(cursor, 4);
}

static void read_immediates(struct cursor *cursor, struct insn *insn, unsigned follow)
{
    if (follow & OFFSET)
        insn->displacement = next_signed(cursor, insn->address32 ? 4 : 8);
    if (follow & IMM16)
        insn->immediate = next_signed(cursor, 2);
    if (follow & IMM8)
        insn->immediate = next_signed(cursor, 1);
    if (follow & IMM_Z)
        insn->immediate = next_signed(cursor, insn->size == 2 ? 2 : 4);
    if (follow & IMM_V)
        insn->immediate = next_signed(cursor, insn->size);
}

bool insn_decode(const uint8_t *code, unsigned available, struct insn *insn)
{
    struct cursor cursor = {code, available, 0, false};
    unsigned follow;

    *insn = (struct insn){.base = INSN_NO_REGISTER, .index = INSN_NO_REGISTER};
    read_prefixes(&cursor, insn, &insn->opcode);
    insn->prefix = insn->rep         ? PREFIX_F3
                   : insn->repne     ? PREFIX_F2
                   : insn->operand16 ? PREFIX_66
                                     : PREFIX_NONE;
    if (insn->opcode == 0xc4 || insn->opcode == 0xc5) {
        insn->opcode = read_vex(&cursor, insn, insn->opcode);
    } else if (insn->opcode == 0x0f) {
        insn->map = MAP_0F;
        insn->opcode = next_byte(&cursor);
        if (insn->opcode == 0x38 || insn->opcode == 0x3a) {
            insn->map = insn->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
            insn->opcode = next_byte(&cursor);
        }
    }
    insn->size = insn->rex & 8 ? 8 : insn->operand16 ? 2 : 4;

    if (insn->map == MAP_ONE)
        follow = follow_one(insn->opcode);
    else if (insn->map == MAP_0F)
        follow = follow_0f(insn->opcode);
    else
        follow = insn->map == MAP_0F38 ? MODRM : MODRM | IMM8;
    if (cursor.failed || (follow & INVALID) || is_short_branch(insn))
        return false;
    /* With VEX only VZEROALL and VZEROUPPER have no operands. */
    if (insn->vex && !(follow & MODRM) && insn->opcode != 0x77)
        return false;
    if (follow & MODRM) {
        insn->has_modrm = true;
        insn->modrm = next_byte(&cursor);
        if (insn->map == MAP_ONE && insn->opcode == 0x8f && insn_extension(insn))
            return false; /* XOP */
        insn->reg = (uint8_t)((insn->modrm >> 3 & 7) | (insn->rex & 4) << 1);
        insn->rm = (uint8_t)((insn->modrm & 7) | (insn->rex & 1) << 3);
        /* Moves to and from control and debug registers have no memory form. */
        bool registers_only = insn->map == MAP_0F && insn->opcode >= 0x20 && insn->opcode <= 0x23;
        if (insn->modrm < 0xc0 && !registers_only)
            read_memory_operand(&cursor, insn);
        if (insn->map == MAP_ONE && (insn->opcode & 0xfe) == 0xf6 && insn_extension(insn) < 2)
            follow |= insn->opcode == 0xf6 ? IMM8 : IMM_Z;
    }
    read_immediates(&cursor, insn, follow);
    insn->length = (uint8_t)cursor.at;
    return !cursor.failed;
}
