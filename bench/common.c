/* The parts of bench.h that all families use. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define STATUS_NO_KVM 77 /* of bare_kvm */

static void set_reason(struct bench_result *result, const char *format, va_list args)
{
    vsnprintf(result->reason, sizeof(result->reason), format, args);
}

enum bench_outcome bench_skip(struct bench_result *result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_reason(result, format, args);
    va_end(args);
    return BENCH_SKIPPED;
}

enum bench_outcome bench_fail(struct bench_result *result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_reason(result, format, args);
    va_end(args);
    return BENCH_FAILED;
}

/* Append to a command line; `count` is the number of arguments so far. */
static void add(struct bench_command *command, unsigned *count, const char *argument)
{
    if (*count + 1 < BENCH_ARGS_MAX)
        command->argv[(*count)++] = argument;
    command->argv[*count] = NULL;
}

static void add_all(struct bench_command *command, unsigned *count, const char *const *arguments)
{
    while (*arguments)
        add(command, count, *arguments++);
}

static void uhyve_command(struct bench_command *command, const struct bench_config *config,
                          const char *accel, const char *cpus, const char *guest,
                          const char *const *arguments)
{
    unsigned count = 0;
    snprintf(command->image, sizeof(command->image), "%s/%s", config->guests, guest ? guest : "");
    add(command, &count, config->uhyve);
    add(command, &count, accel);
    add(command, &count, "-m");
    add(command, &count, BENCH_MEMORY_UHYVE);
    if (cpus) {
        add(command, &count, "-c");
        add(command, &count, cpus);
    }
    add(command, &count, command->image);
    if (arguments) {
        add(command, &count, "--");
        add(command, &count, "--");
        add_all(command, &count, arguments);
    }
}

void bench_uhyve_command(struct bench_command *command, const struct bench_config *config,
                         const char *cpus, const char *guest, const char *const *arguments)
{
    uhyve_command(command, config, "--accel=kvm", cpus, guest, arguments);
}

void bench_direct_command(struct bench_command *command, const struct bench_config *config,
                          const char *cpus, const char *guest, const char *const *arguments)
{
    uhyve_command(command, config, "--accel=direct", cpus, guest, arguments);
}

void bench_bare_command(struct bench_command *command, const struct bench_config *config,
                        const char *cpus, const char *const *arguments)
{
    unsigned count = 0;
    add(command, &count, config->bare);
    add(command, &count, "-m");
    add(command, &count, BENCH_MEMORY_BARE);
    if (cpus) {
        add(command, &count, "-c");
        add(command, &count, cpus);
    }
    add_all(command, &count, arguments);
}

enum bench_outcome bench_run(const struct bench_command *command, struct process_run *run,
                             struct bench_result *result)
{
    int failed = process_run(command->argv, run);
    if (failed)
        return bench_fail(result, "cannot run %s: %s", command->argv[0], strerror(-failed));
    if (run->status != 0)
        return bench_fail(result, "%s ended with status %d: %s", command->argv[0], run->status,
                          run->errors[0] ? run->errors : "it gave no reason");
    return BENCH_DONE;
}

enum bench_outcome bench_best(const struct bench_command *command, unsigned tries,
                              enum bench_time what, double *ns, struct bench_result *result)
{
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; i < tries; i++) {
        struct process_run run;
        enum bench_outcome outcome = bench_run(command, &run, result);
        if (outcome != BENCH_DONE)
            return outcome;
        uint64_t time = what == BENCH_FIRST ? run.first_ns : run.wall_ns;
        if (time == 0)
            return bench_fail(result, "%s gave no output", command->argv[0]);
        best = time < best ? time : best;
    }
    *ns = (double)best;
    return BENCH_DONE;
}

enum bench_outcome bench_needs_kvm(const struct bench_config *config, struct bench_result *result)
{
    struct bench_command command;
    struct process_run run = {0};
    bench_bare_command(&command, config, NULL, (const char *[]){"first", NULL});
    enum bench_outcome outcome = bench_run(&command, &run, result);
    if (outcome == BENCH_FAILED && run.status == STATUS_NO_KVM)
        return bench_skip(result, "KVM cannot be used: %s", run.errors);
    return outcome;
}

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The value below which `fraction` of the sorted samples lie, interpolated. */
static double quantile(const double *sorted, unsigned count, double fraction)
{
    double position = fraction * (count - 1);
    unsigned below = (unsigned)position;
    unsigned above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (position - below) * (sorted[above] - sorted[below]);
}

enum bench_outcome bench_compare(unsigned runs, bench_sampler *sampler, const void *ours,
                                 const void *against, struct bench_result *result)
{
    const void *sides[] = {ours, against};
    unsigned side_count = against ? 2 : 1;
    double *samples[2] = {calloc(runs, sizeof(double)), calloc(runs, sizeof(double))};
    enum bench_outcome outcome = BENCH_DONE;

    if (!samples[0] || !samples[1])
        outcome = bench_fail(result, "out of memory");
    for (unsigned run = 0; run <= runs && outcome == BENCH_DONE; run++) {
        for (unsigned side = 0; side < side_count && outcome == BENCH_DONE; side++) {
            double sample;
            outcome = sampler(sides[side], &sample, result);
            if (outcome == BENCH_DONE && run > 0)
                samples[side][run - 1] = sample;
        }
    }
    if (outcome == BENCH_DONE) {
        for (unsigned side = 0; side < side_count; side++)
            qsort(samples[side], runs, sizeof(double), compare_doubles);
        result->value = quantile(samples[0], runs, 0.5);
        result->spread = (quantile(samples[0], runs, 0.75) - quantile(samples[0], runs, 0.25)) / 2;
        result->against = against ? quantile(samples[1], runs, 0.5) : 0;
    }
    free(samples[0]);
    free(samples[1]);
    return outcome;
}
