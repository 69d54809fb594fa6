/*
 * Floating-point and vector registers: every CPU fills its registers with values of its own, makes
 * hypercalls, and finds them unchanged; and it computes with doubles. With AVX, where the CPU has
 * it, after switching it on as a kernel does (XSETBV). In builds for general registers only there
 * is nothing to test.
 */
#include "lib/args.h"
#include "lib/build.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/smp.h"
#include "lib/tap.h"
#include "lib/text.h"

#ifndef __SSE__

int main(void)
{
    tap_skip("vector registers", "this build does not use them");
    return tap_end();
}

#else

#define REGISTERS    16
#define CALLS        50
#define SERIES_TERMS 20000
#define BAD_FD       77

#define CPUID_1_ECX_XSAVE (1u << 26)
#define CPUID_1_ECX_AVX   (1u << 28)
#define CR4_OSXSAVE       (UINT64_C(1) << 18)
#define XCR0_X87_SSE_AVX  7

/* Contents of all vector registers; only the first 16 bytes of each without AVX. */
struct vectors {
    uint64_t words[REGISTERS][4];
};

static bool has_avx;

static struct {
    bool kept; /* registers and hypercall results were right */
    double pi;
} results[SMP_MAX_CPUS];

/* Per CPU: the register that says so is part of the CPU. */
static void enable_avx(void)
{
    uint64_t cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE) : "memory");
    __asm__ volatile("xsetbv" : : "a"(XCR0_X87_SSE_AVX), "d"(0), "c"(0));
}

/* One instruction stream that nothing else gets into: load, call, store. */
#define FOR_ALL_REGISTERS(instruction)                                                             \
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n" instruction "\n.endr\n"
#define CLOBBERS                                                                                   \
    "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",      \
        "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

static void call_with_sse(uint16_t port, void *block, const struct vectors *from,
                          struct vectors *to)
{
    __asm__ volatile(
        FOR_ALL_REGISTERS("movdqu \\n*32(%[from]), %%xmm\\n") "outl %%eax, %%dx\n" FOR_ALL_REGISTERS(
            "movdqu %%xmm\\n, \\n*32(%[to])")
        :
        : "a"(block), "D"(block), "d"(port), [from] "r"(from), [to] "r"(to)
        : CLOBBERS);
}

static void call_with_avx(uint16_t port, void *block, const struct vectors *from,
                          struct vectors *to)
{
    __asm__ volatile(
        FOR_ALL_REGISTERS("vmovdqu \\n*32(%[from]), %%ymm\\n") "outl %%eax, %%dx\n" FOR_ALL_REGISTERS(
            "vmovdqu %%ymm\\n, \\n*32(%[to])") "vzeroupper"
        :
        : "a"(block), "D"(block), "d"(port), [from] "r"(from), [to] "r"(to)
        : CLOBBERS);
}

static bool registers_survive_calls(uint32_t cpu)
{
    static struct vectors sent[SMP_MAX_CPUS], received[SMP_MAX_CPUS];
    uint16_t port = guest_interface == 1 ? HERMIT_V1_FILE_CLOSE : HERMIT_V2_FILE_CLOSE;
    unsigned words = has_avx ? 4 : 2;
    for (unsigned call = 0; call < CALLS; call++) {
        for (unsigned i = 0; i < REGISTERS; i++)
            for (unsigned j = 0; j < words; j++)
                sent[cpu].words[i][j] = (cpu + 1) * UINT64_C(0x9e3779b97f4a7c15) + call * 64 +
                                        i * 4 + j;
        struct hermit_close block = {.fd = BAD_FD};
        (has_avx ? call_with_avx : call_with_sse)(port, &block, &sent[cpu], &received[cpu]);
        if (block.ret != -GUEST_EBADF || memcmp(&sent[cpu], &received[cpu], sizeof(sent[cpu])) != 0)
            return false;
    }
    return true;
}

/* The alternating series for pi, with a last term taken half: precise to 1e-8 at this length. */
static double compute_pi(void)
{
    double sum = 0, sign = 4;
    for (unsigned i = 0; i < SERIES_TERMS; i++, sign = -sign)
        sum += sign / (2 * i + 1);
    return sum + sign / (2 * SERIES_TERMS + 1) / 2;
}

static void test_cpu(uint32_t cpu)
{
    if (has_avx)
        enable_avx();
    results[cpu].kept = registers_survive_calls(cpu);
    results[cpu].pi = compute_pi();
}

int main(void)
{
    uint32_t features = cpu_id(1, 0).ecx;
    args_load();
    has_avx = (features & CPUID_1_ECX_XSAVE) != 0 && (features & CPUID_1_ECX_AVX) != 0 &&
              !text_equal(args_app(0), "sse");
    smp_run(test_cpu);
    for (uint32_t cpu = 0; cpu < smp_cpu_count(); cpu++) {
        tap_ok(results[cpu].kept, "cpu %u keeps its %s registers", cpu, has_avx ? "AVX" : "SSE");
        double error = results[cpu].pi - 3.14159265358979;
        tap_ok(error > -1e-8 && error < 1e-8, "cpu %u computes pi", cpu);
    }
    return tap_end();
}

#endif
