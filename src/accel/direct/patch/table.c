#include "accel/direct/patch/table.h"

#include "accel/direct/patch/trampoline.h"

size_t patch_table_size(const struct patch_table *table)
{
    return sizeof *table + table->count * sizeof table->list[0];
}

/* Number of patches that start at or before `address`. */
static size_t count_up_to(const struct patch_table *table, uint64_t address)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->list[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct patch *patch_find(const struct patch_table *table, uint64_t address)
{
    size_t index = count_up_to(table, address);
    if (index == 0)
        return NULL;
    const struct patch *patch = &table->list[index - 1];
    return address - patch->address < patch->length ? patch : NULL;
}

void patch_original(const struct patch_table *table, uint64_t address, uint8_t *bytes, size_t size)
{
    size_t index = count_up_to(table, address);
    for (index -= index > 0; index < table->count; index++) {
        const struct patch *patch = &table->list[index];
        if (patch->address >= address && patch->address - address >= size)
            break;
        size_t length = patch->step_count ? patch->length : 1;
        if (!patch->step_count && patch->address - address < size &&
            bytes[patch->address - address] != PATCH_TRAP)
            continue;
        for (size_t i = 0; i < length; i++)
            if (patch->address + i - address < size)
                bytes[patch->address + i - address] = patch->original[i];
    }
}

uint64_t patch_host_address(const struct patch_table *table, uint64_t rip)
{
    const struct patch *patch = patch_find(table, rip);
    for (size_t i = 0; patch && i < patch->step_count; i++)
        if (patch->address + patch->steps[i].guest == rip)
            return table->area_address + patch->trampoline + patch->steps[i].host;
    return rip;
}

/*
 * The patch whose trampoline contains the byte at `offset` of the area, or NULL. Traps count as
 * trampolines without bytes at the start of the next one, so the last candidate is the one.
 */
static const struct patch *find_trampoline(const struct patch_table *table, uint32_t offset)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->list[middle].trampoline <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    const struct patch *patch = &table->list[low - 1];
    return offset - patch->trampoline < patch->size ? patch : NULL;
}

/* Undo or complete a sequence that has run for `done` of its bytes, but at least one. */
static bool settle_sequence(const struct patch_shape *shape, uint64_t start, uint64_t end,
                            size_t done, struct trampoline_registers *registers,
                            trampoline_read *read, void *context)
{
    uint64_t rsp = registers->rsp;
    if (shape->moved && done >= shape->moved)
        rsp -= (uint64_t)(int64_t)shape->rsp_delta;
    if (shape->spilled && done >= shape->spilled) {
        uint64_t rax, rcx;
        if (!read(context, rsp - TRAMPOLINE_RAX_BELOW, &rax) ||
            !read(context, rsp - TRAMPOLINE_RCX_BELOW, &rcx))
            return false;
        registers->rax = rax;
        registers->rcx = rcx;
    }
    if (done < shape->commit) {
        registers->rsp = rsp;
        registers->rip = start;
    } else {
        registers->rip = end;
        registers->completed = true;
    }
    return true;
}

bool trampoline_settle(const struct patch_table *table, struct trampoline_registers *registers,
                       trampoline_read *read, void *context)
{
    if (!trampoline_contains(table, registers->rip))
        return false;
    uint32_t offset = (uint32_t)(registers->rip - table->area_address);
    const struct patch *patch = find_trampoline(table, offset);
    if (!patch)
        return false;
    size_t at = offset - patch->trampoline, i = 0;
    while (i + 1 < patch->step_count && patch->steps[i + 1].host <= at)
        i++;
    const struct patch_step *step = &patch->steps[i];
    uint64_t start = patch->address + step->guest, end = patch->address + patch->length;
    if (i + 1 < patch->step_count)
        end = patch->address + step[1].guest;
    registers->kind = step->kind;
    registers->completed = false;
    if (at == step->host) {
        registers->rip = start;
        return true;
    }
    if (step->kind == SWEEP_NONE)
        return false;
    return settle_sequence(&table->shapes[step->kind], start, end, at - step->host, registers, read,
                           context);
}
