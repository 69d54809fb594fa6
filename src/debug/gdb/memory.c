#include "debug/gdb/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/paging.h"

static const uint8_t int3 = 0xcc;

/* A piece of guest memory that is contiguous for the guest and in RAM. */
struct piece {
    gpa_t gpa;
    size_t size;
    uint8_t *host;
};

static bool translate(const struct gdb_machine *machine, const struct x86_state *state, gva_t gva,
                      size_t size, struct piece *piece)
{
    uint64_t contiguous;

    if (!(state->cr0 & X86_CR0_PG)) {
        piece->gpa = gva;
        contiguous = 4096 - gva % 4096;
    } else if (!paging_translate(machine->ram, state->cr3, gva, &piece->gpa, &contiguous)) {
        return false;
    }
    piece->size = contiguous < size ? contiguous : size;
    /* The end of RAM may be inside a large page. */
    gpa_t end = machine->ram->base + machine->ram->size;
    piece->host = ram_at(machine->ram, piece->gpa, 1);
    if (!piece->host)
        return false;
    if (piece->size > end - piece->gpa)
        piece->size = end - piece->gpa;
    return true;
}

/* Copy a piece as the guest itself would see it. */
static void read_piece(const struct gdb_machine *machine, const struct gdb_breakpoints *breakpoints,
                       const struct piece *piece, uint8_t *to)
{
    memcpy(to, piece->host, piece->size);
    machine->original_code(machine->context, piece->gpa, to, piece->size);
    for (size_t i = 0; i < breakpoints->count; i++) {
        const struct gdb_breakpoint *breakpoint = &breakpoints->software[i];
        if (breakpoint->gpa >= piece->gpa && breakpoint->gpa - piece->gpa < piece->size)
            to[breakpoint->gpa - piece->gpa] = breakpoint->original;
    }
}

size_t gdb_memory_read(const struct gdb_machine *machine, const struct gdb_breakpoints *breakpoints,
                       const struct x86_state *state, gva_t gva, void *to, size_t size)
{
    uint8_t *bytes = to;
    size_t done = 0;
    struct piece piece;

    while (done < size && gva + done >= gva &&
           translate(machine, state, gva + done, size - done, &piece)) {
        read_piece(machine, breakpoints, &piece, bytes + done);
        done += piece.size;
    }
    return done;
}

/* Write around the breakpoints; what is written to one of their places is kept for later. */
static void write_piece(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                        const struct piece *piece, const uint8_t *from)
{
    memcpy(piece->host, from, piece->size);
    for (size_t i = 0; i < breakpoints->count; i++) {
        struct gdb_breakpoint *breakpoint = &breakpoints->software[i];
        if (breakpoint->gpa < piece->gpa || breakpoint->gpa - piece->gpa >= piece->size)
            continue;
        breakpoint->original = from[breakpoint->gpa - piece->gpa];
        ram_write(machine->ram, breakpoint->gpa, &int3, 1);
    }
    machine->code_written(machine->context, piece->gpa, piece->size);
}

int gdb_memory_write(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                     const struct x86_state *state, gva_t gva, const void *from, size_t size)
{
    const uint8_t *bytes = from;
    struct piece piece;

    for (size_t done = 0; done < size; done += piece.size)
        if (gva + done < gva || !translate(machine, state, gva + done, size - done, &piece))
            return -EFAULT;
    for (size_t done = 0; done < size; done += piece.size) {
        /* A write may have changed the page tables. */
        if (!translate(machine, state, gva + done, size - done, &piece))
            return -EFAULT;
        write_piece(machine, breakpoints, &piece, bytes + done);
    }
    return 0;
}

static struct gdb_breakpoint *find_gpa(const struct gdb_breakpoints *breakpoints, gpa_t gpa)
{
    for (size_t i = 0; i < breakpoints->count; i++)
        if (breakpoints->software[i].gpa == gpa)
            return &breakpoints->software[i];
    return NULL;
}

static struct gdb_breakpoint *find_gva(const struct gdb_breakpoints *breakpoints, gva_t gva)
{
    for (size_t i = 0; i < breakpoints->count; i++)
        if (breakpoints->software[i].gva == gva)
            return &breakpoints->software[i];
    return NULL;
}

bool gdb_breakpoint_is_at(const struct gdb_machine *machine,
                          const struct gdb_breakpoints *breakpoints, const struct x86_state *state,
                          gva_t gva)
{
    struct piece piece;

    return translate(machine, state, gva, 1, &piece) && find_gpa(breakpoints, piece.gpa);
}

int gdb_breakpoint_insert(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                          const struct x86_state *state, gva_t gva)
{
    struct gdb_breakpoint new = {.gva = gva};
    struct piece piece;

    if (find_gva(breakpoints, gva))
        return 0;
    if (!translate(machine, state, gva, 1, &piece))
        return -EFAULT;
    read_piece(machine, breakpoints, &piece, &new.original);
    new.gpa = piece.gpa;
    if (breakpoints->count == breakpoints->capacity) {
        size_t capacity = breakpoints->capacity ? 2 * breakpoints->capacity : 16;
        if (capacity > GDB_BREAKPOINTS_MAX)
            return -ENOSPC;
        struct gdb_breakpoint *array = reallocarray(breakpoints->software, capacity, sizeof *array);
        if (!array)
            return -ENOMEM;
        breakpoints->software = array;
        breakpoints->capacity = capacity;
    }
    breakpoints->software[breakpoints->count++] = new;
    ram_write(machine->ram, new.gpa, &int3, 1);
    machine->code_written(machine->context, new.gpa, 1);
    return 0;
}

int gdb_breakpoint_remove(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                          gva_t gva)
{
    struct gdb_breakpoint *found = find_gva(breakpoints, gva);
    uint8_t current = 0;

    if (!found)
        return -ENOENT;
    struct gdb_breakpoint removed = *found;
    *found = breakpoints->software[--breakpoints->count];
    /* Another address may lead to the same byte, and the guest may have loaded other code since. */
    ram_read(machine->ram, removed.gpa, &current, 1);
    if (find_gpa(breakpoints, removed.gpa) || current != int3)
        return 0;
    ram_write(machine->ram, removed.gpa, &removed.original, 1);
    machine->code_written(machine->context, removed.gpa, 1);
    return 0;
}

static bool slot_is(const struct accel_hardware_breakpoint *slot, enum accel_breakpoint_kind kind,
                    gva_t address, uint64_t size)
{
    return slot->kind == kind && slot->address == address && slot->size == size;
}

int gdb_hardware_insert(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                        enum accel_breakpoint_kind kind, gva_t address, uint64_t size)
{
    struct accel_hardware_breakpoint *free_slot = NULL;

    if (kind == ACCEL_BREAK_EXECUTE)
        size = 1;
    if ((size != 1 && size != 2 && size != 4 && size != 8) || address % size)
        return -EINVAL;
    for (size_t i = ACCEL_HARDWARE_BREAKPOINTS; i-- > 0;) {
        struct accel_hardware_breakpoint *slot = &breakpoints->slot[i];
        if (slot_is(slot, kind, address, size))
            return 0;
        if (slot->kind == ACCEL_BREAK_NONE)
            free_slot = slot;
    }
    if (!free_slot)
        return -ENOSPC;
    *free_slot = (struct accel_hardware_breakpoint){kind, (uint8_t)size, address};
    int err = machine->set_hardware(machine->context, breakpoints->slot);
    if (err)
        *free_slot = (struct accel_hardware_breakpoint){0};
    return err;
}

int gdb_hardware_remove(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                        enum accel_breakpoint_kind kind, gva_t address, uint64_t size)
{
    if (kind == ACCEL_BREAK_EXECUTE)
        size = 1;
    for (size_t i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++) {
        struct accel_hardware_breakpoint *slot = &breakpoints->slot[i];
        if (slot->kind == ACCEL_BREAK_NONE || !slot_is(slot, kind, address, size))
            continue;
        *slot = (struct accel_hardware_breakpoint){0};
        return machine->set_hardware(machine->context, breakpoints->slot);
    }
    return -ENOENT;
}

void gdb_breakpoints_clear(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints)
{
    static const struct accel_hardware_breakpoint none[ACCEL_HARDWARE_BREAKPOINTS];

    while (breakpoints->count)
        gdb_breakpoint_remove(machine, breakpoints, breakpoints->software[0].gva);
    if (memcmp(breakpoints->slot, none, sizeof none) != 0)
        machine->set_hardware(machine->context, none);
    free(breakpoints->software);
    *breakpoints = (struct gdb_breakpoints){0};
}
