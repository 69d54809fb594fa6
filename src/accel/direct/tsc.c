#include <cpuid.h>
#include <time.h>

#include "accel/direct/direct.h"

#define LEAF_HYPERVISOR  0x40000000
#define LEAF_FREQUENCIES 0x40000010
#define MEASURE_NS       2000000
#define SAMPLES          8

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The pair read closest together of a few: the thread may be preempted between the two reads. */
struct tsc_sample tsc_sample_now(void)
{
    struct tsc_sample best = {0};
    uint64_t shortest = UINT64_MAX;

    for (unsigned i = 0; i < SAMPLES; i++) {
        uint64_t before = __builtin_ia32_rdtsc();
        uint64_t ns = now_ns();
        uint64_t took = __builtin_ia32_rdtsc() - before;
        if (took < shortest) {
            shortest = took;
            best = (struct tsc_sample){before + took / 2, ns};
        }
    }
    return best;
}

/* Some hypervisors and Intel processors tell; AMD processors do not. */
static uint32_t told_frequency(void)
{
    uint32_t a, b, c, d;

    __cpuid(1, a, b, c, d);
    if (c >> 31) {
        __cpuid(LEAF_HYPERVISOR, a, b, c, d);
        if (a >= LEAF_FREQUENCIES && a < LEAF_HYPERVISOR + 0x100) {
            __cpuid(LEAF_FREQUENCIES, a, b, c, d);
            if (a)
                return a;
        }
    }
    if (__get_cpuid(0x15, &a, &b, &c, &d) && a && b && c)
        return (uint32_t)((uint64_t)c * b / a / 1000);
    return 0;
}

uint32_t tsc_frequency(const struct tsc_sample *start)
{
    uint32_t told = told_frequency();
    if (told)
        return told;
    while (now_ns() - start->ns < MEASURE_NS)
        ;
    struct tsc_sample end = tsc_sample_now();
    return (uint32_t)((end.tsc - start->tsc) * 1000000 / (end.ns - start->ns));
}
