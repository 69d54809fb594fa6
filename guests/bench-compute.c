/*
 * Computes, and prints how much and in how many ticks of the time stamp counter: "WORK TICKS". This
 * source is also compiled as a program of the host (bench/native.c), which does the same natively.
 *
 * Application argument: "int", "sse2", "avx2", "avx512" (WORK: operations), "memory" (bytes), "smp"
 * ("int" on all CPUs at once), or "lock" (all CPUs take the same lock; WORK: how often). Exit code
 * 0, 77 if the CPU lacks what is asked for, 1 for a wrong argument or result.
 */
#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/text.h"
#include "lib/vector.h"

#define LACKS 77

#define INT_ROUNDS    12000000
#define INT_OPS       8 /* of one round */
#define VECTOR_ROUNDS 8000000
#define ACCUMULATORS  8
#define BLOCK_SIZE    (16u << 20)
#define COPIES        8
#define LOCK_ROUNDS   1000000

/* A hash with multiplications, rotations and a branch that nobody can predict well. */
static uint64_t compute_int(uint64_t seed)
{
    uint64_t hash = seed;
    for (unsigned i = 0; i < INT_ROUNDS; i++) {
        hash ^= i;
        hash *= UINT64_C(0x9e3779b97f4a7c15);
        hash = hash << 31 | hash >> 33;
        if (hash & 4)
            hash += seed;
        hash -= hash >> 7;
    }
    return hash;
}

#ifdef __SSE__

/* Multiply and add on independent accumulators. The values stay near 1. */
#define DEFINE_VECTOR_KERNEL(name, bytes, features)                                                \
    typedef float vector_##name __attribute__((vector_size(bytes)));                               \
    __attribute__((target(features))) static float compute_##name(void)                            \
    {                                                                                              \
        vector_##name sum[ACCUMULATORS], factor, term;                                             \
        for (unsigned i = 0; i < bytes / sizeof(float); i++) {                                     \
            factor[i] = 0.5f;                                                                      \
            term[i] = 0.5f;                                                                        \
            for (unsigned k = 0; k < ACCUMULATORS; k++)                                            \
                sum[k][i] = (float)(i + k);                                                        \
        }                                                                                          \
        for (unsigned round = 0; round < VECTOR_ROUNDS; round++) {                                 \
            for (unsigned k = 0; k < ACCUMULATORS; k++) {                                          \
                sum[k] = sum[k] * factor + term;                                                   \
                __asm__("" : "+x"(sum[k]));                                                        \
            }                                                                                      \
        }                                                                                          \
        float result = 0;                                                                          \
        for (unsigned k = 0; k < ACCUMULATORS; k++)                                                \
            for (unsigned i = 0; i < bytes / sizeof(float); i++)                                   \
                result += sum[k][i];                                                               \
        return result / (ACCUMULATORS * bytes / sizeof(float));                                    \
    }

DEFINE_VECTOR_KERNEL(sse2, 16, "sse2")
DEFINE_VECTOR_KERNEL(avx2, 32, "avx2,fma")
DEFINE_VECTOR_KERNEL(avx512, 64, "avx512f")

/* Operations of a vector of so many floats; 0 if the result is wrong. */
static uint64_t run_vector(enum vector_level level)
{
    float result = level == VECTOR_SSE2   ? compute_sse2()
                   : level == VECTOR_AVX2 ? compute_avx2()
                                          : compute_avx512();
    uint64_t floats = level == VECTOR_SSE2 ? 4 : level == VECTOR_AVX2 ? 8 : 16;
    return result > 0.99f && result < 1.01f ? 2 * floats * ACCUMULATORS * VECTOR_ROUNDS : 0;
}

#else

static uint64_t run_vector(enum vector_level level)
{
    (void)level;
    return 0;
}

#endif

/* Copies between two blocks that no cache holds together: bytes read and written. */
static uint64_t run_memory(void)
{
    static uint8_t blocks[2][BLOCK_SIZE] __attribute__((aligned(4096)));
    for (unsigned i = 0; i < COPIES; i++) {
        const void *from = blocks[i % 2];
        void *to = blocks[1 - i % 2];
        uint64_t count = BLOCK_SIZE;
        __asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    }
    return 2 * (uint64_t)BLOCK_SIZE * COPIES;
}

static volatile uint64_t hashes[SMP_MAX_CPUS]; /* or nothing would be computed */

static void compute_on_cpu(uint32_t cpu)
{
    hashes[cpu] = compute_int(cpu + 1);
}

static void do_nothing(uint32_t cpu)
{
    (void)cpu;
}

static uint64_t run_int(void)
{
    compute_on_cpu(0);
    return (uint64_t)INT_ROUNDS * INT_OPS;
}

static uint64_t run_smp(void)
{
    smp_run(compute_on_cpu);
    return (uint64_t)INT_ROUNDS * INT_OPS * smp_cpu_count();
}

static struct spinlock contended;
static volatile uint64_t taken; /* under the lock */

static void take_on_cpu(uint32_t cpu)
{
    (void)cpu;
    for (unsigned i = 0; i < LOCK_ROUNDS; i++) {
        spinlock_take(&contended);
        taken = taken + 1;
        spinlock_release(&contended);
    }
}

/* 0 if the lock has not kept CPUs apart. */
static uint64_t run_lock(void)
{
    uint64_t rounds = (uint64_t)LOCK_ROUNDS * smp_cpu_count();
    smp_run(take_on_cpu);
    return taken == rounds ? rounds : 0;
}

static int report(uint64_t work, uint64_t ticks)
{
    print("%lu %lu\n", work, ticks);
    return work ? 0 : 1;
}

int main(void)
{
    static const struct {
        const char *name;
        enum vector_level level;
    } vectors[] = {{"sse2", VECTOR_SSE2}, {"avx2", VECTOR_AVX2}, {"avx512", VECTOR_AVX512}};
    uint64_t start, work = 0;

    args_load();
    const char *mode = args_app(0);
    for (unsigned i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        if (!text_equal(mode, vectors[i].name))
            continue;
        if (!vector_enable(vectors[i].level))
            return LACKS;
        start = cpu_tsc();
        work = run_vector(vectors[i].level);
        return report(work, cpu_tsc() - start);
    }
    if (text_equal(mode, "memory"))
        run_memory(); /* every page has been touched */
    if (text_equal(mode, "smp") || text_equal(mode, "lock"))
        smp_run(do_nothing); /* every CPU is there */
    start = cpu_tsc();
    if (text_equal(mode, "int"))
        work = run_int();
    else if (text_equal(mode, "memory"))
        work = run_memory();
    else if (text_equal(mode, "smp"))
        work = run_smp();
    else if (text_equal(mode, "lock"))
        work = run_lock();
    return report(work, cpu_tsc() - start);
}
