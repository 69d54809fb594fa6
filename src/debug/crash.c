#include "debug/crash.h"

#include <stdio.h>
#include <string.h>

#include "debug/backtrace.h"
#include "debug/call_text.h"
#include "debug/demangle.h"
#include "debug/disassembly.h"
#include "debug/page_walk.h"
#include "debug/registers.h"

/* Bytes of code shown on either side of RIP; the longest instruction has 15. */
#define CODE_BYTES         16
#define INSTRUCTION_MAX    15
#define INSTRUCTIONS_ABOVE 6 /* shown before the one at RIP */
#define INSTRUCTIONS_BELOW 4
#define FUNCTION_MAX       65536 /* bytes from a function's start that are decoded at most */
#define LOG_LINES          10
#define LOG_LINE           400 /* characters shown of each */

static void add_rip(const struct crash *crash, struct text *text)
{
    gva_t rip = crash->state->rip;
    text_printf(text, "  rip    %016llx", (unsigned long long)rip);
    guest_view_describe(crash->view, rip, rip, text);
    if (rip < crash->view->kernel_start || rip >= crash->view->kernel_end)
        text_add(text, " (outside the kernel)");
    else if (!guest_view_is_code(crash->view, rip))
        text_add(text, " (not code)");
    text_add(text, "\n");
}

/* Hexadecimal bytes, the one at RIP in angle brackets, "??" where nothing is mapped. */
static void add_code(const struct crash *crash, struct text *text)
{
    text_add(text, "code:");
    for (int at = -CODE_BYTES; at < CODE_BYTES; at++) {
        gva_t address = crash->state->rip + (uint64_t)(int64_t)at;
        /* What recursive page tables map at the very end does not precede address 0. */
        bool wrapped = (at < 0) != (address < crash->state->rip);
        uint8_t byte;
        char shown[] = "??";
        if (!wrapped && crash->view->read(crash->view->context, address, &byte, 1)) {
            shown[0] = "0123456789abcdef"[byte >> 4];
            shown[1] = "0123456789abcdef"[byte & 15];
        }
        text_printf(text, at ? " %s" : " <%s>", shown);
    }
    text_add(text, "\n");
}

/* Decode one instruction; its length, 0 if there is none. */
static size_t decode(const struct crash *crash, gva_t address, char shown[DISASSEMBLY_TEXT])
{
    uint8_t code[INSTRUCTION_MAX];
    size_t size = 0;

    if (crash->view->read(crash->view->context, address, code, sizeof code))
        size = sizeof code;
    else
        while (size < sizeof code &&
               crash->view->read(crash->view->context, address + size, &code[size], 1))
            size++;
    return size ? disassemble(crash->disassembler, address, code, size, shown) : 0;
}

/* Instructions have no marks: those before RIP are found from the start of the function on.
 * Returns how many of them are in `before`, in order. */
static size_t find_before(const struct crash *crash, gva_t before[INSTRUCTIONS_ABOVE])
{
    const struct guest_view *view = crash->view;
    gva_t rip = crash->state->rip, at;
    char shown[DISASSEMBLY_TEXT];
    size_t count = 0;
    uint64_t offset;

    if (!view->symbols || !guest_view_is_code(view, rip) ||
        !symbols_find(view->symbols, rip - view->load_offset, &offset) || offset > FUNCTION_MAX)
        return 0;
    for (at = rip - offset; at < rip;) {
        size_t length = decode(crash, at, shown);
        if (!length)
            return 0;
        if (count == INSTRUCTIONS_ABOVE)
            memmove(before, before + 1, --count * sizeof *before);
        before[count++] = at;
        at += length;
    }
    return at == rip ? count : 0;
}

static void add_instructions(const struct crash *crash, struct text *text)
{
    gva_t before[INSTRUCTIONS_ABOVE], at = crash->state->rip;
    char shown[DISASSEMBLY_TEXT];

    if (!crash->disassembler)
        return;
    if (!decode(crash, at, shown)) {
        text_add(text, "instructions: none at RIP\n");
        return;
    }
    text_add(text, "instructions:\n");
    size_t count = find_before(crash, before);
    for (size_t i = 0; i < count; i++) {
        decode(crash, before[i], shown);
        text_printf(text, "     0x%llx  %s\n", (unsigned long long)before[i], shown);
    }
    for (size_t i = 0; i <= INSTRUCTIONS_BELOW; i++) {
        size_t length = decode(crash, at, shown);
        if (!length)
            return;
        text_printf(text, "  %s 0x%llx  %s\n", i ? "  " : "=>", (unsigned long long)at, shown);
        at += length;
    }
}

static void add_backtrace(const struct crash *crash, const struct frame *frames, size_t count,
                          struct text *text)
{
    text_add(text, "backtrace (? marks values on the stack that may be left over):\n");
    backtrace_format(crash->view, frames, count, text);
    if (count == 1)
        text_add(text, "  no return address was found on the stack\n");
    if (!crash->view->symbols || !crash->view->symbols->count)
        text_add(text, "  the image has no symbols: functions cannot be named\n");
}

/* The source name of a frame's function; NULL if there is none. */
static const char *frame_name(const struct guest_view *view, const struct frame *frame,
                              char to[DEMANGLE_MAX])
{
    gva_t lookup = frame->address - (frame->origin != FRAME_RIP);
    uint64_t offset;
    const char *name = NULL;

    if (view->symbols && lookup >= view->kernel_start && lookup < view->kernel_end)
        name = symbols_find(view->symbols, lookup - view->load_offset, &offset);
    return name ? demangle(name, to) : NULL;
}

/* Who panicked: the first of the developer's own functions outside of what carries a panic out. */
static void add_culprit(const struct crash *crash, const struct frame *frames, size_t count,
                        struct text *text)
{
    char name[DEMANGLE_MAX];
    bool in_machinery = false;

    for (size_t i = 0; i < count; i++) {
        const char *function = frame_name(crash->view, &frames[i], name);
        enum panic_role role = function ? panic_role(function) : PANIC_LIBRARY;
        if (role == PANIC_MACHINERY)
            in_machinery = true;
        if (role != PANIC_OTHER || !(in_machinery || crash->panic->exception))
            continue;
        text_printf(text, "%s function:", crash->panic->exception ? "faulting" : "panicking");
        guest_view_describe(crash->view, frames[i].address,
                            frames[i].address - (frames[i].origin != FRAME_RIP), text);
        backtrace_add_place(crash->view, &frames[i], text);
        text_add(text, "\n");
        return;
    }
}

static void add_stack_state(const struct crash *crash, struct text *text)
{
    gva_t rsp = crash->state->gpr[X86_RSP];
    uint64_t word;

    if (rsp >= sizeof word &&
        !crash->view->read(crash->view->context, rsp - sizeof word, &word, sizeof word))
        text_printf(
            text,
            "nothing is mapped below the stack pointer 0x%llx: a stack overflow, or no stack\n",
            (unsigned long long)rsp);
}

/* Gates have 16 bytes; the present bit is bit 47 (Intel SDM volume 3, section 6.14.1). */
static void add_handler_state(const struct crash *crash, struct text *text)
{
    const struct x86_table *idt = &crash->state->idt;
    enum { GATE = 16, PRESENT_BYTE = 5 };
    uint8_t flags;

    if (idt->limit < GATE - 1)
        text_add(text, "the interrupt descriptor table is empty: there is no exception handler\n");
    else if (!crash->view->read(crash->view->context, idt->base + PRESENT_BYTE, &flags, 1))
        text_printf(text, "the interrupt descriptor table at 0x%llx is not mapped\n",
                    (unsigned long long)idt->base);
}

static void add_page_walk(const struct crash *crash, struct text *text)
{
    uint8_t byte;

    if (!crash->ram)
        return;
    if (crash->has_address)
        page_walk_format(crash->ram, crash->state->cr3, crash->address, text);
    else if (!crash->exited &&
             !crash->view->read(crash->view->context, crash->state->rip, &byte, 1))
        page_walk_format(crash->ram, crash->state->cr3, crash->state->rip, text);
}

static void add_calls(const struct crash *crash, struct text *text)
{
    const struct call_history *history = crash->history;
    if (!history || !history->total)
        return;
    uint64_t first = history->total > CALL_HISTORY ? history->total - CALL_HISTORY : 0;
    text_printf(text, "last hypercalls of vCPU %u (the newest last):\n", crash->vcpu);
    for (uint64_t i = first; i < history->total; i++) {
        text_add(text, "  ");
        call_format(&history->records[i % CALL_HISTORY], text);
        text_add(text, "\n");
    }
}

static void add_log(const struct crash *crash, struct text *text)
{
    const char *start = crash->log, *end;
    unsigned lines = 0;

    if (!start || !*start)
        return;
    end = start + strlen(start);
    while (end > start && (end[-1] == '\n' || end[-1] == '\r'))
        end--;
    for (const char *p = end; p > start && lines < LOG_LINES; p--)
        if (p[-1] == '\n' && ++lines == LOG_LINES)
            start = p;
    text_add(text, "last lines of the guest's log:\n");
    while (start < end) {
        char line[LOG_LINE + 1];
        size_t size = strcspn(start, "\n");
        snprintf(line, sizeof line, "%.*s", (int)size, start);
        text_make_printable(line);
        if (size && *line)
            text_printf(text, "  %s\n", line);
        start += size + 1;
    }
}

/* What follows needs no registers. */
static void add_past(const struct crash *crash, struct text *text)
{
    add_calls(crash, text);
    add_log(crash, text);
}

void crash_report(const struct crash *crash, struct text *text)
{
    struct frame frames[BACKTRACE_FRAMES];
    size_t count;

    text_printf(text, "%s\n", crash->cause);
    if (!crash->registers_valid) {
        if (!crash->exited)
            text_printf(text,
                        "vCPU %u: the registers are lost, because the processor was reset before "
                        "they could be read\n",
                        crash->vcpu);
        add_past(crash, text);
        return;
    }
    count = backtrace_walk(crash->view, crash->state, frames);
    if (crash->panic)
        add_culprit(crash, frames, count, text);
    text_printf(text, "vCPU %u:\n", crash->vcpu);
    if (!crash->exited) {
        add_rip(crash, text);
        registers_format(crash->state, text);
        add_stack_state(crash, text);
        add_handler_state(crash, text);
    }
    if (!crash->exited || (crash->panic && crash->panic->has_rip)) {
        add_code(crash, text);
        add_instructions(crash, text);
    }
    add_page_walk(crash, text);
    add_backtrace(crash, frames, count, text);
    add_past(crash, text);
}
