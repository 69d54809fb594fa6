/*
 * Packets about registers, memory and breakpoints (spec/debug.md sections 3, 4 and 7).
 */
#include <errno.h>
#include <string.h>

#include "debug/gdb/command.h"

void session_load_registers(struct gdb_session *session, unsigned cpu, bool with_xsave)
{
    const struct gdb_machine *machine = session->machine;
    struct gdb_registers *registers = &session->registers;

    registers->state_valid = machine->get_state(machine->context, cpu, &registers->state) == 0;
    registers->xsave_size = 0;
    if (!with_xsave)
        return;
    int size = machine->get_xsave(machine->context, cpu, registers->xsave, sizeof registers->xsave);
    if (size > 0 && (size_t)size <= sizeof registers->xsave)
        registers->xsave_size = (size_t)size;
}

const struct x86_state *session_state(struct gdb_session *session)
{
    session_load_registers(session, session->cpu, false);
    if (session->registers.state_valid)
        return &session->registers.state;
    session_error(session, EBUSY);
    return NULL;
}

static void add_value(struct gdb_session *session, unsigned number)
{
    uint8_t value[GDB_REGISTER_MAX_SIZE];

    if (gdb_register_get(&session->registers, number, value))
        hex_add(&session->reply, value, gdb_register_size(number));
    else
        for (size_t i = 0; i < gdb_register_size(number); i++)
            text_add(&session->reply, "xx");
}

void command_read_registers(struct gdb_session *session, const char *text, size_t size)
{
    session_load_registers(session, session->cpu, true);
    for (unsigned i = 0; i < gdb_register_count(session->avx); i++)
        add_value(session, i);
}

/* Write back the parts that were changed. */
static void store_registers(struct gdb_session *session, bool state, bool xsave)
{
    const struct gdb_machine *machine = session->machine;
    const struct gdb_registers *registers = &session->registers;
    int err = 0;

    if (state)
        err = machine->set_state(machine->context, session->cpu, &registers->state);
    if (xsave && !err)
        err = machine->set_xsave(machine->context, session->cpu, registers->xsave,
                                 registers->xsave_size);
    if (err)
        session_error(session, -err);
    else
        session_ok(session);
}

void command_write_registers(struct gdb_session *session, const char *text, size_t size)
{
    unsigned count = gdb_register_count(session->avx);
    bool changed[3] = {false};

    if (size < 2 * GDB_REGISTERS_MIN_SIZE) {
        session_error(session, EINVAL);
        return;
    }
    session_load_registers(session, session->cpu, true);
    for (unsigned i = 0; i < count && size; i++) {
        uint8_t value[GDB_REGISTER_MAX_SIZE];
        size_t digits = 2 * gdb_register_size(i);
        if (size < digits) {
            session_error(session, EINVAL);
            return;
        }
        /* "xx": leave it. */
        if (hex_read(text, value, digits / 2))
            changed[gdb_register_set(&session->registers, i, value)] = true;
        text += digits;
        size -= digits;
    }
    store_registers(session, changed[GDB_PART_STATE], changed[GDB_PART_XSAVE]);
}

void command_read_register(struct gdb_session *session, const char *text, size_t size)
{
    uint64_t number;

    if (!hex_number(&text, &number) || *text || number >= gdb_register_count(session->avx)) {
        session_error(session, EINVAL);
        return;
    }
    session_load_registers(session, session->cpu, true);
    add_value(session, (unsigned)number);
}

void command_write_register(struct gdb_session *session, const char *text, size_t size)
{
    uint8_t value[GDB_REGISTER_MAX_SIZE];
    uint64_t number;

    if (!hex_number(&text, &number) || *text != '=' || number >= gdb_register_count(session->avx) ||
        strlen(text + 1) != 2 * gdb_register_size((unsigned)number) ||
        !hex_read(text + 1, value, gdb_register_size((unsigned)number))) {
        session_error(session, EINVAL);
        return;
    }
    session_load_registers(session, session->cpu, true);
    enum gdb_register_part part = gdb_register_set(&session->registers, (unsigned)number, value);
    if (part == GDB_PART_NONE)
        session_error(session, ENODATA);
    else
        store_registers(session, part == GDB_PART_STATE, part == GDB_PART_XSAVE);
}

/* "ADDRESS,SIZE", then `end`. Moves *text behind that. */
static bool read_range(const char **text, char end, uint64_t *address, uint64_t *size)
{
    if (!hex_number(text, address) || *(*text)++ != ',' || !hex_number(text, size) || **text != end)
        return false;
    *text += end != '\0';
    return true;
}

void command_read_memory(struct gdb_session *session, const char *text, size_t size)
{
    static const size_t most = PACKET_MAX / 2;
    uint8_t bytes[PACKET_MAX / 2];
    uint64_t address, wanted;

    if (!read_range(&text, '\0', &address, &wanted)) {
        session_error(session, EINVAL);
        return;
    }
    const struct x86_state *state = session_state(session);
    if (!state)
        return;
    size_t done = gdb_memory_read(session->machine, &session->breakpoints, state, address, bytes,
                                  wanted < most ? (size_t)wanted : most);
    if (!done && wanted)
        session_error(session, EFAULT);
    else
        hex_add(&session->reply, bytes, done);
}

static void write_memory(struct gdb_session *session, uint64_t address, const void *bytes,
                         size_t size)
{
    const struct x86_state *state = session_state(session);
    if (!state)
        return;
    int err = gdb_memory_write(session->machine, &session->breakpoints, state, address, bytes,
                               size);
    if (err)
        session_error(session, -err);
    else
        session_ok(session);
}

void command_write_memory(struct gdb_session *session, const char *text, size_t size)
{
    const char *end = text + size;
    uint8_t bytes[PACKET_MAX / 2];
    uint64_t address, count;

    if (!read_range(&text, ':', &address, &count) || (size_t)(end - text) % 2 ||
        (size_t)(end - text) / 2 != count || !hex_read(text, bytes, (size_t)count)) {
        session_error(session, EINVAL);
        return;
    }
    write_memory(session, address, bytes, (size_t)count);
}

void command_write_binary(struct gdb_session *session, const char *text, size_t size)
{
    const char *end = text + size;
    uint64_t address, count;

    if (!read_range(&text, ':', &address, &count) || (size_t)(end - text) != count) {
        session_error(session, EINVAL);
        return;
    }
    write_memory(session, address, text, (size_t)count);
}

/* A Z or z packet: "TYPE,ADDRESS,KIND". */
struct place {
    char type;
    uint64_t address, kind;
};

static bool read_place(const char *text, struct place *place)
{
    place->type = text[0];
    if (!text[0] || text[1] != ',')
        return false;
    text += 2;
    /* Conditions and commands, which we did not offer, would follow after a semicolon. */
    return read_range(&text, '\0', &place->address, &place->kind);
}

/* The kind of the hardware's breakpoint that a type of the protocol asks for. */
static enum accel_breakpoint_kind hardware_kind(char type)
{
    switch (type) {
    case '1':
        return ACCEL_BREAK_EXECUTE;
    case '2':
        return ACCEL_BREAK_WRITE;
    case '4':
        return ACCEL_BREAK_ACCESS;
    default:
        return ACCEL_BREAK_NONE;
    }
}

/* Insert or remove. x86 cannot watch reads alone (type 3): an error, so that GDB tells its user. */
static int change_place(struct gdb_session *session, const struct place *place, bool insert)
{
    const struct gdb_machine *machine = session->machine;
    struct gdb_breakpoints *breakpoints = &session->breakpoints;
    enum accel_breakpoint_kind kind = hardware_kind(place->type);

    if (place->type == '0') {
        if (!insert)
            return gdb_breakpoint_remove(machine, breakpoints, place->address);
        session_load_registers(session, session->cpu, false);
        if (place->kind != 1 || !session->registers.state_valid)
            return place->kind != 1 ? -EINVAL : -EBUSY;
        return gdb_breakpoint_insert(machine, breakpoints, &session->registers.state,
                                     place->address);
    }
    if (kind == ACCEL_BREAK_NONE)
        return -EOPNOTSUPP;
    return insert ? gdb_hardware_insert(machine, breakpoints, kind, place->address, place->kind)
                  : gdb_hardware_remove(machine, breakpoints, kind, place->address, place->kind);
}

static void change(struct gdb_session *session, const char *text, bool insert)
{
    struct place place;
    int err = read_place(text, &place) ? change_place(session, &place, insert) : -EINVAL;

    if (err)
        session_error(session, -err);
    else
        session_ok(session);
}

void command_insert(struct gdb_session *session, const char *text, size_t size)
{
    change(session, text, true);
}

void command_remove(struct gdb_session *session, const char *text, size_t size)
{
    change(session, text, false);
}
