/*
 * Instructions that depend on the privilege level or on the interrupt flag, in places and states
 * where an accelerator that replaces them could be wrong: single-stepped, next to instructions that
 * fault, with interrupts that come due while they are disabled.
 *
 * The instructions under test are followed by harmless ones so that there is room to patch them.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/apic.h"
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/tap.h"
#include "lib/trap.h"

#define VECTOR_DEBUG      1
#define VECTOR_PROTECTION 13
#define TIMER_VECTOR      0x28
#define FLAG_TF           UINT64_C(0x100)
#define FLAG_IF           UINT64_C(0x200)
#define FLAG_AC           UINT64_C(0x40000)
#define SELECTOR_CODE     0x08
#define SELECTOR_DATA     0x10
#define SELECTOR_BEYOND   0x18
#define SELECTOR_USER     0x33 /* 64-bit code on many a host */
#define STEPS_MAX         32
#define BEHIND_STI        (UINT64_C(1) << 7) /* where test_steps has it */

static volatile unsigned rings;
static uint64_t halt_at; /* the hlt of test_halt */
static volatile bool rung_early;
static uint64_t steps[STEPS_MAX];
static volatile unsigned step_count;
static volatile uint64_t fault_rip, fault_error;
static uint64_t resume_at;

static void on_timer(const struct trap_frame *frame)
{
    if (frame->rip == halt_at) {
        ((struct trap_frame *)(uintptr_t)frame)->rip++; /* nothing would end it */
        rung_early = true;
    }
    rings++;
    apic_end_of_interrupt();
}

static void on_step(const struct trap_frame *frame)
{
    if (step_count < STEPS_MAX)
        steps[step_count] = frame->rip;
    step_count++;
}

/* Go on at `resume_at`. */
static void on_protection(const struct trap_frame *frame)
{
    fault_rip = frame->rip;
    fault_error = frame->error_code;
    ((struct trap_frame *)(uintptr_t)frame)->rip = resume_at;
}

static void test_flags(void)
{
    uint64_t disabled, enabled, again;
    __asm__ volatile("cli\n\t"
                     "pushfq\n\t"
                     "pop %0\n\t"
                     "sti\n\t"
                     "nop\n\tnop\n\tnop\n\tnop\n\t"
                     "pushfq\n\t"
                     "pop %1\n\t"
                     "push %0\n\t"
                     "popfq\n\t"
                     "nop\n\tnop\n\tnop\n\tnop\n\t"
                     "pushfq\n\t"
                     "pop %2"
                     : "=&r"(disabled), "=&r"(enabled), "=&r"(again)
                     :
                     : "memory");
    tap_equal((int64_t)(disabled & FLAG_IF), 0, "cli clears IF");
    tap_equal((int64_t)(enabled & FLAG_IF), (int64_t)FLAG_IF, "sti sets IF");
    tap_equal((int64_t)again, (int64_t)disabled, "popfq restores all flags");
}

/* Whoever handles this guest's traps must not mind its alignment checks. */
static void test_alignment(void)
{
    uint8_t table[16] __attribute__((aligned(8))) = {0};
    __asm__ volatile("pushfq\n\t"
                     "orq %[ac], (%%rsp)\n\t"
                     "popfq\n\t"
                     "nop\n\tnop\n\tnop\n\tnop\n\t"
                     "sidt 1(%[table])\n\t"
                     "pushfq\n\t"
                     "andq %[not_ac], (%%rsp)\n\t"
                     "popfq"
                     :
                     : [ac] "i"(FLAG_AC), [not_ac] "i"(~FLAG_AC), [table] "r"(table)
                     : "memory", "cc");
    tap_ok(table[1] == 0xff && table[0] == 0, "alignment checks are not in the way");
}

/* A timer that comes due while interrupts are disabled rings when they are enabled. */
static void test_late_timer(uint64_t khz)
{
    __asm__ volatile("cli" : : : "memory");
    unsigned before = rings;
    uint64_t due = cpu_tsc() + khz;
    apic_timer_at(TIMER_VECTOR, due);
    while (cpu_tsc() < due + 2 * khz)
        ;
    unsigned meanwhile = rings;
    uint64_t enabled = cpu_tsc();
    __asm__ volatile("sti\n\tnop\n\tnop\n\tnop\n\tnop\n\tnop" : : : "memory");
    unsigned after = rings;
    while (rings == before && cpu_tsc() < enabled + 1000 * khz)
        ;
    __asm__ volatile("cli" : : : "memory");
    tap_equal(meanwhile, before, "no interrupt with IF clear");
    tap_equal(after, before + 1, "sti brings the interrupt that was due");
}

/* An interrupt that is due when STI comes waits for the instruction behind it. Were it before HLT,
 * that would sleep although what it is to wait for has been. */
static void test_halt(void)
{
    unsigned before = rings;
    __asm__ volatile("cli" : : : "memory");
    apic_send(apic_id(), TIMER_VECTOR);
    unsigned meanwhile = rings;
    __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                     "mov %%rax, %[halt_at]\n\t"
                     "sti\n"
                     "1:\thlt\n\t"
                     "cli"
                     : [halt_at] "=m"(halt_at)
                     :
                     : "rax", "memory");
    tap_ok(meanwhile == before && rings == before + 1 && !rung_early,
           "an interrupt does not come between sti and hlt but behind");
}

/* Every instruction is one step, whatever was made of it. */
static void test_steps(void)
{
    uint64_t first;
    step_count = 0;
    __asm__ volatile("pushfq\n\t"
                     "orq %[tf], (%%rsp)\n\t"
                     "lea 1f(%%rip), %[first]\n\t"
                     "popfq\n\t"
                     "nop\n" /* executed before the first step is noticed */
                     "1:\tpushfq\n\t"
                     "cli\n\t"
                     "nop\n\tnop\n\tnop\n\tnop\n\t"
                     "sti\n\t"
                     "nop\n\tnop\n\tnop\n\tnop\n\t"
                     "popfq\n\t"
                     "nop\n\tnop\n\tnop\n\tnop\n\t"
                     "pushfq\n\t"
                     "andq %[not_tf], (%%rsp)\n\t"
                     "popfq"
                     : [first] "=&r"(first)
                     : [tf] "i"(FLAG_TF), [not_tf] "i"(~FLAG_TF)
                     : "memory", "cc");
    /* The nop before the label, 17 instructions of one byte, the and. Whether the popfq that ends
     * it is a step, and whether sti holds its step back, is not looked at. */
    tap_ok(step_count >= 18 && step_count <= 20, "%lu single steps", (uint64_t)step_count);
    uint64_t seen = BEHIND_STI;
    for (unsigned i = 0; i < step_count && i < STEPS_MAX; i++)
        if (steps[i] - first < 18)
            seen |= UINT64_C(1) << (steps[i] - first);
    tap_equal((int64_t)seen, (1 << 18) - 1, "each ends behind one instruction");
}

/* The fault of an instruction next to a sensitive one is its own. */
static void test_neighbour(void)
{
    uint64_t expected;
    fault_rip = 0;
    fault_error = 1;
    __asm__ volatile("lea 2f(%%rip), %%rax\n\t"
                     "mov %%rax, %[resume]\n\t"
                     "lea 1f(%%rip), %[expected]\n\t"
                     "cli\n"
                     "1:\tmov (%[bad]), %%rax\n\t"
                     "nop\n\tnop\n"
                     "2:"
                     : [expected] "=&r"(expected), [resume] "=m"(resume_at)
                     : [bad] "r"(UINT64_C(1) << 63)
                     : "rax", "memory");
    tap_ok(fault_rip == expected && fault_error == 0, "a neighbour faults where it is");
}

static void test_far_return(void)
{
    fault_rip = 0;
    __asm__ volatile("lea 1f(%%rip), %%rax\n\t"
                     "mov %%rax, %[resume]\n\t"
                     "mov %%rsp, %%rbx\n\t"
                     "push %[data]\n\t"
                     "push %%rbx\n\t"
                     "pushfq\n\t"
                     "push %[user]\n\t"
                     "push %%rax\n\t"
                     "iretq\n"
                     "1:\tmov %%rbx, %%rsp"
                     : [resume] "=m"(resume_at)
                     : [data] "i"(SELECTOR_DATA), [user] "i"(SELECTOR_USER)
                     : "rax", "rbx", "memory");
    tap_ok(fault_rip != 0, "iretq to a selector that only the host has faults");
    tap_equal((int64_t)fault_error, SELECTOR_USER & ~3, "and tells which");
}

static bool can_read(uint16_t selector)
{
    bool can;
    __asm__ volatile("verr %1" : "=@ccz"(can) : "r"(selector));
    return can;
}

static bool can_write(uint16_t selector)
{
    bool can;
    __asm__ volatile("verw %1" : "=@ccz"(can) : "r"(selector));
    return can;
}

static bool get_rights(uint16_t selector, uint64_t *rights)
{
    bool found;
    uint32_t value = 0;
    __asm__ volatile("lar %2, %1" : "=@ccz"(found), "+r"(value) : "r"((uint32_t)selector));
    *rights = value;
    return found;
}

static bool get_limit(uint16_t selector, uint64_t *limit)
{
    bool found;
    uint64_t value = 0;
    __asm__ volatile("lsl %2, %1" : "=@ccz"(found), "+r"(value) : "r"((uint64_t)selector));
    *limit = value;
    return found;
}

static void test_selectors(void)
{
    uint64_t value = 0;
    tap_ok(can_read(SELECTOR_CODE) && !can_write(SELECTOR_CODE), "code can be read only");
    tap_ok(can_read(SELECTOR_DATA) && can_write(SELECTOR_DATA), "data can be written");
    tap_ok(!can_read(0) && !can_read(SELECTOR_BEYOND) && !can_read(SELECTOR_USER),
           "other selectors cannot be used");
    bool found = get_rights(SELECTOR_CODE, &value);
    tap_ok(found && (value & 0x00f0ff00) == 0x00a09b00, "rights of code: %lx", value);
    found = get_limit(SELECTOR_DATA, &value);
    tap_ok(found && value == UINT32_MAX, "limit of data: %lx", value);
    found = get_rights(SELECTOR_BEYOND, &value);
    tap_ok(!found && value == 0, "no rights beyond the table");
}

int main(void)
{
    trap_init();
    trap_handle(TIMER_VECTOR, on_timer);
    trap_handle(VECTOR_DEBUG, on_step);
    trap_handle(VECTOR_PROTECTION, on_protection);
    apic_init();
    test_flags();
    uint64_t khz = boot_tsc_khz();
    if (khz)
        test_late_timer(khz);
    else
        tap_skip("late timer", "the TSC frequency is unknown");
    test_halt();
    test_steps();
    test_alignment();
    test_neighbour();
    test_far_return();
    test_selectors();
    return tap_end();
}
