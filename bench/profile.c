/*
 * What sampling costs: a guest that computes, with a profile at 1 kHz and without.
 *
 * One sample is the time of the whole run until the guest says that it is done, with so much to do
 * that starting does not matter.
 */
#include "bench.h"

#define TRIES 2

struct side {
    struct bench_command command;
};

static enum bench_outcome sample_run(const void *context, double *sample,
                                     struct bench_result *result)
{
    const struct side *side = context;
    enum bench_outcome outcome = bench_best(&side->command, TRIES, BENCH_FIRST, sample, result);
    *sample /= 1e6;
    return outcome;
}

enum bench_outcome bench_profile_overhead(const struct bench_config *config,
                                          struct bench_result *result)
{
    static const char *const arguments[] = {"work", "50000", NULL}; /* some 0.4 s */
    struct side with, without;
    unsigned count = 0;

    bench_uhyve_command(&without.command, config, NULL, "hot-v2", arguments);
    without.command.argv[1] = "--accel=direct";
    with = without;
    while (with.command.argv[count])
        count++;
    for (unsigned i = count + 1; i > 1; i--)
        with.command.argv[i] = with.command.argv[i - 1];
    with.command.argv[1] = "--profile";
    return bench_compare(config->runs, sample_run, &with, &without, result);
}
