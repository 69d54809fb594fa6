#include "accel/direct/patch/targets.h"

#include <string.h>

static bool note_target(struct sweep *sweep, uint64_t address)
{
    uint64_t offset = address - sweep->address;
    if (offset < sweep->code_start || offset >= sweep->code_end)
        return false;
    sweep_set_bit(sweep->targets, offset);
    return true;
}

/* Distances from the table to its targets. */
static void note_table(struct sweep *sweep, uint64_t address)
{
    uint64_t offset = address - sweep->address;
    int32_t distance;
    while (offset < sweep->size && sweep->size - offset >= sizeof distance &&
           sweep->table_budget > 0) {
        memcpy(&distance, sweep->bytes + offset, sizeof distance);
        if (!note_target(sweep, address + (uint64_t)(int64_t)distance))
            break;
        offset += sizeof distance;
        sweep->table_budget--;
    }
}

void targets_of_instruction(struct sweep *sweep, size_t at, const struct decode_insn *insn)
{
    const uint8_t *code = sweep->bytes + at;
    if (insn->length < 5 || insn->map == DECODE_VECTOR)
        return;
    if (insn->disp_offset) {
        if (insn->opcode != 0x8D || insn->map != DECODE_ONE_BYTE)
            return;
        int32_t disp;
        memcpy(&disp, code + insn->disp_offset, sizeof disp);
        uint64_t to = sweep->address + at + insn->length + (uint64_t)(int64_t)disp;
        note_target(sweep, to);
        note_table(sweep, to);
        return;
    }
    uint32_t value;
    memcpy(&value, code + insn->length - sizeof value, sizeof value);
    note_target(sweep, value);
    if (insn->length >= 10 && insn->opcode >> 3 == 0xB8 >> 3) {
        uint64_t wide;
        memcpy(&wide, code + insn->length - sizeof wide, sizeof wide);
        note_target(sweep, wide);
    }
}

void targets_of_data(struct sweep *sweep, const struct sweep_symbols *symbols)
{
    uint64_t value;
    for (size_t offset = 0; sweep->size - offset >= sizeof value && offset < sweep->size;
         offset += 4) {
        memcpy(&value, sweep->bytes + offset, sizeof value);
        note_target(sweep, value);
    }
    for (size_t i = 0; symbols && i < symbols->count; i++)
        note_target(sweep, symbols->list[i].address);
}
