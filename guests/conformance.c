/*
 * The processor, as far as an accelerator that emulates parts of it could get it wrong: flags,
 * error codes of exceptions, stacks of handlers, exceptions in handlers. What is expected is what
 * the manuals say (Intel SDM volumes 2 and 3, AMD APM volume 2); the same guest under KVM shows
 * that they are understood. With the application argument "qemu" it leaves out what that emulates
 * in ways of its own.
 */
#include <stddef.h>

#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/paging.h"
#include "lib/tap.h"
#include "lib/text.h"
#include "lib/trap.h"

#define SELECTOR_CODE   0x08
#define SELECTOR_DATA   0x10
#define SELECTOR_TASK   0x18
#define SELECTOR_BEYOND 0x40

#define CF    UINT64_C(0x1)
#define FIXED UINT64_C(0x2)
#define PF    UINT64_C(0x4)
#define AF    UINT64_C(0x10)
#define ZF    UINT64_C(0x40)
#define SF    UINT64_C(0x80)
#define IF    UINT64_C(0x200)
#define DF    UINT64_C(0x400)
#define OF    UINT64_C(0x800)
#define NT    UINT64_C(0x4000)
#define RF    UINT64_C(0x10000)
#define VM    UINT64_C(0x20000)
#define AC    UINT64_C(0x40000)
#define ID    UINT64_C(0x200000)

#define ERROR_PRESENT  1
#define ERROR_WRITE    2
#define ERROR_RESERVED 8
#define ERROR_FETCH    16

#define GATE_PRESENT (UINT64_C(1) << 47)
#define GATE_IST     32 /* bits up */

#define NON_CANONICAL UINT64_C(0x8000000000000000)
#define TEST_AREA     UINT64_C(0x180000000) /* guest-virtual; nothing else is there */
#define PAGE_NX       (UINT64_C(1) << 63)

enum {
    VECTOR_DIVIDE = 0,
    VECTOR_BREAKPOINT = 3,
    VECTOR_UNDEFINED = 6,
    VECTOR_DOUBLE = 8,
    VECTOR_NOT_PRESENT = 11,
    VECTOR_STACK = 12,
    VECTOR_PROTECTION = 13,
    VECTOR_PAGE = 14,
    VECTOR_SOFTWARE = 40,
    VECTOR_ABSENT = 41,
};

/* The last exception, and where to go on after it. */
static volatile struct {
    unsigned count;
    uint64_t vector, error, rip, rsp, rflags, cr2;
    uint64_t frame; /* where the processor has put it */
} caught;
static volatile uint64_t resume_rip, resume_rsp;

static void on_exception(const struct trap_frame *frame)
{
    struct trap_frame *changed = (struct trap_frame *)(uintptr_t)frame;

    caught.count++;
    caught.vector = frame->vector;
    caught.error = frame->error_code;
    caught.rip = frame->rip;
    caught.rsp = frame->rsp;
    caught.rflags = frame->rflags;
    caught.cr2 = cpu_read_cr2();
    caught.frame = (uintptr_t)&frame->rip;
    if (resume_rip) {
        changed->rip = resume_rip;
        changed->rsp = resume_rsp;
    }
}

/* Execute something that may raise an exception. RAX is not for operands. */
#define TRY(instructions, ...)                                                                     \
    do {                                                                                           \
        caught.count = 0;                                                                          \
        __asm__ volatile("lea 99f(%%rip), %%rax\n\t"                                               \
                         "mov %%rax, %[rip]\n\t"                                                   \
                         "mov %%rsp, %[rsp]\n\t" instructions "\n"                                 \
                         "99:"                                                                     \
                         : [rip] "=m"(resume_rip), [rsp] "=m"(resume_rsp)                          \
                         : __VA_ARGS__                                                             \
                         : "rax", "rcx", "rdx", "rdi", "memory", "cc");                            \
        resume_rip = 0;                                                                            \
    } while (0)

#define NO_OPERAND [none] "i"(0)

static void expect(uint64_t vector, uint64_t error, const char *what)
{
    tap_ok(caught.count == 1 && caught.vector == vector && caught.error == error,
           "%s: exception %lu, error code %lx", what, caught.vector, caught.error);
}

/* Flags. */

static uint64_t through_popf(uint64_t flags)
{
    uint64_t result;
    __asm__ volatile("push %1\n\t"
                     "popfq\n\t"
                     "nop\n\tnop\n\tnop\n\tnop\n\t"
                     "pushfq\n\t"
                     "pop %0\n\t"
                     "push $2\n\t"
                     "popfq"
                     : "=&r"(result)
                     : "r"(flags)
                     : "memory", "cc");
    return result;
}

static uint64_t through_iret(uint64_t flags)
{
    uint64_t result;
    __asm__ volatile("mov %%rsp, %%rcx\n\t"
                     "push %[data]\n\t"
                     "push %%rcx\n\t"
                     "push %[flags]\n\t"
                     "push %[code]\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "iretq\n"
                     "1:\tpushfq\n\t"
                     "pop %[result]\n\t"
                     "push $2\n\t"
                     "popfq"
                     : [result] "=&r"(result)
                     : [flags] "r"(flags), [data] "i"(SELECTOR_DATA), [code] "i"(SELECTOR_CODE)
                     : "rax", "rcx", "memory", "cc");
    return result;
}

static void test_flags(void)
{
    static const uint64_t sets[] = {0, CF | PF | AF | ZF | SF | OF, DF, IF, AC, ID};
    for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        uint64_t flags = sets[i] | FIXED, popped = through_popf(flags);
        tap_ok(popped == flags, "popf of %lx gives %lx", flags, popped);
        if (flags & (AC | ID)) /* 'direct' does not keep them over an IRET */
            continue;
        popped = through_iret(flags);
        tap_ok(popped == flags, "iret to %lx gives %lx", flags, popped);
    }
    tap_equal((int64_t)through_popf(FIXED | NT), FIXED | NT, "popf sets NT");
    tap_equal((int64_t)through_popf(FIXED | RF | VM), FIXED, "popf leaves RF and VM");
    tap_equal((int64_t)through_iret(FIXED | RF), FIXED, "pushf does not show RF");
}

/* What a handler finds in its frame. */
static void test_frames(void)
{
    uint64_t first, rsp;
    __asm__ volatile("lea 1f(%%rip), %0\n\t"
                     "mov %%rsp, %1\n\t"
                     "stc\n\t"
                     "int3\n"
                     "1:"
                     : "=&r"(first), "=&r"(rsp)
                     :
                     : "memory", "cc");
    tap_ok(caught.vector == VECTOR_BREAKPOINT && caught.rip == first, "int3 points behind itself");
    tap_ok(caught.rsp == rsp && (caught.rflags & (CF | IF | RF)) == CF,
           "stack and flags are saved");
    tap_equal((int64_t)((caught.frame + 40) % 16), 0, "the frame is aligned");
    __asm__ volatile("lea 1f(%%rip), %0\n\t"
                     "int %[vector]\n"
                     "1:"
                     : "=&r"(first)
                     : [vector] "i"(VECTOR_SOFTWARE)
                     : "memory");
    tap_ok(caught.vector == VECTOR_SOFTWARE && caught.rip == first, "int n points behind itself");
    TRY("lea 98f(%%rip), %%rcx; mov %%rcx, %[first]; 98: ud2", [first] "m"(first));
    tap_ok(caught.vector == VECTOR_UNDEFINED && caught.rip == first && (caught.rflags & RF),
           "a fault points at its instruction, with RF");
}

/* Exceptions with and without error codes. */
static void test_exceptions(void)
{
    TRY("xor %%ecx, %%ecx; mov $1, %%eax; xor %%edx, %%edx; div %%ecx", NO_OPERAND);
    expect(VECTOR_DIVIDE, 0, "division by zero");
    TRY("mov (%[address]), %%rax", [address] "r"(NON_CANONICAL));
    expect(VECTOR_PROTECTION, 0, "an address that is not canonical");
    TRY("syscall", NO_OPERAND);
    expect(VECTOR_UNDEFINED, 0, "syscall while it is disabled");
    TRY("mov $0xdead, %%ecx; rdmsr", NO_OPERAND);
    expect(VECTOR_PROTECTION, 0, "an MSR that does not exist");
    TRY("mov %%cr4, %%rax; bts $31, %%rax; mov %%rax, %%cr4", NO_OPERAND);
    expect(VECTOR_PROTECTION, 0, "a reserved bit of CR4");
    TRY("mov %%cr0, %%rax; btr $0, %%rax; mov %%rax, %%cr0", NO_OPERAND);
    expect(VECTOR_PROTECTION, 0, "paging without protection");
    TRY("mov %[selector], %%eax; mov %%eax, %%ds", [selector] "i"(SELECTOR_BEYOND));
    expect(VECTOR_PROTECTION, SELECTOR_BEYOND, "a selector beyond the table");
    TRY("mov %[selector], %%eax; ltr %%ax", [selector] "i"(SELECTOR_DATA));
    expect(VECTOR_PROTECTION, SELECTOR_DATA, "a task register with data");
}

/* Page faults. */

static uint64_t *test_entry(unsigned index)
{
    uint64_t *table = paging_top();
    for (unsigned level = 3; level > 0; level--) {
        uint64_t *entry = &table[paging_index(TEST_AREA, level)];
        if ((*entry & PAGE_PRESENT) == 0)
            *entry = (uintptr_t)paging_new_table() | PAGE_PRESENT | PAGE_WRITABLE;
        table = paging_next(*entry);
    }
    return &table[index];
}

static void map_page(unsigned index, uint64_t flags)
{
    static uint8_t page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE))) = {0xc3}; /* ret */
    *test_entry(index) = flags ? (uintptr_t)page | flags : 0;
    cpu_invalidate_page(TEST_AREA + (uint64_t)index * PAGE_SIZE);
}

static void expect_page_fault(uint64_t address, uint64_t error, const char *what)
{
    tap_ok(caught.count == 1 && caught.vector == VECTOR_PAGE && caught.error == error &&
               caught.cr2 == address,
           "%s: exception %lu, error code %lx, at %lx", what, caught.vector, caught.error,
           caught.cr2);
}

static void expect_no_fault(const char *what)
{
    tap_ok(caught.count == 0, "%s: %u exceptions", what, caught.count);
}

#define READ(address)  TRY("mov (%[at]), %%rax", [at] "r"((uint64_t)(address)))
#define WRITE(address) TRY("movq $0xc3, (%[at])", [at] "r"((uint64_t)(address)))
#define CALL(address)  TRY("call *%[at]", [at] "r"((uint64_t)(address)))

static void test_write_protection(uint64_t page)
{
    uint64_t cr0;

    map_page(0, PAGE_PRESENT);
    READ(page);
    expect_no_fault("read of a page that may be read");
    WRITE(page);
    expect_no_fault("write to it without CR0.WP");
    __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0 | 0x10000) : "memory");
    WRITE(page + 16);
    expect_page_fault(page + 16, ERROR_PRESENT | ERROR_WRITE, "write to it with CR0.WP");
    __asm__ volatile("mov %0, %%cr0" : : "r"(cr0) : "memory");
    map_page(0, PAGE_PRESENT | PAGE_WRITABLE);
    tap_equal((int64_t)(*test_entry(0) & 0x60), 0, "neither accessed nor dirty");
    READ(page);
    tap_equal((int64_t)(*test_entry(0) & 0x60), PAGE_ACCESSED, "accessed");
    WRITE(page);
    tap_equal((int64_t)(*test_entry(0) & 0x60), PAGE_ACCESSED | PAGE_DIRTY, "dirty");
    WRITE(page + PAGE_SIZE - 4);
    expect_page_fault(page + PAGE_SIZE, ERROR_WRITE, "write that reaches into nothing");
}

static void test_page_faults(void)
{
    uint64_t page = TEST_AREA;

    READ(page);
    expect_page_fault(page, 0, "read of nothing");
    WRITE(page + 8);
    expect_page_fault(page + 8, ERROR_WRITE, "write to nothing");
    CALL(page);
    expect_page_fault(page, ERROR_FETCH, "call of nothing");
    test_write_protection(page);
    CALL(page);
    expect_no_fault("call of a page with code");
    map_page(0, PAGE_PRESENT | PAGE_WRITABLE | PAGE_NX);
    READ(page);
    expect_no_fault("read of a page without execute permission");
    CALL(page);
    expect_page_fault(page, ERROR_PRESENT | ERROR_FETCH, "call of it");
    *test_entry(0) = 0;
    cpu_invalidate_page(page);
    READ(page);
    expect_page_fault(page, 0, "read of what was unmapped");
    map_page(0, PAGE_PRESENT | PAGE_WRITABLE);
    TRY("mov $3, %%ecx; mov %[at], %%rdi; rep stosq", [at] "r"(page + PAGE_SIZE - 8));
    expect_page_fault(page + PAGE_SIZE, ERROR_WRITE, "a string that ends in nothing");
}

/* Stacks of handlers. */

struct task {
    uint32_t reserved;
    uint64_t rsp[3];
    uint64_t unused;
    uint64_t ist[7];
    uint64_t unused_too;
    uint32_t io_map;
} __attribute__((packed));

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static uint8_t other_stacks[2][4096] __attribute__((aligned(16)));
static struct task task;
static uint64_t descriptors[5] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};

static uint64_t *gate(unsigned vector)
{
    struct table_register idt;
    __asm__("sidt %0" : "=m"(idt));
    return (uint64_t *)(uintptr_t)idt.base + 2 * vector;
}

static void load_task(void)
{
    uint64_t base = (uintptr_t)&task;
    struct table_register gdt = {sizeof(descriptors) - 1, (uintptr_t)descriptors};

    task.ist[0] = (uintptr_t)other_stacks[0] + sizeof(other_stacks[0]);
    task.ist[1] = (uintptr_t)other_stacks[1] + sizeof(other_stacks[1]) - 3; /* not aligned */
    descriptors[3] = (sizeof(task) - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 |
                     (base >> 24 & 0xff) << 56;
    descriptors[4] = base >> 32;
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(gdt), "r"(SELECTOR_TASK) : "memory");
    *gate(VECTOR_STACK) |= UINT64_C(1) << GATE_IST;
    *gate(VECTOR_DOUBLE) |= UINT64_C(1) << GATE_IST;
    *gate(VECTOR_ABSENT) &= ~GATE_PRESENT;
}

static void test_stacks(void)
{
    tap_equal((int64_t)(descriptors[3] >> 40 & 0xff), 0x8b, "the task is busy");
    *gate(VECTOR_UNDEFINED) |= UINT64_C(2) << GATE_IST;
    TRY("ud2", NO_OPERAND);
    tap_equal((int64_t)(caught.frame - (uintptr_t)other_stacks[1]),
              sizeof(other_stacks[1]) - 16 - 40, "a handler has its own stack, aligned");
    tap_ok(caught.rsp == resume_rsp, "and tells the one of before");
    *gate(VECTOR_UNDEFINED) &= ~(UINT64_C(7) << GATE_IST);
}

/* Exceptions while others are delivered or handled. */

static void read_nothing(const struct trap_frame *frame)
{
    volatile uint64_t *nothing = (uint64_t *)(uintptr_t)TEST_AREA;
    (void)frame;
    (void)*nothing;
}

static void skip_read(const struct trap_frame *frame)
{
    on_exception(frame);
    map_page(0, PAGE_PRESENT | PAGE_WRITABLE);
}

static void test_nesting(void)
{
    map_page(0, 0);
    trap_handle(VECTOR_SOFTWARE, read_nothing);
    trap_handle(VECTOR_PAGE, skip_read);
    caught.count = 0;
    __asm__ volatile("int %0" : : "i"(VECTOR_SOFTWARE) : "memory");
    expect_page_fault(TEST_AREA, 0, "a page fault in a handler");
    trap_handle(VECTOR_PAGE, on_exception);
    map_page(0, 0);

    *gate(VECTOR_PAGE) &= ~GATE_PRESENT;
    READ(TEST_AREA);
    expect(VECTOR_DOUBLE, 0, "a page fault that cannot be delivered");
    *gate(VECTOR_PAGE) |= GATE_PRESENT;
    TRY("mov %[at], %%rsp; mov (%%rsp), %%rax", [at] "r"(TEST_AREA + 64));
    expect(VECTOR_DOUBLE, 0, "a page fault on a stack that is missing");
}

/* What the processor that QEMU emulates does in ways of its own. */
static void test_details(void)
{
    TRY("mov %[address], %%rsp; push %%rax", [address] "r"(NON_CANONICAL));
    expect(VECTOR_STACK, 0, "a stack that is not canonical");
    TRY("mov $0xc0000100, %%ecx; mov $0x80000000, %%edx; xor %%eax, %%eax; wrmsr", NO_OPERAND);
    expect(VECTOR_PROTECTION, 0, "a base that is not canonical");
    TRY("mov $0x10, %%eax; mov %%rax, %%cr8", NO_OPERAND);
    expect(VECTOR_PROTECTION, 0, "a reserved bit of CR8");
    TRY("int %[vector]", [vector] "i"(VECTOR_ABSENT));
    expect(VECTOR_NOT_PRESENT, VECTOR_ABSENT * 8 + 2, "a gate that is not present");
    TRY("int $200", NO_OPERAND);
    expect(VECTOR_PROTECTION, 200 * 8 + 2, "a gate beyond the table");
    *gate(VECTOR_UNDEFINED) &= ~GATE_PRESENT;
    TRY("ud2", NO_OPERAND);
    expect(VECTOR_NOT_PRESENT, VECTOR_UNDEFINED * 8 + 3, "an exception without a gate");
    *gate(VECTOR_UNDEFINED) |= GATE_PRESENT;
}

int main(void)
{
    args_load();
    trap_init();
    for (unsigned vector = 0; vector < TRAP_VECTORS; vector++)
        trap_handle(vector, on_exception);
    load_task();
    test_flags();
    test_frames();
    test_exceptions();
    test_page_faults();
    test_stacks();
    test_nesting();
    if (!text_equal(args_app(0), "qemu"))
        test_details();
    return tap_end();
}
