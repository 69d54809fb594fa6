/*
 * Computes for a number of milliseconds (application argument, default 1000) in three functions
 * that execute 70, 20 and 10 percent of the instructions: for the profiler. With "sleep" as second
 * argument it is halted half of the time. With "work" and a number it does so many rounds of that
 * instead. Then it says so and exits with code 0.
 */
#include "lib/apic.h"
#include "lib/args.h"
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/text.h"
#include "lib/trap.h"

#define TIMER_VECTOR 0x28
#define UNIT         2000 /* iterations for ten percent */

/* Visible in the symbol table; the empty statement after a call keeps it from becoming a jump. */
void hot_large(void);
void hot_middle(void);
void hot_small(void);
void hot_caller(void);

/* Naming the frame makes the compiler set one up, for the stacks. */
static inline __attribute__((always_inline)) void count_down(uint64_t iterations)
{
    __asm__ volatile("1: dec %0; jnz 1b" : "+r"(iterations) : "r"(__builtin_frame_address(0)));
}

__attribute__((noinline)) void hot_large(void)
{
    count_down(7 * UNIT);
}

__attribute__((noinline)) void hot_middle(void)
{
    count_down(2 * UNIT);
}

__attribute__((noinline)) void hot_small(void)
{
    count_down(1 * UNIT);
}

__attribute__((noinline)) void hot_caller(void)
{
    hot_large();
    hot_middle();
    hot_small();
    __asm__ volatile("");
}

static void on_timer(const struct trap_frame *frame)
{
    (void)frame;
    apic_end_of_interrupt();
}

int main(void)
{
    args_load();
    if (text_equal(args_app(0), "work")) {
        for (int64_t left = args_number(1, 1000); left > 0; left--)
            hot_caller();
        print("done\n");
        return 0;
    }
    uint64_t per_ms = boot_tsc_khz() ? boot_tsc_khz() : 1000000;
    uint64_t end = cpu_tsc() + (uint64_t)args_number(0, 1000) * per_ms;
    bool sleeps = text_equal(args_app(1), "sleep");

    if (sleeps) {
        trap_init();
        trap_handle(TIMER_VECTOR, on_timer);
        apic_init();
    }
    while (cpu_tsc() < end) {
        uint64_t start = cpu_tsc(), slice = start + 10 * per_ms;
        while (cpu_tsc() < slice)
            hot_caller();
        if (sleeps) {
            uint64_t now = cpu_tsc();
            apic_timer_at(TIMER_VECTOR, now + (now - start));
            cpu_wait_for_interrupt();
        }
    }
    print("done\n");
    return 0;
}
