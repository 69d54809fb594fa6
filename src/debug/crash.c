#include "debug/crash.h"

#include "debug/backtrace.h"
#include "debug/registers.h"

/* Bytes of code shown on either side of RIP; the longest instruction has 15. */
#define CODE_BYTES 16

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

static void add_backtrace(const struct crash *crash, struct text *text)
{
    struct frame frames[BACKTRACE_FRAMES];
    size_t count = backtrace_walk(crash->view, crash->state, frames);
    text_add(text, "backtrace (? marks values on the stack that may be left over):\n");
    backtrace_format(crash->view, frames, count, text);
    if (count == 1)
        text_add(text, "  no return address was found on the stack\n");
    if (!crash->view->symbols || !crash->view->symbols->count)
        text_add(text, "  the image has no symbols: functions cannot be named\n");
}

void crash_report(const struct crash *crash, struct text *text)
{
    text_printf(text, "%s\n", crash->cause);
    if (!crash->registers_valid) {
        text_printf(text,
                    "vCPU %u: the registers are lost, because the processor was reset before they "
                    "could be read\n",
                    crash->vcpu);
        return;
    }
    text_printf(text, "vCPU %u:\n", crash->vcpu);
    add_rip(crash, text);
    registers_format(crash->state, text);
    add_code(crash, text);
    add_backtrace(crash, text);
}
