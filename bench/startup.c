/* How long it takes until a guest runs, and until everything is over again. */
#include "bench.h"

#define US_PER_NS 1e-3
#define MS_PER_NS 1e-6

/* A sample is the best of so many runs of some 20 ms: making a VM waits for other threads of the
 * kernel, so that single times scatter on a busy machine. */
#define TRIES 5

/* The demo computes for half a second, which varies little: take so many times less samples. */
#define DEMO_RUNS_DIVISOR 3

/* Process created until the first byte of output arrives, in microseconds. */
static enum bench_outcome sample_first(const void *context, double *sample,
                                       struct bench_result *result)
{
    double ns = 0;
    enum bench_outcome outcome = bench_best(context, TRIES, BENCH_FIRST, &ns, result);
    *sample = ns * US_PER_NS;
    return outcome;
}

/* Process created until it has ended, in milliseconds. */
static enum bench_outcome sample_wall(const void *context, double *sample,
                                      struct bench_result *result)
{
    double ns = 0;
    enum bench_outcome outcome = bench_best(context, TRIES, BENCH_WALL, &ns, result);
    *sample = ns * MS_PER_NS;
    return outcome;
}

static enum bench_outcome sample_one_wall(const void *context, double *sample,
                                          struct bench_result *result)
{
    double ns = 0;
    enum bench_outcome outcome = bench_best(context, 1, BENCH_WALL, &ns, result);
    *sample = ns * MS_PER_NS;
    return outcome;
}

/* Both programs run a guest that shows one byte and ends. */
static enum bench_outcome compare_first(const struct bench_config *config, const char *cpus,
                                        bench_sampler *sampler, struct bench_result *result)
{
    struct bench_command ours, against;
    enum bench_outcome outcome = bench_needs_kvm(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    bench_uhyve_command(&ours, config, cpus, "bench-first-v2-gpr", NULL);
    bench_bare_command(&against, config, cpus, (const char *[]){"first", NULL});
    return bench_compare(config->runs, sampler, &ours, &against, result);
}

enum bench_outcome bench_startup(const struct bench_config *config, struct bench_result *result)
{
    return compare_first(config, NULL, sample_first, result);
}

enum bench_outcome bench_startup_4cpu(const struct bench_config *config,
                                      struct bench_result *result)
{
    return compare_first(config, "4", sample_first, result);
}

enum bench_outcome bench_exit_wall(const struct bench_config *config, struct bench_result *result)
{
    return compare_first(config, NULL, sample_wall, result);
}

enum bench_outcome bench_boot_demo(const struct bench_config *config, struct bench_result *result)
{
    struct bench_command demo;
    enum bench_outcome outcome = bench_needs_kvm(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    bench_uhyve_command(&demo, config, NULL, "demo-v2-gpr", NULL);
    unsigned runs = (config->runs + DEMO_RUNS_DIVISOR - 1) / DEMO_RUNS_DIVISOR;
    return bench_compare(runs, sample_one_wall, &demo, NULL, result);
}
