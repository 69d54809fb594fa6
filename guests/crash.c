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
 *
 * Anything else: exit code 2.
 */
#include "lib/args.h"
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

static const struct {
    const char *name;
    void (*crash)(void);
} ways[] = {
    {"ud2", undefined_instruction}, {"pagefault", page_fault},  {"gp", general_protection},
    {"nullcall", null_call},        {"fetch", fetch_from_hole}, {"triple", triple_fault},
    {"stack", crash_level_one},
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
