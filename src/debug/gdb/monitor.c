/*
 * GDB's `monitor` command: what the machine can tell and GDB cannot ask. The text goes to GDB's
 * user, in console packets before the final OK.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "debug/gdb/command.h"
#include "debug/page_walk.h"
#include "debug/registers.h"

#define COMMAND_MAX  256
#define CONSOLE_PART ((PACKET_MAX - 1) / 2) /* bytes of text in one packet */

static void monitor_help(struct gdb_session *session, const char *argument, struct text *text)
{
    text_add(text, "monitor help       this list\n"
                   "monitor info       the virtual machine\n"
                   "monitor regs       all registers of the current thread's CPU\n"
                   "monitor walk ADDR  the page-table entries for an address\n"
                   "monitor stats      how often each CPU left the guest, and why\n");
}

static void monitor_info(struct gdb_session *session, const char *argument, struct text *text)
{
    session->machine->describe(session->machine->context, text);
    text_printf(text, "breakpoints: %zu in memory\n", session->breakpoints.count);
    for (unsigned i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++) {
        static const char *const kinds[] = {"free", "execute", "write", "access"};
        const struct accel_hardware_breakpoint *slot = &session->breakpoints.slot[i];
        text_printf(text, "debug register %u: %s", i, kinds[slot->kind]);
        if (slot->kind != ACCEL_BREAK_NONE)
            text_printf(text, " 0x%llx, %u bytes", (unsigned long long)slot->address, slot->size);
        text_add(text, "\n");
    }
}

static void monitor_regs(struct gdb_session *session, const char *argument, struct text *text)
{
    session_load_registers(session, session->cpu, false);
    if (!session->registers.state_valid) {
        text_printf(text, "the registers of CPU %u are not known\n", session->cpu);
        return;
    }
    text_printf(text, "CPU %u:\n  rip    %016llx\n", session->cpu,
                (unsigned long long)session->registers.state.rip);
    registers_format(&session->registers.state, text);
}

static void monitor_walk(struct gdb_session *session, const char *argument, struct text *text)
{
    const char *at = strncmp(argument, "0x", 2) == 0 ? argument + 2 : argument;
    uint64_t address;

    session_load_registers(session, session->cpu, false);
    if (!hex_number(&at, &address) || *at)
        text_add(text, "walk which address? (monitor walk 0x1234)\n");
    else if (!session->registers.state_valid)
        text_printf(text, "the page tables of CPU %u are not known\n", session->cpu);
    else
        page_walk_format(session->machine->ram, session->registers.state.cr3, address, text);
}

static void monitor_stats(struct gdb_session *session, const char *argument, struct text *text)
{
    session->machine->statistics(session->machine->context, text);
}

static const struct {
    const char *name;
    void (*run)(struct gdb_session *session, const char *argument, struct text *text);
} monitor_commands[] = {
    {"help", monitor_help}, {"info", monitor_info},   {"regs", monitor_regs},
    {"walk", monitor_walk}, {"stats", monitor_stats},
};

static void run(struct gdb_session *session, char *line, struct text *text)
{
    size_t length = strcspn(line, " ");
    const char *argument = line + length + strspn(line + length, " ");

    for (size_t i = 0; i < sizeof monitor_commands / sizeof *monitor_commands; i++)
        if (strlen(monitor_commands[i].name) == length &&
            memcmp(line, monitor_commands[i].name, length) == 0) {
            monitor_commands[i].run(session, argument, text);
            return;
        }
    text_make_printable(line);
    text_printf(text, "there is no command '%s':\n", line);
    monitor_help(session, argument, text);
}

static void print(struct gdb_session *session, const struct text *text)
{
    for (size_t at = 0; at < text->size; at += CONSOLE_PART) {
        size_t left = text->size - at;
        session->reply.size = 0;
        text_add(&session->reply, "O");
        hex_add(&session->reply, text->data + at, left < CONSOLE_PART ? left : CONSOLE_PART);
        session_send(session, session->reply.data, session->reply.size);
    }
    session->reply.size = 0;
}

void command_monitor(struct gdb_session *session, const char *hex, size_t size)
{
    char line[COMMAND_MAX + 1];
    struct text text = {0};

    if (size % 2 || size / 2 > COMMAND_MAX || !hex_read(hex, line, size / 2)) {
        session_error(session, EINVAL);
        return;
    }
    line[size / 2] = '\0';
    run(session, line, &text);
    if (text.failed) {
        session_error(session, ENOMEM);
    } else {
        print(session, &text);
        session_ok(session);
    }
    text_free(&text);
}
