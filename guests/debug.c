/*
 * Something to look at with a debugger: compiled without optimization, so that each line and each
 * variable is where the source has it. The application argument says what:
 *
 *   (none)     locals, calls, and the variable WATCH that changes now and then; exit code 0 if
 *              everything was left as it is
 *   exit N     exit code N
 *   int3       a breakpoint instruction of its own, and a handler for it
 *   cpus       each CPU counts for itself, until the debugger sets `finish`
 *   both       all CPUs call the same function again and again, until `finish` is set
 *   vector     known values in the vector and x87 registers at the function vector_loaded
 *   sleep      waits for an interrupt that never comes
 *   crash      writes to unmapped memory
 */
#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/text.h"
#include "lib/trap.h"

#define VECTOR_BREAKPOINT 3
#define UNMAPPED          UINT64_C(0x123456789000)

/* Functions and variables that the debugger is told by name are visible and not inlined. */
#define NAMED __attribute__((noinline))

uint64_t WATCH = 1;
volatile bool finish;
volatile uint64_t counters[SMP_MAX_CPUS];
volatile uint64_t visits;
static unsigned traps;

int hardware_here(int argument);
int twice(int number);
void count_visit(uint32_t cpu);
void vector_loaded(void);

NAMED int twice(int number)
{
    int result = number * 2;
    return result;
}

NAMED int hardware_here(int argument)
{
    return argument + 1;
}

static int locals(void)
{
    int x = 5;
    x = twice(x);
    x = x + 1;
    print("x is %d\n", x);
    x = hardware_here(x);
    WATCH = 2;
    x = x + 1;
    WATCH = 3;
    uint64_t seen = WATCH;
    print("x is %d, WATCH was %lu\n", x, seen);
    return x == 13 && seen == 3 ? 0 : 1;
}

static void on_breakpoint(const struct trap_frame *frame)
{
    traps += frame->vector == VECTOR_BREAKPOINT;
}

static int own_breakpoint(void)
{
    trap_init();
    trap_handle(VECTOR_BREAKPOINT, on_breakpoint);
    __asm__ volatile("int3");
    __asm__ volatile("int3");
    print("%u breakpoints of my own\n", traps);
    return traps == 2 ? 0 : 1;
}

static void count_alone(uint32_t cpu)
{
    while (!finish)
        counters[cpu]++;
}

NAMED void count_visit(uint32_t cpu)
{
    __atomic_fetch_add(&visits, 1, __ATOMIC_RELAXED);
    counters[cpu]++;
}

static void visit(uint32_t cpu)
{
    while (!finish)
        count_visit(cpu);
}

NAMED void vector_loaded(void)
{
    __asm__ volatile("");
}

#ifdef __SSE__

#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_AVX   (1u << 28)
#define CR4_OSXSAVE       (UINT64_C(1) << 18)
#define XCR0_X87_SSE_AVX  7

static const uint64_t vector_values[4] = {1, 2, 3, 4};

static int vectors(void)
{
    const uint32_t wanted = CPUID_1_ECX_XSAVE | CPUID_1_ECX_AVX;
    uint64_t cr4, seen[2];

    __asm__ volatile("fninit; fld1; fldpi");
    if ((cpu_id(1, 0).ecx & wanted) == wanted) {
        __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
        __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE) : "memory");
        __asm__ volatile("xsetbv" : : "a"(XCR0_X87_SSE_AVX), "d"(0), "c"(0));
        __asm__ volatile("vmovdqu %0, %%ymm9" : : "m"(vector_values) : "xmm9");
    } else {
        __asm__ volatile("movdqu %0, %%xmm9" : : "m"(vector_values) : "xmm9");
    }
    vector_loaded();
    __asm__ volatile("movdqu %%xmm9, %0" : "=m"(seen));
    print("xmm9 is %lu %lu\n", seen[0], seen[1]);
    return 0;
}

#else

static int vectors(void)
{
    vector_loaded();
    return 0;
}

#endif

static __attribute__((noreturn)) void wait_for_nothing(void)
{
    print("sleeping\n");
    for (;;)
        cpu_wait_for_interrupt();
}

static int crash(void)
{
    *(volatile int *)UNMAPPED = 1;
    return 0;
}

static int all_cpus(void (*function)(uint32_t cpu))
{
    print("%u cpus\n", smp_cpu_count());
    smp_run(function);
    print("finished\n");
    return 0;
}

int main(void)
{
    args_load();
    const char *what = args_app(0);
    if (text_equal(what, "exit"))
        return (int)args_number(1, 0);
    if (text_equal(what, "int3"))
        return own_breakpoint();
    if (text_equal(what, "cpus"))
        return all_cpus(count_alone);
    if (text_equal(what, "both"))
        return all_cpus(visit);
    if (text_equal(what, "vector"))
        return vectors();
    if (text_equal(what, "sleep"))
        wait_for_nothing();
    if (text_equal(what, "crash"))
        return crash();
    return locals();
}
