/*
 * Sleeps with HLT until the TSC-deadline timer wakes the CPU, several times. Application argument:
 * milliseconds per sleep, default 20. Fails if a sleep is too short, or longer than twice the time
 * plus 100 ms.
 */
#include <stdbool.h>

#include "lib/apic.h"
#include "lib/args.h"
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/tap.h"
#include "lib/trap.h"

#define TIMER_VECTOR 0x28
#define SLEEPS       3

static volatile unsigned wakeups;

static void on_timer(const struct trap_frame *frame)
{
    (void)frame;
    wakeups++;
    apic_end_of_interrupt();
}

int main(void)
{
    args_load();
    uint64_t khz = boot_tsc_khz();
    if (khz == 0) {
        tap_skip("timer", "the TSC frequency is unknown");
        return tap_end();
    }
    uint64_t milliseconds = (uint64_t)args_number(0, 20);

    trap_init();
    trap_handle(TIMER_VECTOR, on_timer);
    apic_init();
    for (unsigned i = 0; i < SLEEPS; i++) {
        uint64_t start = cpu_tsc();
        apic_timer_at(TIMER_VECTOR, start + milliseconds * khz);
        while (wakeups == i)
            cpu_wait_for_interrupt();
        uint64_t microseconds = (cpu_tsc() - start) * 1000 / khz;
        bool passed = microseconds >= milliseconds * 1000 &&
                      microseconds < milliseconds * 2000 + 100000;
        tap_ok(passed, "sleep of %lu ms took %lu us", milliseconds, microseconds);
    }
    return tap_end();
}
