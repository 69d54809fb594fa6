/*
 * A guest that tries to get out of the process in which the accelerator 'direct' runs it. The first
 * application argument names the attempt:
 *
 *   syscall    SYSCALL in its own code, known when it was loaded
 *   built      SYSCALL in code that it writes itself
 *   int80      INT 80h in code that it writes itself
 *   open, write, kill, ptrace, clone, execve, socket, mprotect
 *              this system call, made with the engine's own SYSCALL instruction
 *   window     mmap over the engine's window, the same way
 *   signal     the kick signal to the VMM, the same way
 *   prot       an anonymous mapping that could be written to, the same way
 *   file       a mapping of another descriptor, the same way
 *
 * The first three must end in the guest's own exception handler (exit code 6 or 13, by exception),
 * the others must end the process. Exit code 0 means that an attempt succeeded.
 */
#include "lib/args.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

#define ENGINE_TEXT UINT64_C(0x7f0000001000) /* accel/direct/shared.h: DIRECT_ENGINE */
#define WINDOW      UINT64_C(0x7e0000000000)
#define TEXT_MAX    0x10000

#define UNDEFINED_OPCODE 6

/* System call numbers and constants of Linux on x86_64. */
enum {
    LINUX_WRITE = 1,
    LINUX_OPEN = 2,
    LINUX_MMAP = 9,
    LINUX_MPROTECT = 10,
    LINUX_SOCKET = 41,
    LINUX_CLONE = 56,
    LINUX_EXECVE = 59,
    LINUX_KILL = 62,
    LINUX_PTRACE = 101,
    LINUX_TGKILL = 234,
};

#define LINUX_SHARED_FIXED            0x11
#define LINUX_PRIVATE_ANONYMOUS_FIXED 0x32
#define LINUX_KICK_SIGNAL             40

struct call {
    const char *name;
    uint64_t number, a, b, c, d, e;
};

static const struct call calls[] = {
    {"open", LINUX_OPEN, 0, 0, 0, 0, 0},
    {"write", LINUX_WRITE, 1, 0, 0, 0, 0},
    {"kill", LINUX_KILL, 1, 0, 0, 0, 0},
    {"ptrace", LINUX_PTRACE, 0, 0, 0, 0, 0},
    {"clone", LINUX_CLONE, 0, 0, 0, 0, 0},
    {"execve", LINUX_EXECVE, 0, 0, 0, 0, 0},
    {"socket", LINUX_SOCKET, 1, 1, 0, 0, 0},
    {"mprotect", LINUX_MPROTECT, ENGINE_TEXT, 0x1000, 7, 0, 0},
    {"window", LINUX_MMAP, WINDOW, 0x1000, 7, LINUX_SHARED_FIXED, 0},
    {"signal", LINUX_TGKILL, 1, 1, LINUX_KICK_SIGNAL, 0, 0},
    {"prot", LINUX_MMAP, 0x10000000, 0x1000, 3, LINUX_PRIVATE_ANONYMOUS_FIXED, UINT64_MAX},
    {"file", LINUX_MMAP, 0x10000000, 0x1000, 3, LINUX_SHARED_FIXED, 99},
};

static struct {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed)) table;
static uint64_t gates[32][2] __attribute__((aligned(16)));

/* Both exceptions end the guest with their number. */
static void on_undefined(void)
{
    guest_exit(UNDEFINED_OPCODE);
}

static void on_other(void)
{
    guest_exit(13);
}

static void set_up_exceptions(void)
{
    for (unsigned i = 0; i < 32; i++) {
        uint64_t handler = (uint64_t)(uintptr_t)(i == UNDEFINED_OPCODE ? on_undefined : on_other);
        gates[i][0] = (handler & 0xffff) | UINT64_C(0x8e0000080000) | (handler & 0xffff0000) << 32;
        gates[i][1] = handler >> 32;
    }
    table.limit = sizeof gates - 1;
    table.base = (uint64_t)(uintptr_t)gates;
    __asm__ volatile("lidt %0" : : "m"(table));
}

/* Code of the guest's own making: two bytes and a return. */
static void run_built(uint8_t first, uint8_t second)
{
    static uint8_t page[4096] __attribute__((aligned(4096)));
    page[0] = first;
    page[1] = second;
    page[2] = 0xc3;
    __asm__ volatile("call *%0" : : "r"(page), "a"(LINUX_KILL) : "rcx", "r11", "memory");
}

/* Jump to a SYSCALL instruction of the engine; what comes after it does not matter. */
static void run_engine(const struct call *call)
{
    const volatile uint8_t *text = (const volatile uint8_t *)(uintptr_t)ENGINE_TEXT;
    uint64_t at = 0;

    while (at < TEXT_MAX && !(text[at] == 0x0f && text[at + 1] == 0x05))
        at++;
    register uint64_t r10 __asm__("r10") = call->d;
    register uint64_t r8 __asm__("r8") = call->e;
    register uint64_t r9 __asm__("r9") = 0;
    __asm__ volatile("call *%0"
                     :
                     : "r"(ENGINE_TEXT + at), "a"(call->number), "D"(call->a), "S"(call->b),
                       "d"(call->c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
}

int main(void)
{
    args_load();
    const char *attempt = args_app(0);

    set_up_exceptions();
    if (text_equal(attempt, "syscall"))
        __asm__ volatile("syscall" : : "a"(LINUX_KILL) : "rcx", "r11", "memory");
    else if (text_equal(attempt, "built"))
        run_built(0x0f, 0x05);
    else if (text_equal(attempt, "int80"))
        run_built(0xcd, 0x80);
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++)
        if (text_equal(attempt, calls[i].name))
            run_engine(&calls[i]);
    print("'%s' has succeeded\n", attempt);
    return 0;
}
