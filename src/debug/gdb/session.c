#include "debug/gdb/session.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "debug/gdb/command.h"

void session_send(struct gdb_session *session, const char *payload, size_t size)
{
    session->last.size = 0;
    packet_add(&session->last, payload, size);
    if (!session->last.failed)
        text_add_bytes(&session->out, session->last.data, session->last.size);
}

static void send_reply(struct gdb_session *session)
{
    session_send(session, session->reply.data ? session->reply.data : "", session->reply.size);
    /* Without memory for replies nothing can be said any more. */
    if (session->reply.failed || session->last.failed || session->out.failed)
        session->over = true;
}

void session_ok(struct gdb_session *session)
{
    text_add(&session->reply, "OK");
}

void session_error(struct gdb_session *session, int err)
{
    session->reply.size = 0;
    text_printf(&session->reply, "E%02x", err & 0xff);
}

void session_add_thread(const struct gdb_session *session, struct text *text, unsigned cpu)
{
    text_printf(text, session->multiprocess ? "p1.%x" : "%x", cpu + 1);
}

static bool read_id(const char **at, uint64_t *id, bool *all)
{
    *all = strncmp(*at, "-1", 2) == 0;
    if (*all)
        *at += 2;
    return *all || hex_number(at, id);
}

bool session_read_thread(const struct gdb_session *session, const char **at, unsigned *cpu)
{
    uint64_t id = 0;
    bool all = false;

    if (**at == 'p') {
        ++*at;
        if (!read_id(at, &id, &all) || (!all && id > 1))
            return false;
        if (**at == '.')
            ++*at;
        else
            all = true; /* a process alone: all of its threads */
        if (all && (*at)[-1] != '.') {
            *cpu = GDB_ALL_CPUS;
            return true;
        }
    }
    if (!read_id(at, &id, &all) || (!all && id > session->machine->cpu_count))
        return false;
    *cpu = all ? GDB_ALL_CPUS : id == 0 ? session->stop.cpu : (unsigned)id - 1;
    return true;
}

/* The registers that GDB wants after every stop save it a question. */
static void add_register(struct gdb_session *session, struct text *text, unsigned number)
{
    uint8_t value[GDB_REGISTER_MAX_SIZE];

    if (!gdb_register_get(&session->registers, number, value))
        return;
    text_printf(text, "%02x:", number);
    hex_add(text, value, gdb_register_size(number));
    text_add(text, ";");
}

void session_add_stop(struct gdb_session *session, struct text *text)
{
    const struct gdb_stop *stop = &session->stop;

    text_printf(text, "T%02x", (unsigned)stop->signal);
    session_load_registers(session, stop->cpu, false);
    add_register(session, text, GDB_REGISTER_RBP);
    add_register(session, text, GDB_REGISTER_RSP);
    add_register(session, text, GDB_REGISTER_RIP);
    text_add(text, "thread:");
    session_add_thread(session, text, stop->cpu);
    text_add(text, ";");
    if (stop->reason == GDB_REASON_SOFTWARE && session->swbreak)
        text_add(text, "swbreak:;");
    if (stop->reason == GDB_REASON_HARDWARE && session->hwbreak)
        text_add(text, "hwbreak:;");
    if (stop->reason == GDB_REASON_WATCH || stop->reason == GDB_REASON_ACCESS)
        text_printf(text, "%s:%llx;", stop->reason == GDB_REASON_WATCH ? "watch" : "awatch",
                    (unsigned long long)stop->address);
}

static void command_stop_reason(struct gdb_session *session, const char *text, size_t size)
{
    session_add_stop(session, &session->reply);
}

static void command_select(struct gdb_session *session, const char *text, size_t size)
{
    const char *at = text + 1;
    unsigned cpu;

    if ((text[0] != 'g' && text[0] != 'c') || !session_read_thread(session, &at, &cpu) || *at) {
        session_error(session, EINVAL);
        return;
    }
    if (text[0] == 'c')
        session->resume = strcmp(text + 1, "0") == 0 ? GDB_ALL_CPUS : cpu; /* 0: any */
    else if (cpu != GDB_ALL_CPUS)
        session->cpu = cpu;
    session_ok(session);
}

static void command_alive(struct gdb_session *session, const char *text, size_t size)
{
    unsigned cpu;

    if (session_read_thread(session, &text, &cpu) && cpu != GDB_ALL_CPUS && !*text)
        session_ok(session);
    else
        session_error(session, ESRCH);
}

static void command_detach(struct gdb_session *session, const char *text, size_t size)
{
    gdb_breakpoints_clear(session->machine, &session->breakpoints);
    session->machine->detach(session->machine->context);
    session->running = true;
    session->over = true;
    session_ok(session);
}

static void command_kill(struct gdb_session *session, const char *text, size_t size)
{
    session->machine->kill(session->machine->context);
    session->running = true;
    session->over = true;
    session->silent = true;
}

static void command_kill_process(struct gdb_session *session, const char *text, size_t size)
{
    command_kill(session, text, size);
    session->silent = false;
    session_ok(session);
}

static void command_no_ack(struct gdb_session *session, const char *text, size_t size)
{
    session->no_ack_next = true;
    session_ok(session);
}

static void command_fine(struct gdb_session *session, const char *text, size_t size)
{
    session_ok(session);
}

static void command_attached(struct gdb_session *session, const char *text, size_t size)
{
    text_add(&session->reply, "1"); /* GDB detaches when its user quits, instead of killing */
}

/* Longer names first where one is the start of another. */
static const struct command {
    const char *name;
    bool word;          /* ends there: the end of the packet or one of ":;," follows */
    bool while_running; /* makes sense in a client that waits for the guest */
    void (*handle)(struct gdb_session *session, const char *text, size_t size);
} commands[] = {
    {"qSupported", true, false, command_supported},
    {"qXfer:", false, false, command_transfer},
    {"qRcmd,", false, false, command_monitor},
    {"qThreadExtraInfo,", false, false, command_thread_info},
    {"qfThreadInfo", true, false, command_threads_first},
    {"qsThreadInfo", true, false, command_threads_more},
    {"qOffsets", true, false, command_offsets},
    {"qAttached", true, false, command_attached},
    {"qSymbol", true, false, command_fine}, /* no symbol is wanted */
    {"qC", true, false, command_current_thread},
    {"QStartNoAckMode", true, false, command_no_ack},
    {"vCont?", true, false, command_resume_query},
    {"vCont;", false, false, command_resume},
    {"vKill", true, true, command_kill_process},
    {"?", true, false, command_stop_reason},
    {"g", true, false, command_read_registers},
    {"G", false, false, command_write_registers},
    {"p", false, false, command_read_register},
    {"P", false, false, command_write_register},
    {"m", false, false, command_read_memory},
    {"M", false, false, command_write_memory},
    {"X", false, false, command_write_binary},
    {"Z", false, false, command_insert},
    {"z", false, false, command_remove},
    {"H", false, false, command_select},
    {"T", false, false, command_alive},
    {"c", false, false, command_continue},
    {"C", false, false, command_continue_signal},
    {"s", false, false, command_step},
    {"S", false, false, command_step_signal},
    {"D", true, true, command_detach},
    {"k", true, true, command_kill},
};

static const struct command *find_command(const char *packet, size_t size)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        size_t length = strlen(commands[i].name);
        if (size < length || memcmp(packet, commands[i].name, length) != 0)
            continue;
        if (!commands[i].word || size == length || strchr(":;,", packet[length]))
            return &commands[i];
    }
    return NULL;
}

/* Detach and kill also come from a client that lost its patience. */
static void stop_for(struct gdb_session *session)
{
    if (session->running)
        session->machine->interrupt(session->machine->context);
}

static void handle_packet(struct gdb_session *session)
{
    const struct packet_parser *parser = &session->parser;
    const struct command *command = find_command(parser->data, parser->size);

    session->reply.size = 0;
    session->silent = false;
    if (command && session->running && !command->while_running) {
        session_error(session, EBUSY);
    } else if (command) {
        size_t length = strlen(command->name);
        stop_for(session);
        command->handle(session, parser->data + length, parser->size - length);
    }
    if (!session->silent)
        send_reply(session);
    if (session->no_ack_next)
        session->no_ack = true;
    session->no_ack_next = false;
}

static void acknowledge(struct gdb_session *session, const char *sign)
{
    if (!session->no_ack)
        text_add(&session->out, sign);
}

static void handle_event(struct gdb_session *session, enum packet_event event)
{
    switch (event) {
    case PACKET_NONE:
    case PACKET_ACK:
        break;
    case PACKET_COMPLETE:
        acknowledge(session, "+");
        handle_packet(session);
        break;
    case PACKET_BAD:
        /* Without acknowledgements checksums do not count. */
        acknowledge(session, "-");
        if (session->no_ack)
            handle_packet(session);
        break;
    case PACKET_TOO_LONG:
        acknowledge(session, "+");
        session->reply.size = 0;
        session_error(session, EMSGSIZE);
        send_reply(session);
        break;
    case PACKET_NACK:
        if (!session->no_ack && session->last.size)
            text_add_bytes(&session->out, session->last.data, session->last.size);
        break;
    case PACKET_INTERRUPT:
        if (session->running)
            session->machine->interrupt(session->machine->context);
        break;
    }
}

void gdb_session_receive(struct gdb_session *session, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;

    for (size_t i = 0; i < size && !session->over; i++)
        handle_event(session, packet_feed(&session->parser, from[i]));
}

int gdb_session_init(struct gdb_session *session, const struct gdb_machine *machine)
{
    memset(session, 0, sizeof *session);
    session->machine = machine;
    session->resume = GDB_ALL_CPUS;
    session->stop = (struct gdb_stop){.signal = GDB_SIGTRAP};
    session->actions = calloc(machine->cpu_count, sizeof *session->actions);
    if (!session->actions)
        return -ENOMEM;
    session_load_registers(session, 0, true);
    session->avx = gdb_registers_have_avx(session->registers.xsave_size) &&
                   __builtin_cpu_supports("avx");
    return 0;
}

void gdb_session_free(struct gdb_session *session)
{
    if (session->machine && !session->running) {
        gdb_breakpoints_clear(session->machine, &session->breakpoints);
        session->machine->detach(session->machine->context);
    }
    free(session->breakpoints.software);
    free(session->actions);
    session->breakpoints = (struct gdb_breakpoints){0};
    session->actions = NULL;
    text_free(&session->out);
    text_free(&session->reply);
    text_free(&session->last);
    text_free(&session->document);
    session->machine = NULL;
}

void gdb_session_stopped(struct gdb_session *session, const struct gdb_stop *stop)
{
    if (!session->running || session->over)
        return;
    session->running = false;
    session->stop = *stop;
    session->cpu = stop->cpu;
    session->resume = GDB_ALL_CPUS;
    session->reply.size = 0;
    session_add_stop(session, &session->reply);
    send_reply(session);
}

/* Only a client that waits for the guest is told how it ended. */
static void session_end(struct gdb_session *session, char kind, unsigned value)
{
    if (session->running && !session->over) {
        session->reply.size = 0;
        text_printf(&session->reply, session->multiprocess ? "%c%02x;process:1" : "%c%02x", kind,
                    value);
        send_reply(session);
    }
    session->running = true;
    session->over = true;
}

void gdb_session_exited(struct gdb_session *session, int code)
{
    session_end(session, 'W', (unsigned)code & 0xff);
}

void gdb_session_signalled(struct gdb_session *session, enum gdb_signal signal)
{
    session_end(session, 'X', (unsigned)signal);
}
