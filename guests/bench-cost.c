/*
 * What a kernel's own instructions cost: prints how often, and how many ticks of the time stamp
 * counter it took together: "COUNT TICKS". Application arguments: what, then how often.
 *
 *     trap       a privileged instruction that concerns nobody else: reading CR0
 *     patched    saving the interrupt flag, CLI and STI: three instructions each time
 *     hypercall  one without an effect
 *     fault      touching a page for which the guest's page fault handler makes an entry
 */
#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/paging.h"
#include "lib/print.h"
#include "lib/text.h"
#include "lib/trap.h"

#define WINDOW     UINT64_C(0x10000000000) /* guest-virtual: nothing else is there */
#define PAGE_FAULT 14

static uint64_t *window_table;
static uint8_t window_page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

/* Behind it, or a VMM that looks ahead sees a sequence of such instructions, which is not what is
 * to be measured here. */
#ifdef __SSE__
#define SOMETHING_ELSE "fnop"
#else
#define SOMETHING_ELSE "nop" /* a KVM that emulates this knows no other */
#endif

static uint64_t run_traps(uint64_t count)
{
    uint64_t start = cpu_tsc();
    for (uint64_t i = 0; i < count; i++)
        __asm__ volatile("mov %%cr0, %%rax; " SOMETHING_ELSE : : : "rax");
    return cpu_tsc() - start;
}

/* As compilers write a section with interrupts off. */
static uint64_t run_patched(uint64_t count)
{
    uint32_t inside;
    cpu_interrupts_on();
    uint64_t start = cpu_tsc();
    for (uint64_t i = 0; i < count; i++)
        __asm__ volatile("pushfq; pop %%rax; cli\n"
                         "movl $1, %0\n"
                         "test $0x200, %%eax; jz 1f; sti; 1:"
                         : "=m"(inside)
                         :
                         : "rax", "memory", "cc");
    uint64_t ticks = cpu_tsc() - start;
    cpu_interrupts_off();
    return ticks;
}

static uint64_t run_hypercalls(uint64_t count)
{
    uint64_t start = cpu_tsc();
    for (uint64_t i = 0; i < count; i++) {
        hypercall_v2(HERMIT_V2_SERIAL_READ_BYTE, 0);
        __asm__ volatile(SOMETHING_ELSE);
    }
    return cpu_tsc() - start;
}

static void on_page_fault(const struct trap_frame *frame)
{
    (void)frame;
    window_table[paging_index(cpu_read_cr2(), 0)] = (uintptr_t)window_page | PAGE_PRESENT |
                                                    PAGE_WRITABLE;
}

static void make_window(void)
{
    window_table = paging_window(WINDOW);
    trap_init();
    trap_handle(PAGE_FAULT, on_page_fault);
}

/* In rounds of a table full; emptying it is not counted. */
static uint64_t run_faults(uint64_t count)
{
    uint64_t ticks = 0;
    make_window();
    for (uint64_t done = 0; done < count; done += TABLE_ENTRIES) {
        uint64_t start = cpu_tsc();
        for (unsigned i = 0; i < TABLE_ENTRIES && done + i < count; i++)
            *(volatile uint8_t *)(WINDOW + i * PAGE_SIZE) = 1;
        ticks += cpu_tsc() - start;
        memset(window_table, 0, PAGE_SIZE);
        __asm__ volatile("mov %0, %%cr3" : : "r"(paging_top()) : "memory");
    }
    return ticks;
}

int main(void)
{
    args_load();
    const char *what = args_app(0);
    uint64_t count = (uint64_t)args_number(1, 1000), ticks = 0;
    if (text_equal(what, "trap"))
        ticks = run_traps(count);
    else if (text_equal(what, "patched"))
        ticks = run_patched(count);
    else if (text_equal(what, "hypercall"))
        ticks = run_hypercalls(count);
    else if (text_equal(what, "fault"))
        ticks = run_faults(count);
    print("%lu %lu\n", count, ticks);
    return ticks ? 0 : 1;
}
