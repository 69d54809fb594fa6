/*
 * Shows a prompt on the serial channel, byte by byte and without the end of a line, and does
 * nothing of interest from then on. Application argument: "spin" or "halt".
 */
#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/text.h"

int main(void)
{
    args_load();
    bool spin = text_equal(args_app(0), "spin");
    for (const char *at = "name? "; *at; at++)
        cpu_out8(HERMIT_V1_UART, (uint8_t)*at);
    for (;;) {
        if (spin)
            cpu_pause();
        else
            __asm__ volatile("cli; hlt");
    }
}
