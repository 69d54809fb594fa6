/* How long it takes until a guest runs, and until everything is over again. */
#include "bench.h"

#define US_PER_NS 1e-3
#define MS_PER_NS 1e-6

/* A run takes some 20 ms, but making a VM waits for other threads of the kernel, so that times
 * scatter: take so many times more samples. */
#define QUICK_RUNS 5

/* Process created until the first byte of output arrives, in microseconds. */
static enum bench_outcome sample_first(const void *context, double *sample,
                                       struct bench_result *result)
{
    const struct bench_command *command = context;
    struct process_run run;
    enum bench_outcome outcome = bench_run(command, &run, result);
    if (outcome == BENCH_DONE && run.first_ns == 0)
        return bench_fail(result, "%s gave no output", command->argv[0]);
    *sample = (double)run.first_ns * US_PER_NS;
    return outcome;
}

/* Process created until it has ended, in milliseconds. */
static enum bench_outcome sample_wall(const void *context, double *sample,
                                      struct bench_result *result)
{
    struct process_run run;
    enum bench_outcome outcome = bench_run(context, &run, result);
    *sample = (double)run.wall_ns * MS_PER_NS;
    return outcome;
}

static enum bench_outcome first_output(const struct bench_config *config, const char *cpus,
                                       bench_sampler *sampler, struct bench_result *result)
{
    struct bench_command ours, against;
    enum bench_outcome outcome = bench_needs_kvm(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    bench_uhyve_command(&ours, config, cpus, "bench-first-v2-gpr", NULL);
    bench_bare_command(&against, config, cpus, (const char *[]){"first", NULL});
    return bench_compare(QUICK_RUNS * config->runs, sampler, &ours, &against, result);
}

enum bench_outcome bench_startup(const struct bench_config *config, struct bench_result *result)
{
    return first_output(config, NULL, sample_first, result);
}

enum bench_outcome bench_startup_4cpu(const struct bench_config *config,
                                      struct bench_result *result)
{
    return first_output(config, "4", sample_first, result);
}

enum bench_outcome bench_exit_wall(const struct bench_config *config, struct bench_result *result)
{
    return first_output(config, NULL, sample_wall, result);
}

enum bench_outcome bench_boot_demo(const struct bench_config *config, struct bench_result *result)
{
    struct bench_command demo;
    enum bench_outcome outcome = bench_needs_kvm(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    bench_uhyve_command(&demo, config, NULL, "demo-v2-gpr", NULL);
    return bench_compare(config->runs, sample_wall, &demo, NULL, result);
}
