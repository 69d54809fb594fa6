#include "debug/gdb/registers.h"

#include <string.h>

/*
 * The XSAVE area (Intel SDM volume 1, sections 10.5.1 and 13.4): the legacy region as FXSAVE has
 * it, a header whose first word says which components are not in their initial state, the upper
 * halves of YMM.
 */
enum {
    XSAVE_FCW = 0,
    XSAVE_FSW = 2,
    XSAVE_FTW = 4,
    XSAVE_FOP = 6,
    XSAVE_FIP = 8,
    XSAVE_FDP = 16,
    XSAVE_MXCSR = 24,
    XSAVE_ST = 32, /* 16 bytes apart, 10 used */
    XSAVE_XMM = 160,
    XSAVE_XSTATE_BV = 512,
    XSAVE_MINIMUM = 576,
    XSAVE_YMMH = 576,
    XSAVE_AVX_SIZE = 832,
    XSTATE_X87 = 1 << 0,
    XSTATE_SSE = 1 << 1,
    XSTATE_AVX = 1 << 2,
    INITIAL_FCW = 0x37f,
    INITIAL_MXCSR = 0x1f80,
};

enum kind {
    STATE,    /* in struct x86_state, `at` bytes from its start */
    RFLAGS,   /* its lower half */
    SELECTOR, /* of the segment at `at` */
    XSAVE,    /* in the XSAVE area */
    TAG_WORD, /* the x87 tag word, which the XSAVE area has in a short form */
};

struct gdb_register {
    const char *name;
    const char *type;
    const char *group;
    uint8_t size; /* in the protocol */
    enum kind kind;
    uint16_t at;
    uint8_t stored;    /* XSAVE: bytes in the area */
    uint8_t component; /* XSAVE: bit in XSTATE_BV; 0: always valid */
};

#define GPR(name, number, type)                                                                    \
    {                                                                                              \
        name, type, "general", 8, STATE, offsetof(struct x86_state, gpr) + 8 * (number), 0, 0      \
    }
#define SEGMENT(name)                                                                              \
    {                                                                                              \
#name, "int32", "general", 4, SELECTOR, offsetof(struct x86_state, name), 0, 0             \
    }
#define CONTROL(name)                                                                              \
    {                                                                                              \
#name, "int64", "system", 8, STATE, offsetof(struct x86_state, name), 0, 0                 \
    }
#define BASE(name, segment)                                                                        \
    {                                                                                              \
        name, "int", "general", 8, STATE,                                                          \
            offsetof(struct x86_state, segment) + offsetof(struct x86_segment, base), 0, 0         \
    }
#define ST(n)                                                                                      \
    {                                                                                              \
        "st" #n, "i387_ext", "float", 10, XSAVE, XSAVE_ST + 16 * (n), 10, XSTATE_X87               \
    }
#define X87(name, at, stored)                                                                      \
    {                                                                                              \
        name, "int", "float", 4, XSAVE, at, stored, XSTATE_X87                                     \
    }
#define XMM(n)                                                                                     \
    {                                                                                              \
        "xmm" #n, "vec128", "vector", 16, XSAVE, XSAVE_XMM + 16 * (n), 16, XSTATE_SSE              \
    }
#define YMMH(n)                                                                                    \
    {                                                                                              \
        "ymm" #n "h", "uint128", "vector", 16, XSAVE, XSAVE_YMMH + 16 * (n), 16, XSTATE_AVX        \
    }

/* clang-format off: a table */
static const struct gdb_register registers_table[] = {
    GPR("rax", X86_RAX, "int64"),
    GPR("rbx", X86_RBX, "int64"),
    GPR("rcx", X86_RCX, "int64"),
    GPR("rdx", X86_RDX, "int64"),
    GPR("rsi", X86_RSI, "int64"),
    GPR("rdi", X86_RDI, "int64"),
    GPR("rbp", X86_RBP, "data_ptr"),
    GPR("rsp", X86_RSP, "data_ptr"),
    GPR("r8", X86_R8, "int64"),
    GPR("r9", X86_R9, "int64"),
    GPR("r10", X86_R10, "int64"),
    GPR("r11", X86_R11, "int64"),
    GPR("r12", X86_R12, "int64"),
    GPR("r13", X86_R13, "int64"),
    GPR("r14", X86_R14, "int64"),
    GPR("r15", X86_R15, "int64"),
    {"rip", "code_ptr", "general", 8, STATE, offsetof(struct x86_state, rip), 0, 0},
    {"eflags", "i386_eflags", "general", 4, RFLAGS, 0, 0, 0},
    SEGMENT(cs),
    SEGMENT(ss),
    SEGMENT(ds),
    SEGMENT(es),
    SEGMENT(fs),
    SEGMENT(gs),
    ST(0),
    ST(1),
    ST(2),
    ST(3),
    ST(4),
    ST(5),
    ST(6),
    ST(7),
    X87("fctrl", XSAVE_FCW, 2),
    X87("fstat", XSAVE_FSW, 2),
    {"ftag", "int", "float", 4, TAG_WORD, XSAVE_FTW, 1, XSTATE_X87},
    X87("fiseg", XSAVE_FIP + 4, 4),
    X87("fioff", XSAVE_FIP, 4),
    X87("foseg", XSAVE_FDP + 4, 4),
    X87("fooff", XSAVE_FDP, 4),
    X87("fop", XSAVE_FOP, 2),
    XMM(0),
    XMM(1),
    XMM(2),
    XMM(3),
    XMM(4),
    XMM(5),
    XMM(6),
    XMM(7),
    XMM(8),
    XMM(9),
    XMM(10),
    XMM(11),
    XMM(12),
    XMM(13),
    XMM(14),
    XMM(15),
    {"mxcsr", "i386_mxcsr", "vector", 4, XSAVE, XSAVE_MXCSR, 4, 0},
    BASE("fs_base", fs),
    BASE("gs_base", gs),
    CONTROL(cr0),
    CONTROL(cr2),
    CONTROL(cr3),
    CONTROL(cr4),
    CONTROL(cr8),
    CONTROL(efer),
    YMMH(0),
    YMMH(1),
    YMMH(2),
    YMMH(3),
    YMMH(4),
    YMMH(5),
    YMMH(6),
    YMMH(7),
    YMMH(8),
    YMMH(9),
    YMMH(10),
    YMMH(11),
    YMMH(12),
    YMMH(13),
    YMMH(14),
    YMMH(15),
};

/* The standard features of GDB for this architecture (GDB manual, section G.5.5), and one of ours.
 */
static const struct {
    const char *name;
    const char *first; /* register */
    const char *types;
} features[] = {
    {"org.gnu.gdb.i386.core", "rax",
     "<flags id=\"i386_eflags\" size=\"4\">"
     "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/>"
     "<field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
     "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
     "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/>"
     "<field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
     "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
     "<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"ID\" start=\"21\" end=\"21\"/>"
     "</flags>"},
    {"org.gnu.gdb.i386.sse", "xmm0",
     "<vector id=\"v8bf16\" type=\"bfloat16\" count=\"8\"/>"
     "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
     "<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
     "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>"
     "<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
     "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>"
     "<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
     "<union id=\"vec128\"><field name=\"v8_bfloat16\" type=\"v8bf16\"/>"
     "<field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
     "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
     "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
     "<field name=\"uint128\" type=\"uint128\"/></union>"
     "<flags id=\"i386_mxcsr\" size=\"4\">"
     "<field name=\"IE\" start=\"0\" end=\"0\"/><field name=\"DE\" start=\"1\" end=\"1\"/>"
     "<field name=\"ZE\" start=\"2\" end=\"2\"/><field name=\"OE\" start=\"3\" end=\"3\"/>"
     "<field name=\"UE\" start=\"4\" end=\"4\"/><field name=\"PE\" start=\"5\" end=\"5\"/>"
     "<field name=\"DAZ\" start=\"6\" end=\"6\"/><field name=\"IM\" start=\"7\" end=\"7\"/>"
     "<field name=\"DM\" start=\"8\" end=\"8\"/><field name=\"ZM\" start=\"9\" end=\"9\"/>"
     "<field name=\"OM\" start=\"10\" end=\"10\"/><field name=\"UM\" start=\"11\" end=\"11\"/>"
     "<field name=\"PM\" start=\"12\" end=\"12\"/><field name=\"FZ\" start=\"15\" end=\"15\"/>"
     "</flags>"},
    {"org.gnu.gdb.i386.segments", "fs_base", ""},
    {"org.uhyve.x86-64.system", "cr0", ""},
    {"org.gnu.gdb.i386.avx", "ymm0h", ""},
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define AVX_COUNT    16

bool gdb_registers_have_avx(size_t xsave_size)
{
    return xsave_size >= XSAVE_AVX_SIZE;
}

unsigned gdb_register_count(bool avx)
{
    return COUNT(registers_table) - (avx ? 0 : AVX_COUNT);
}

size_t gdb_register_size(unsigned number)
{
    return number < COUNT(registers_table) ? registers_table[number].size : 0;
}

static uint64_t xstate_bv(const struct gdb_registers *registers)
{
    uint64_t bits;
    memcpy(&bits, registers->xsave + XSAVE_XSTATE_BV, sizeof bits);
    return bits;
}

/* Whether the area holds the component, and not "it is in its initial state" in its place. */
static bool is_stored(const struct gdb_registers *registers, unsigned component)
{
    return !component || (xstate_bv(registers) & component);
}

/* Before one of its registers is changed, put the initial state of a component into the area. */
static void store_component(struct gdb_registers *registers, unsigned component)
{
    static const uint16_t control = INITIAL_FCW;
    uint8_t *area = registers->xsave;
    uint64_t bits = xstate_bv(registers) | component;

    if (is_stored(registers, component))
        return;
    switch (component) {
    case XSTATE_X87:
        memset(area, 0, XSAVE_MXCSR);
        memset(area + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
        memcpy(area + XSAVE_FCW, &control, sizeof control);
        break;
    case XSTATE_SSE:
        memset(area + XSAVE_XMM, 0, 256);
        break;
    case XSTATE_AVX:
        memset(area + XSAVE_YMMH, 0, 256);
        break;
    }
    memcpy(area + XSAVE_XSTATE_BV, &bits, sizeof bits);
}

/* Two bits of the x87 tag word (Intel SDM volume 1, section 8.1.7) for a register that is in use.
 */
static unsigned tag_of(const uint8_t *st)
{
    uint64_t mantissa;
    unsigned exponent = (unsigned)(st[8] | st[9] << 8) & 0x7fff;

    memcpy(&mantissa, st, sizeof mantissa);
    if (exponent == 0 && mantissa == 0)
        return 1;                                                         /* zero */
    return exponent != 0 && exponent != 0x7fff && mantissa >> 63 ? 0 : 2; /* valid, or special */
}

/* The area has one bit for each physical register, and the stack relative to TOP. */
static uint32_t get_tag_word(const uint8_t *area)
{
    unsigned top = area[XSAVE_FSW + 1] >> 3 & 7;
    uint32_t word = 0;

    for (unsigned i = 0; i < 8; i++) {
        unsigned stack = (i - top) & 7;
        unsigned tag = area[XSAVE_FTW] >> i & 1 ? tag_of(area + XSAVE_ST + 16 * stack) : 3;
        word |= tag << 2 * i;
    }
    return word;
}

static uint8_t to_short_tags(const uint8_t *from)
{
    unsigned word = from[0] | (unsigned)from[1] << 8;
    uint8_t bits = 0;

    for (unsigned i = 0; i < 8; i++)
        if ((word >> 2 * i & 3) != 3)
            bits = (uint8_t)(bits | 1 << i);
    return bits;
}

static bool get_xsave(const struct gdb_registers *registers, const struct gdb_register *entry,
                      uint8_t *to)
{
    static const uint32_t initial_mxcsr = INITIAL_MXCSR;

    memset(to, 0, entry->size);
    if (registers->xsave_size < XSAVE_MINIMUM ||
        (entry->component == XSTATE_AVX && !gdb_registers_have_avx(registers->xsave_size)))
        return false;
    if (!is_stored(registers, entry->component)) {
        if (entry->at == XSAVE_FCW)
            memcpy(to, (const uint8_t[]){INITIAL_FCW & 0xff, INITIAL_FCW >> 8}, 2);
        if (entry->kind == TAG_WORD)
            memset(to, 0xff, 2); /* all are empty */
    } else if (entry->kind == TAG_WORD) {
        uint32_t word = get_tag_word(registers->xsave);
        memcpy(to, &word, sizeof word);
    } else {
        memcpy(to, registers->xsave + entry->at, entry->stored);
        /* Processors leave it alone while neither SSE nor AVX were used. */
        if (entry->at == XSAVE_MXCSR && !is_stored(registers, XSTATE_SSE) &&
            !is_stored(registers, XSTATE_AVX))
            memcpy(to, &initial_mxcsr, sizeof initial_mxcsr);
    }
    return true;
}

bool gdb_register_get(const struct gdb_registers *registers, unsigned number, uint8_t *to)
{
    const uint8_t *state = (const uint8_t *)&registers->state;
    uint32_t word;

    if (number >= COUNT(registers_table))
        return false;
    const struct gdb_register *entry = &registers_table[number];
    switch (entry->kind) {
    case STATE:
        memcpy(to, state + entry->at, entry->size);
        return registers->state_valid;
    case RFLAGS:
        word = (uint32_t)registers->state.rflags;
        memcpy(to, &word, sizeof word);
        return registers->state_valid;
    case SELECTOR:
        memset(to, 0, entry->size);
        memcpy(to, state + entry->at + offsetof(struct x86_segment, selector), sizeof(uint16_t));
        return registers->state_valid;
    case XSAVE:
    case TAG_WORD:
        return get_xsave(registers, entry, to);
    }
    return false;
}

static enum gdb_register_part set_xsave(struct gdb_registers *registers,
                                        const struct gdb_register *entry, const uint8_t *from)
{
    uint8_t *area = registers->xsave;

    if (registers->xsave_size < XSAVE_MINIMUM ||
        (entry->component == XSTATE_AVX && !gdb_registers_have_avx(registers->xsave_size)))
        return GDB_PART_NONE;
    store_component(registers, entry->at == XSAVE_MXCSR ? XSTATE_SSE : entry->component);
    if (entry->kind == TAG_WORD)
        area[XSAVE_FTW] = to_short_tags(from);
    else
        memcpy(area + entry->at, from, entry->stored);
    return GDB_PART_XSAVE;
}

enum gdb_register_part gdb_register_set(struct gdb_registers *registers, unsigned number,
                                        const uint8_t *from)
{
    uint8_t *state = (uint8_t *)&registers->state;
    uint32_t word;

    if (number >= COUNT(registers_table))
        return GDB_PART_NONE;
    const struct gdb_register *entry = &registers_table[number];
    switch (entry->kind) {
    case STATE:
        memcpy(state + entry->at, from, entry->size);
        break;
    case RFLAGS:
        memcpy(&word, from, sizeof word);
        registers->state.rflags = (registers->state.rflags & ~(uint64_t)UINT32_MAX) | word;
        break;
    case SELECTOR:
        memcpy(state + entry->at + offsetof(struct x86_segment, selector), from, sizeof(uint16_t));
        break;
    case XSAVE:
    case TAG_WORD:
        return set_xsave(registers, entry, from);
    }
    return registers->state_valid ? GDB_PART_STATE : GDB_PART_NONE;
}

void gdb_registers_describe(struct text *text, bool avx)
{
    unsigned count = gdb_register_count(avx), feature = 0;

    text_add(text, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
                   "<target version=\"1.0\"><architecture>i386:x86-64</architecture>\n");
    for (unsigned i = 0; i < count; i++) {
        const struct gdb_register *entry = &registers_table[i];
        if (feature < COUNT(features) && strcmp(entry->name, features[feature].first) == 0) {
            text_printf(text, "%s<feature name=\"%s\">%s\n", feature ? "</feature>\n" : "",
                        features[feature].name, features[feature].types);
            feature++;
        }
        text_printf(text,
                    "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\" group=\"%s\"/>\n",
                    entry->name, 8U * entry->size, entry->type, i, entry->group);
    }
    text_add(text, "</feature></target>\n");
}
