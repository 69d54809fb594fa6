#include "accel/direct/engine/watch.h"

#define VECTOR_MAX 64

static const struct direct_breakpoint *slot_of(unsigned index)
{
    return &engine_vcpu(index / DIRECT_BREAKPOINTS)->debug.slot[index % DIRECT_BREAKPOINTS];
}

static bool is_watchpoint(const struct direct_breakpoint *slot)
{
    return slot->kind == DIRECT_BREAK_WRITE || slot->kind == DIRECT_BREAK_ACCESS;
}

/* Watched bytes are aligned to their number, so they lie in one page. */
static uint64_t page_of(const struct direct_breakpoint *slot)
{
    return slot->address & ~UINT64_C(0xfff);
}

enum watch watch_page(uint64_t page)
{
    enum watch watch = WATCH_NOTHING;

    for (unsigned i = 0; i < engine.header->cpu_count * DIRECT_BREAKPOINTS; i++) {
        const struct direct_breakpoint *slot = slot_of(i);
        if (!is_watchpoint(slot) || page_of(slot) != page)
            continue;
        if (slot->kind == DIRECT_BREAK_ACCESS)
            return WATCH_ACCESSES;
        watch = WATCH_WRITES;
    }
    return watch;
}

void watch_clip(uint64_t page, uint64_t *start, uint64_t *end)
{
    for (unsigned i = 0; i < engine.header->cpu_count * DIRECT_BREAKPOINTS; i++) {
        const struct direct_breakpoint *slot = slot_of(i);
        uint64_t watched = page_of(slot);
        if (!is_watchpoint(slot) || watched < *start || watched >= *end)
            continue;
        if (watched <= page)
            *start = watched == page ? page : watched + DIRECT_PAGE;
        if (watched >= page)
            *end = watched == page ? page + DIRECT_PAGE : watched;
    }
}

void watch_note(struct cpu *cpu, uint64_t gva, uint64_t size, bool write)
{
    for (unsigned i = 0; i < DIRECT_BREAKPOINTS; i++) {
        const struct direct_breakpoint *slot = &cpu->slots[i];
        if (!is_watchpoint(slot) || (slot->kind == DIRECT_BREAK_WRITE && !write))
            continue;
        if (gva < slot->address + slot->size && slot->address < gva + size)
            cpu->hits |= 1u << i;
    }
}

/* x87 instructions with an operand in memory, by opcode and ModRM. */
static unsigned x87_width(uint8_t opcode, unsigned extension)
{
    static const uint8_t integers[8] = {2, 2, 2, 2, 10, 8, 10, 8}; /* DF */

    switch (opcode) {
    case 0xd8:
    case 0xda:
        return 4;
    case 0xd9: /* also the environment and the control word */
        return extension == 4 || extension == 6 ? 28 : extension == 5 || extension == 7 ? 2 : 4;
    case 0xdb:
        return extension == 5 || extension == 7 ? 10 : 4;
    case 0xdc:
        return 8;
    case 0xdd:
        return extension == 4 || extension == 6 ? 108 : extension == 7 ? 2 : 8;
    case 0xde:
        return 2;
    default:
        return integers[extension];
    }
}

/* Scalar forms of the SSE instructions that exist with all four prefixes. */
static bool is_scalar(uint8_t opcode)
{
    return opcode == 0x10 || opcode == 0x11 || (opcode >= 0x2a && opcode <= 0x2d) ||
           (opcode >= 0x51 && opcode <= 0x5f) || opcode == 0xc2;
}

unsigned watch_width(const uint8_t *code, unsigned size)
{
    struct insn insn;

    /* EVEX: the length is in the fourth byte. */
    if (size > 4 && code[0] == 0x62)
        return code[3] >> 5 & 2 ? VECTOR_MAX : code[3] >> 5 & 1 ? 32 : 16;
    if (!insn_decode(code, size, &insn))
        return VECTOR_MAX;
    if (insn.map == MAP_ONE && insn.opcode >= 0xd8 && insn.opcode <= 0xdf)
        return x87_width(insn.opcode, insn_extension(&insn));
    if (insn.map == MAP_ONE)
        return insn.size;
    if (insn.map == MAP_0F && insn.opcode == 0xc7) /* CMPXCHG8B and 16B */
        return insn_rex_w(&insn) ? 16 : 8;
    if (insn.map == MAP_0F && insn.opcode == 0xae && insn_extension(&insn) < 2) /* FXSAVE */
        return 512;
    if (insn.map == MAP_0F && is_scalar(insn.opcode) && insn.prefix >= PREFIX_F3)
        return insn.prefix == PREFIX_F3 ? 4 : 8;
    if (insn.map == MAP_0F &&
        (insn.opcode == 0x6e || insn.opcode == 0x7e || insn.opcode == 0xd6 || insn.opcode == 0x12 ||
         insn.opcode == 0x13 || insn.opcode == 0x16 || insn.opcode == 0x17))
        return insn.opcode == 0x6e && !insn_rex_w(&insn) ? 4 : 8;
    return insn.vex ? insn.vex_length : 16;
}
