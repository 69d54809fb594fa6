/*
 * Packets that let the guest run (spec/debug.md section 5).
 */
#include <errno.h>
#include <string.h>

#include "debug/gdb/command.h"

void command_resume_query(struct gdb_session *session, const char *text, size_t size)
{
    text_add(&session->reply, "vCont;c;C;s;S;t;r");
}

/* The reply is the next stop. */
static void resume(struct gdb_session *session)
{
    session->silent = true;
    session->running = true;
    session->machine->resume(session->machine->context, session->actions);
}

/* One action of a vCont packet at *at, without its thread. */
static bool read_action(const char **at, struct gdb_action *action)
{
    uint64_t signal;

    *action = (struct gdb_action){0};
    switch (*(*at)++) {
    case 'C': /* a unikernel has no signals */
        if (!hex_number(at, &signal))
            return false;
        action->kind = GDB_CONTINUE;
        return true;
    case 'c':
        action->kind = GDB_CONTINUE;
        return true;
    case 'S':
        if (!hex_number(at, &signal))
            return false;
        action->kind = GDB_STEP;
        return true;
    case 's':
        action->kind = GDB_STEP;
        return true;
    case 'r':
        action->kind = GDB_STEP;
        return hex_number(at, &action->range_start) && *(*at)++ == ',' &&
               hex_number(at, &action->range_end);
    case 't': /* stays stopped, as all those do that no action names */
        return true;
    default:
        return false;
    }
}

/* For each vCPU the first action counts that names it; without one it stays stopped. */
static bool read_actions(struct gdb_session *session, const char *at)
{
    const unsigned count = session->machine->cpu_count;
    bool named[UHYVE_CPUS_MAX] = {false};
    bool more = true;

    memset(session->actions, 0, count * sizeof *session->actions);
    while (more) {
        struct gdb_action action;
        unsigned cpu = GDB_ALL_CPUS;
        if (!read_action(&at, &action))
            return false;
        if (*at == ':' && (at++, !session_read_thread(session, &at, &cpu)))
            return false;
        if (*at && *at != ';')
            return false;
        more = *at++ == ';';
        for (unsigned i = 0; i < count; i++) {
            if ((cpu != GDB_ALL_CPUS && cpu != i) || named[i])
                continue;
            session->actions[i] = action;
            named[i] = true;
        }
    }
    return true;
}

void command_resume(struct gdb_session *session, const char *text, size_t size)
{
    if (!read_actions(session, text)) {
        session_error(session, EINVAL);
        return;
    }
    bool any = false;
    for (unsigned i = 0; i < session->machine->cpu_count; i++)
        any = any || session->actions[i].kind != GDB_HOLD;
    if (any)
        resume(session);
    else
        session_error(session, EINVAL); /* nothing would ever stop */
}

/* `c` and `s`, from before vCont, perhaps with an address: for the thread that Hc chose alone, else
 * for the current one while the others continue. */
static void resume_at(struct gdb_session *session, const char *text, enum gdb_action_kind kind)
{
    const struct gdb_machine *machine = session->machine;
    unsigned chosen = session->resume == GDB_ALL_CPUS ? session->cpu : session->resume;
    uint64_t address = 0;

    if (*text) {
        session_load_registers(session, chosen, false);
        bool valid = hex_number(&text, &address) && !*text && session->registers.state_valid;
        session->registers.state.rip = address;
        int err = valid ? machine->set_state(machine->context, chosen, &session->registers.state)
                        : -EINVAL;
        if (err) {
            session_error(session, -err);
            return;
        }
    }
    enum gdb_action_kind others = session->resume == GDB_ALL_CPUS ? GDB_CONTINUE : GDB_HOLD;
    for (unsigned i = 0; i < machine->cpu_count; i++)
        session->actions[i] = (struct gdb_action){.kind = i == chosen ? kind : others};
    resume(session);
}

void command_continue(struct gdb_session *session, const char *text, size_t size)
{
    resume_at(session, text, GDB_CONTINUE);
}

void command_step(struct gdb_session *session, const char *text, size_t size)
{
    resume_at(session, text, GDB_STEP);
}

/* "SIGNAL[;ADDRESS]": the signal is ignored. */
static void resume_signal(struct gdb_session *session, const char *text, enum gdb_action_kind kind)
{
    uint64_t signal;

    if (!hex_number(&text, &signal) || (*text && *text != ';')) {
        session_error(session, EINVAL);
        return;
    }
    resume_at(session, *text ? text + 1 : text, kind);
}

void command_continue_signal(struct gdb_session *session, const char *text, size_t size)
{
    resume_signal(session, text, GDB_CONTINUE);
}

void command_step_signal(struct gdb_session *session, const char *text, size_t size)
{
    resume_signal(session, text, GDB_STEP);
}
