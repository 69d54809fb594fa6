#include "accel/direct/patch/sweep.h"

#include <string.h>

#include "accel/direct/patch/targets.h"
#include "util/checked.h"

/* Branches of a run whose soundness is not known yet. */
#define PENDING_MAX 1024

/* The instructions between two anchors. */
struct run {
    bool sound; /* everything decoded so far */
    bool ended; /* nothing falls through to the current address */
    size_t first_site;
    size_t pending_count;
    uint32_t pending[PENDING_MAX];
};

static enum sweep_kind classify_one_byte(const struct decode_insn *insn)
{
    switch (insn->opcode) {
    case 0x8C:
        return decode_reg(insn) < 6 ? SWEEP_READ_SEGMENT : SWEEP_NONE;
    case 0x8E:
        return decode_reg(insn) < 6 && decode_reg(insn) != 1 ? SWEEP_LOAD_SEGMENT : SWEEP_NONE;
    case 0x9C:
        return SWEEP_PUSHF;
    case 0x9D:
        return SWEEP_POPF;
    case 0xCA:
    case 0xCB:
    case 0xCF:
        return SWEEP_FAR_TRANSFER;
    case 0xCD:
        return SWEEP_SYSTEM_CALL;
    case 0xEC:
    case 0xED:
        return SWEEP_IN;
    case 0xEE:
    case 0xEF:
        return SWEEP_OUT;
    case 0xFA:
        return SWEEP_CLI;
    case 0xFB:
        return SWEEP_STI;
    case 0xFF: /* far call and jump have a memory operand */
        return (decode_reg(insn) == 3 || decode_reg(insn) == 5) && decode_mod(insn) != 3
                   ? SWEEP_FAR_TRANSFER
                   : SWEEP_NONE;
    default:
        return SWEEP_NONE;
    }
}

/* 0F 00 and 0F 01: most of these groups faults at CPL 3. */
static enum sweep_kind classify_groups(const struct decode_insn *insn)
{
    unsigned reg = decode_reg(insn);
    if (insn->opcode == 0)
        return reg < 2 ? SWEEP_READ_TABLE : reg == 4 || reg == 5 ? SWEEP_PROBE_SEGMENT : SWEEP_NONE;
    if (insn->modrm == 0xF9)
        return SWEEP_RDTSCP;
    if (insn->modrm == 0xC1 || insn->modrm == 0xD9)
        return SWEEP_HYPERCALL;
    if (insn->modrm == 0xD0)
        return SWEEP_EXTENDED;
    if (reg == 4 || (reg < 2 && decode_mod(insn) != 3))
        return SWEEP_READ_TABLE;
    return SWEEP_NONE;
}

/* 0F AE and 0F C7; with other prefixes or registers there are other instructions. */
static enum sweep_kind classify_extended(const struct decode_insn *insn)
{
    unsigned reg = decode_reg(insn);
    if (insn->prefixes & (DECODE_66 | DECODE_F2 | DECODE_F3))
        return insn->opcode == 0xC7 && insn->modrm >= 0xF8 && (insn->prefixes & DECODE_F3)
                   ? SWEEP_RDPID
                   : SWEEP_NONE;
    bool memory = decode_mod(insn) != 3;
    if (insn->opcode == 0xC7)
        return memory && reg == 4 ? SWEEP_EXTENDED : SWEEP_NONE;
    return memory && reg >= 4 && reg <= 6 ? SWEEP_EXTENDED : SWEEP_NONE;
}

static enum sweep_kind classify_two_byte(const struct decode_insn *insn)
{
    switch (insn->opcode) {
    case 0x00:
    case 0x01:
        return classify_groups(insn);
    case 0x02:
    case 0x03:
        return SWEEP_PROBE_SEGMENT;
    case 0x05:
    case 0x34:
        return SWEEP_SYSTEM_CALL;
    case 0xA0:
    case 0xA8:
        return SWEEP_READ_SEGMENT;
    case 0xA1:
    case 0xA9:
    case 0xB2:
    case 0xB4:
    case 0xB5:
        return SWEEP_LOAD_SEGMENT;
    case 0xA2:
        return SWEEP_CPUID;
    case 0xAE:
    case 0xC7:
        return classify_extended(insn);
    default:
        return SWEEP_NONE;
    }
}

enum sweep_kind sweep_classify(const struct decode_insn *insn)
{
    if (insn->map == DECODE_ONE_BYTE)
        return insn->opcode < 0x8C ? SWEEP_NONE : classify_one_byte(insn);
    return insn->map == DECODE_0F ? classify_two_byte(insn) : SWEEP_NONE;
}

void sweep_start(struct sweep *sweep, const uint8_t *bytes, uint32_t size, uint64_t address,
                 uint64_t *bits, struct sweep_site *sites, size_t max)
{
    size_t words = SWEEP_BITS_WORDS(size) / 4;
    memset(bits, 0, 4 * words * sizeof *bits);
    *sweep = (struct sweep){
        .bytes = bytes,
        .size = size,
        .address = address,
        .starts = bits,
        .direct = bits + words,
        .targets = bits + 2 * words,
        .anchors = bits + 3 * words,
        .code_end = size,
        .table_budget = size,
        .sites = sites,
        .max = max,
    };
}

static void flush_branches(struct sweep *sweep, struct run *run)
{
    for (size_t i = 0; i < run->pending_count; i++) {
        sweep_set_bit(sweep->targets, run->pending[i]);
        if (run->sound)
            sweep_set_bit(sweep->direct, run->pending[i]);
    }
    run->pending_count = 0;
}

static void note_branch(struct sweep *sweep, struct run *run, uint64_t target)
{
    if (target - sweep->address >= sweep->size)
        return;
    if (run->pending_count == PENDING_MAX)
        flush_branches(sweep, run);
    run->pending[run->pending_count++] = (uint32_t)(target - sweep->address);
}

static void note_site(struct sweep *sweep, size_t at, const struct decode_insn *insn,
                      enum sweep_kind kind)
{
    if (sweep->count < sweep->max)
        sweep->sites[sweep->count] = (struct sweep_site){sweep->address + at, insn->length, kind,
                                                         .proven = false};
    sweep->count++;
}

/* First index in [from, to) that has a bit in `set`, and none in `clear` unless NULL; or `to`. */
static size_t find_bit(const uint64_t *set, const uint64_t *clear, size_t from, size_t to)
{
    for (size_t word = from / 64; word * 64 < to; word++) {
        uint64_t bits = set[word] & ~(clear ? clear[word] : 0);
        if (word == from / 64)
            bits &= UINT64_MAX << (from % 64);
        if (bits) {
            size_t index = word * 64 + (unsigned)__builtin_ctzll(bits);
            return index < to ? index : to;
        }
    }
    return to;
}

/*
 * The sites of the run keep `proven` for sweep_prove to look into, which knows all branches. The
 * run is sound if it ends at an anchor and not inside an instruction.
 */
static void close_run(struct sweep *sweep, struct run *run, size_t end, bool at_anchor)
{
    run->sound = run->sound && at_anchor;
    flush_branches(sweep, run);
    size_t stored = sweep->count < sweep->max ? sweep->count : sweep->max;
    for (size_t i = run->first_site; i < stored; i++)
        sweep->sites[i].proven = run->sound;
    run->sound = true;
    run->ended = true;
    run->first_site = sweep->count;
    sweep_set_bit(sweep->anchors, end);
}

/* Control comes here from somewhere that need not be a direct branch. */
static void open_at_symbol(struct sweep *sweep, size_t at)
{
    sweep_set_bit(sweep->direct, at);
    sweep_set_bit(sweep->targets, at);
}

/* Instructions that fill the space between functions. */
static bool is_padding(const struct decode_insn *insn)
{
    return (insn->map == DECODE_ONE_BYTE && (insn->opcode == 0xCC || insn->opcode == 0x90)) ||
           (insn->map == DECODE_0F && insn->opcode == 0x1F);
}

/* Decode one instruction. Returns where the next one is. */
static size_t step(struct sweep *sweep, struct run *run, size_t at, size_t end)
{
    struct decode_insn insn;
    const uint8_t *code = sweep->bytes + at;
    if (*code == 0xCC) { /* a common padding: no need to be slow about it */
        sweep_set_bit(sweep->starts, at);
        return at + 1;
    }
    if (!decode(code, end - at, &insn)) {
        run->sound = false;
        return at + 1;
    }
    sweep_set_bit(sweep->starts, at);
    if (insn.relative_size)
        note_branch(sweep, run, decode_target(&insn, code, sweep->address + at));
    targets_of_instruction(sweep, at, &insn);
    enum sweep_kind kind = sweep_classify(&insn);
    if (kind)
        note_site(sweep, at, &insn, kind);
    run->ended = decode_ends_block(&insn) || (run->ended && is_padding(&insn));
    return at + insn.length;
}

/* Where the code symbol starts or the data symbol is left behind, in bytes from the start. */
static size_t pass_symbol(struct sweep *sweep, struct run *run, const struct sweep_symbol *symbol,
                          size_t at, size_t end)
{
    size_t offset = symbol->address - sweep->address;
    close_run(sweep, run, offset, at == offset);
    if (symbol->code) {
        open_at_symbol(sweep, offset);
        return offset;
    }
    size_t next = symbol->size < end - offset ? offset + symbol->size : end;
    sweep_set_bit(sweep->anchors, next);
    return next;
}

void sweep_range(struct sweep *sweep, size_t offset, size_t size,
                 const struct sweep_symbols *symbols)
{
    if (!range_inside(offset, size, sweep->size))
        return;
    struct run run = {.sound = true, .ended = true, .first_site = sweep->count};
    size_t at = offset, end = offset + size, i = 0, count = symbols ? symbols->count : 0;
    while (i < count && symbols->list[i].address < sweep->address + offset)
        i++;
    sweep_set_bit(sweep->anchors, at);
    open_at_symbol(sweep, at);
    for (;;) {
        uint64_t next = i < count ? symbols->list[i].address - sweep->address : UINT64_MAX;
        if (next <= at && next < end) { /* also if an instruction goes over it */
            at = pass_symbol(sweep, &run, &symbols->list[i], at, end);
            do
                i++;
            while (i < count && symbols->list[i].address - sweep->address < at);
            continue;
        }
        if (at >= end)
            break;
        if (run.ended && at % 16 == 0 && !sweep_bit(sweep->anchors, at))
            close_run(sweep, &run, at, true);
        at = step(sweep, &run, at, end);
    }
    close_run(sweep, &run, end, at == end);
}

/* The anchors around an offset: [*start, *end). */
static void run_around(const struct sweep *sweep, size_t offset, size_t *start, size_t *end)
{
    size_t word = offset / 64;
    uint64_t bits = sweep->anchors[word] & (UINT64_MAX >> (63 - offset % 64));
    while (!bits && word > 0)
        bits = sweep->anchors[--word];
    *start = bits ? word * 64 + 63 - (unsigned)__builtin_clzll(bits) : 0;
    *end = find_bit(sweep->anchors, NULL, offset + 1, sweep->size);
}

void sweep_prove(struct sweep *sweep)
{
    size_t start = 0, end = 0, stored = sweep->count < sweep->max ? sweep->count : sweep->max;
    bool proven = false;
    for (size_t i = 0; i < stored; i++) {
        size_t offset = sweep->sites[i].address - sweep->address;
        if (offset >= end) {
            run_around(sweep, offset, &start, &end);
            proven = find_bit(sweep->direct, sweep->starts, start, end) == end &&
                     (sweep_bit(sweep->targets, start) ||
                      find_bit(sweep->direct, NULL, start, end) < end);
        }
        sweep->sites[i].proven = sweep->sites[i].proven && proven;
    }
}
