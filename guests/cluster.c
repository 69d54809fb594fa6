/*
 * Privileged instructions close together, with all sorts of others between them: arithmetic, memory
 * that is not there, exceptions, code that changes, interrupts that come due. An accelerator that
 * traps them may deal with several at once, and must come to the same as a processor.
 *
 * Everything is done many times: the first time may be another way than the later ones.
 */
#include "lib/apic.h"
#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/paging.h"
#include "lib/smp.h"
#include "lib/tap.h"
#include "lib/text.h"
#include "lib/trap.h"

#define ROUNDS 100

#define VECTOR_DIVIDE     0
#define VECTOR_BREAKPOINT 3
#define VECTOR_OPCODE     6
#define VECTOR_PAGE_FAULT 14
#define TIMER_VECTOR      0x28
#define FLAG_IF           UINT64_C(0x200)

#define WINDOW       UINT64_C(0x10000000000) /* guest-virtual: nothing else is there */
#define WINDOW_PAGES 64
#define IDLE_PORT    0xcfc

/* Traps where the guest is not really privileged. */
static inline void trap(void)
{
    __asm__ volatile("mov %%cr0, %%rax" : : : "rax");
}

static uint64_t *window_table; /* the page table of WINDOW */
static uint8_t pages[2][PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));
static unsigned faults, divisions, opcodes, breakpoints, rings, right_cpus;
static uint64_t exception_rip;

static void map_window(unsigned index, const uint8_t *page)
{
    window_table[index] = (uintptr_t)page | PAGE_PRESENT | PAGE_WRITABLE;
}

static void on_page_fault(const struct trap_frame *frame)
{
    (void)frame;
    faults++;
    map_window(paging_index(cpu_read_cr2(), 0), pages[0]);
}

static void skip(const struct trap_frame *frame, unsigned size)
{
    exception_rip = frame->rip;
    ((struct trap_frame *)(uintptr_t)frame)->rip += size;
}

static void on_divide(const struct trap_frame *frame)
{
    divisions++;
    skip(frame, 2);
}

static void on_opcode(const struct trap_frame *frame)
{
    opcodes++;
    skip(frame, 2);
}

static void on_breakpoint(const struct trap_frame *frame)
{
    breakpoints++;
    skip(frame, 0);
}

static void on_timer(const struct trap_frame *frame)
{
    (void)frame;
    rings++;
    apic_end_of_interrupt();
}

/* The same computation with and without traps in it. */
static uint64_t compute(bool traps)
{
    uint64_t table[16] = {0}, hash = 1;
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        if (traps)
            trap();
        hash = (hash ^ i) * UINT64_C(0x9e3779b97f4a7c15);
        hash = hash << (i % 64) | hash >> (63 - i % 64) >> 1;
        table[hash % 16] += hash / (i + 1) + (uint8_t)hash;
        if (traps)
            trap();
        hash += (int64_t)table[i % 16] < 0 ? (uint64_t) - (int64_t)i
                                           : (uint16_t)table[(i + 3) % 16];
        if (hash % 3 == 0)
            hash -= (uint32_t)table[5];
    }
    return hash;
}

static void test_arithmetic(void)
{
    uint64_t expected = compute(false);
    bool equal = true;
    for (unsigned i = 0; i < ROUNDS; i++)
        equal = compute(true) == expected && equal;
    tap_ok(equal, "computing between traps gives the same");
}

static void test_page_faults(void)
{
    for (unsigned i = 0; i < WINDOW_PAGES; i++) {
        trap();
        *(volatile uint32_t *)(WINDOW + i * PAGE_SIZE + 4 * i) = i;
        trap();
    }
    tap_equal(faults, WINDOW_PAGES, "each page is missing once");
    bool written = true;
    for (unsigned i = 0; i < WINDOW_PAGES; i++)
        written = ((uint32_t *)(uintptr_t)pages[0])[i] == i && written;
    tap_ok(written, "what was written is there");
}

static void test_remapping(void)
{
    bool right = true;
    pages[0][0] = 10;
    pages[1][0] = 11;
    for (unsigned i = 0; i < ROUNDS; i++) {
        map_window(0, pages[i % 2]);
        cpu_invalidate_page(WINDOW);
        right = *(volatile uint8_t *)WINDOW == 10 + i % 2 && right;
        map_window(0, pages[1 - i % 2]);
        cpu_invalidate_page(WINDOW);
        right = *(volatile uint8_t *)WINDOW == 11 - i % 2 && right;
    }
    tap_ok(right, "a page that is mapped elsewhere is read there");
}

static void test_exceptions(void)
{
    uint64_t at_opcode = 0, behind_breakpoint = 0;
    bool in_place = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        trap();
        __asm__ volatile("lea 1f(%%rip), %0\n1:\tud2" : "=r"(at_opcode) : : "memory");
        in_place = exception_rip == at_opcode && in_place;
        trap();
        __asm__ volatile("lea 1f(%%rip), %0\n\tint3\n1:" : "=r"(behind_breakpoint) : : "memory");
        in_place = exception_rip == behind_breakpoint && in_place;
        trap();
        __asm__ volatile("xor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tdiv %%ecx"
                         :
                         :
                         : "rax", "rcx", "rdx", "memory", "cc");
    }
    tap_equal(opcodes, ROUNDS, "invalid opcodes");
    tap_equal(breakpoints, ROUNDS, "breakpoints");
    tap_equal(divisions, ROUNDS, "divide errors");
    tap_ok(in_place, "exceptions report where they were");
}

/* mov %cr0, %rax; mov $imm32, %eax; mov %cr0, %rcx; ret */
static void test_changing_code(void)
{
    static uint8_t code[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE))) = {
        0x0f, 0x20, 0xc0, 0xb8, 0, 0, 0, 0, 0x0f, 0x20, 0xc1, 0xc3};
    bool right = true;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        memcpy(code + 4, &i, sizeof i);
        for (unsigned k = 0; k < 3; k++) {
            uint32_t result;
            __asm__ volatile("call *%1" : "=a"(result) : "r"(code) : "rcx", "memory");
            right = result == i && right;
        }
    }
    tap_ok(right, "code that has changed is executed as it is");
}

static void test_strings(void)
{
    static uint8_t from[3000], to[3000];
    bool right = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t count = i % 2 ? sizeof to : 16;
        const void *source = from;
        void *destination = to;
        from[count - 1] = (uint8_t)(i + 1);
        trap();
        __asm__ volatile("rep movsb" : "+S"(source), "+D"(destination), "+c"(count) : : "memory");
        trap();
        right = count == 0 && to[(i % 2 ? sizeof to : 16) - 1] == (uint8_t)(i + 1) && right;
    }
    tap_ok(right, "short and long strings are copied");
}

#define ROOM "nop\n\tnop\n\tnop\n\tnop\n\t" /* to patch what is before */

static bool flags_are_right(void)
{
    bool right = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t enabled, disabled, restored;
        __asm__ volatile("sti\n\t" ROOM "mov %%cr0, %%rax\n\t"
                         "pushfq\n\tpop %0\n\tcli\n\t" ROOM "mov %%cr0, %%rax\n\t"
                         "pushfq\n\tpop %1\n\t" ROOM "push %0\n\tpopfq\n\t" ROOM
                         "mov %%cr0, %%rax\n\tpushfq\n\tpop %2\n\tcli\n\t" ROOM
                         : "=&r"(enabled), "=&r"(disabled), "=&r"(restored)
                         :
                         : "rax", "memory", "cc");
        right = (enabled & FLAG_IF) && !(disabled & FLAG_IF) && restored == enabled && right;
    }
    return right;
}

static void test_flags_of_cpu(uint32_t cpu)
{
    if (flags_are_right())
        __atomic_fetch_add(&right_cpus, 1, __ATOMIC_RELAXED);
    (void)cpu;
}

static void test_flags(void)
{
    smp_run(test_flags_of_cpu);
    tap_equal(right_cpus, smp_cpu_count(), "the interrupt flag is what it should be on every CPU");
}

static void test_ports(void)
{
    bool right = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        cpu_out32(IDLE_PORT - 4, i);
        cpu_out8(IDLE_PORT, (uint8_t)i);
        right = cpu_in32(IDLE_PORT) == UINT32_MAX && cpu_in8(IDLE_PORT) == UINT8_MAX &&
                cpu_in16(IDLE_PORT) == UINT16_MAX && right;
        uint64_t rax = UINT64_C(0x1122334455667788);
        __asm__ volatile("inb %%dx, %%al" : "+a"(rax) : "d"(IDLE_PORT));
        right = rax == UINT64_C(0x11223344556677ff) && right;
    }
    tap_ok(right, "nothing is at an idle port, in every width");
}

/* An interrupt gets through while the CPU does nothing but trap. */
static void test_interrupts(uint64_t khz)
{
    for (unsigned i = 0; i < 10; i++) {
        uint64_t start = cpu_tsc();
        unsigned before = rings;
        apic_timer_at(TIMER_VECTOR, start + khz / 4);
        cpu_interrupts_on();
        while (rings == before && cpu_tsc() < start + 1000 * khz)
            trap();
        cpu_interrupts_off();
    }
    tap_equal(rings, 10, "interrupts arrive between traps");
}

int main(void)
{
    uint64_t khz = boot_tsc_khz();

    trap_init();
    trap_handle(VECTOR_PAGE_FAULT, on_page_fault);
    trap_handle(VECTOR_DIVIDE, on_divide);
    trap_handle(VECTOR_OPCODE, on_opcode);
    trap_handle(VECTOR_BREAKPOINT, on_breakpoint);
    trap_handle(TIMER_VECTOR, on_timer);
    window_table = paging_window(WINDOW);

    test_arithmetic();
    test_page_faults();
    test_remapping();
    test_exceptions();
    test_changing_code();
    test_strings();
    test_flags();
    test_ports();
    if (khz == 0) {
        tap_skip("interrupts", "the TSC frequency is unknown");
        return tap_end();
    }
    apic_init();
    test_interrupts(khz);
    return tap_end();
}
