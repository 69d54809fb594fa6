/*
 * Crashes, in the way the application argument names. No descriptor table is loaded, so that every
 * exception ends in a triple fault:
 *
 *   ud2        undefined instruction
 *   pagefault  read of unmapped memory, at CRASH_ADDRESS
 *   gp         read of a non-canonical address
 *   nullcall   call of address 0
 *   fetch      jump to guest-physical memory where there is nothing
 *   triple     undefined instruction with an empty descriptor table
 *   stack      ud2 below crash_level_one, crash_level_two and crash_level_three
 *   divide     division by zero
 *   int3       breakpoint instruction
 *   nullread   read of address 0x10, where generation 2 has nothing
 *   write      write to unmapped memory, at CRASH_ADDRESS
 *   overflow   push with nothing mapped below the stack pointer
 *   data       jump into data that is no instruction
 *
 * And ends with code -1 after messages as Rust and the Hermit kernel print them:
 *
 *   panic      of the application, today's form, on standard error
 *   panic-old  the form before Rust 1.73
 *   panic-kernel  on the serial channel
 *   exception  a page fault that the kernel caught
 *
 * Anything else: exit code 2.
 */
#include "lib/args.h"
#include "lib/hypercall.h"
#include "lib/paging.h"
#include "lib/print.h"
#include "lib/text.h"

#define CRASH_ADDRESS         UINT64_C(0x123456789000)
#define NON_CANONICAL_ADDRESS UINT64_C(0x8000000000000000)
#define HOLE_ADDRESS          UINT64_C(0xe0000000) /* below 4 GiB, where no guest has RAM */

static void read_from(uint64_t address)
{
    uint64_t value;
    __asm__ volatile("mov (%1), %0" : "=r"(value) : "r"(address));
}

static void undefined_instruction(void)
{
    /* Naming the frame makes the compiler set one up, for the backtrace. */
    __asm__ volatile("ud2" : : "r"(__builtin_frame_address(0)));
}

/*
 * A call chain for the backtrace of the crash report. The names are visible in the symbol table,
 * and the empty statement after each call keeps it from becoming a jump.
 */
void crash_level_three(void);
void crash_level_two(void);
void crash_level_one(void);

__attribute__((noinline)) void crash_level_three(void)
{
    undefined_instruction();
}

__attribute__((noinline)) void crash_level_two(void)
{
    crash_level_three();
    __asm__ volatile("");
}

__attribute__((noinline)) void crash_level_one(void)
{
    crash_level_two();
    __asm__ volatile("");
}

static void page_fault(void)
{
    read_from(CRASH_ADDRESS);
}

static void general_protection(void)
{
    read_from(NON_CANONICAL_ADDRESS);
}

static void null_call(void)
{
    /* RAX = 0: should there be memory at address 0, its zero bytes are instructions that use it. */
    __asm__ volatile("xor %%eax, %%eax; call *%%rax" : : : "rax", "memory");
}

/* A KVM cannot even emulate an instruction that is not there. */
static void fetch_from_hole(void)
{
    volatile void *hole = paging_map(HOLE_ADDRESS);
    __asm__ volatile("jmp *%0" : : "r"(hole));
}

static void triple_fault(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) empty = {0, 0};
    __asm__ volatile("lidt %0; ud2" : : "m"(empty));
}

static void divide(void)
{
    __asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; div %%ecx" : : : "rax", "rcx", "rdx");
}

static void breakpoint(void)
{
    __asm__ volatile("int3");
}

static void null_read(void)
{
    read_from(0x10);
}

static void write_unmapped(void)
{
    __asm__ volatile("movq $1, (%0)" : : "r"(CRASH_ADDRESS));
}

static void overflow(void)
{
    __asm__ volatile("mov %0, %%rsp; push %%rax" : : "r"(CRASH_ADDRESS));
}

/* UD2's bytes would do, but these are no instruction at all in 64-bit mode. */
static const uint8_t crash_data[] = {0x06, 0x06, 0x06, 0x06};

static void jump_into_data(void)
{
    __asm__ volatile("jmp *%0" : : "r"(crash_data));
}

/*
 * What a panicking Rust program looks like: the names are those of the compiler, both manglings.
 */
static const char *panic_message;
static void (*panic_print)(const char *message);

_Noreturn void rust_begin_unwind(void);
_Noreturn void panic_fmt(void) __asm__("_ZN4core9panicking9panic_fmt17h0123456789abcdefE");
_Noreturn void trouble(void) __asm__("_ZN9crash_app7trouble17hfedcba9876543210E");
_Noreturn void trouble_v0(void) __asm__("_RNvNtCs1a2b3c_9crash_app4deep7trouble");

__attribute__((noinline)) _Noreturn void rust_begin_unwind(void)
{
    panic_print(panic_message);
    guest_exit(-1);
}

__attribute__((noinline)) _Noreturn void panic_fmt(void)
{
    rust_begin_unwind();
}

__attribute__((noinline)) _Noreturn void trouble(void)
{
    panic_fmt();
}

__attribute__((noinline)) _Noreturn void trouble_v0(void)
{
    panic_fmt();
}

static void print_error(const char *message)
{
    size_t size = 0;
    while (message[size] != '\0')
        size++;
    file_write(2, message, size);
}

static void print_kernel(const char *message)
{
    print_serial("%s", message);
}

static void panic(void)
{
    panic_message =
        "\nthread 'main' panicked at src/main.rs:6:5:\nindex out of bounds\nnote: run with "
        "`RUST_BACKTRACE=1` environment variable to display a backtrace\n";
    panic_print = print_error;
    trouble();
}

static void panic_old(void)
{
    panic_message = "thread 'main' panicked at 'it's over', src/old.rs:12:34\n";
    panic_print = print_error;
    trouble();
}

static void panic_kernel(void)
{
    panic_message = "[0][PANIC] panicked at src/mm/mod.rs:70:9:\nout of memory\n\n";
    panic_print = print_kernel;
    trouble_v0();
}

static void exception(void)
{
    uint64_t stack[] = {0};
    print_serial("[0][ERROR] Page fault (#PF)!\n"
                 "[0][ERROR] page_fault_linear_address = 0x%lx\n"
                 "[0][ERROR] error_code = PageFaultErrorCode(0x0)\n"
                 "[0][ERROR] stack_frame = ExceptionStackFrame {\n"
                 "    instruction_pointer: VirtAddr(\n        0x%lx,\n    ),\n"
                 "    code_segment: 8,\n"
                 "    stack_pointer: VirtAddr(\n        0x%lx,\n    ),\n}\n",
                 CRASH_ADDRESS, (uint64_t)(uintptr_t)crash_level_two, (uint64_t)(uintptr_t)stack);
    guest_exit(-1);
}

static const struct {
    const char *name;
    void (*crash)(void);
} ways[] = {
    {"ud2", undefined_instruction}, {"pagefault", page_fault},  {"gp", general_protection},
    {"nullcall", null_call},        {"fetch", fetch_from_hole}, {"triple", triple_fault},
    {"stack", crash_level_one},     {"divide", divide},         {"int3", breakpoint},
    {"nullread", null_read},        {"write", write_unmapped},  {"overflow", overflow},
    {"data", jump_into_data},       {"panic", panic},           {"panic-old", panic_old},
    {"panic-kernel", panic_kernel}, {"exception", exception},
};

int main(void)
{
    args_load();
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (text_equal(args_app(0), ways[i].name)) {
            print("crashing: %s\n", ways[i].name);
            ways[i].crash();
        }
    }
    return 2;
}
