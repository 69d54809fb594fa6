/*
 * Leaves guest mode N times (application arguments: "out", "in" or "call", then N; default: out
 * 100000) by an access to a port behind which there is nothing, or by a hypercall that does next to
 * nothing, and then says so: the time of its output is
 * the time of N round trips. Not the PCI address port: a VMM may let the kernel collect writes to
 * that one, so that they do not leave guest mode at all. Exit code 0.
 */
#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

#define UNUSED_PORT 0x80

int main(void)
{
    args_load();
    int64_t count = args_number(1, 100000);
    if (text_equal(args_app(0), "in")) {
        for (int64_t left = count; left > 0; left--)
            (void)cpu_in32(UNUSED_PORT);
    } else if (text_equal(args_app(0), "call")) {
        struct hermit_close close = {.fd = -1};
        for (int64_t left = count; left > 0; left--)
            hypercall_v2(HERMIT_V2_FILE_CLOSE, (uintptr_t)&close);
    } else {
        for (int64_t left = count; left > 0; left--)
            cpu_out32(UNUSED_PORT, 0);
    }
    print("done\n");
    return 0;
}
