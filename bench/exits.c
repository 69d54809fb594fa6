/*
 * What it costs when the guest leaves guest mode and comes back.
 *
 * Both programs write a byte when their guest has made its round trips. One sample is the
 * difference of that time between a long run and a short run of the same program, divided by the
 * additional round trips: starting cancels out, and nothing has to be measured inside the program
 * under test. (The ends of the processes would not do: the kernel takes longer to tear down a young
 * VM than an old one.) The guest's loop around the instruction is the same three instructions in
 * both programs.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define CALIBRATION_TRIPS "2000"
#define LONG_RUN_NS       50e6 /* what a long run should take */
#define TRIES             3    /* a time is the best of so many runs */
#define LONG_TRIPS_MIN    1000
#define LONG_TRIPS_MAX    1000000
#define CALL_TRIPS        10000

struct trips {
    struct bench_command few, many;
    double additional; /* round trips of `many` beyond those of `few` */
};

static enum bench_outcome sample_trip(const void *context, double *sample,
                                      struct bench_result *result)
{
    const struct trips *trips = context;
    double few = 0, many = 0;
    enum bench_outcome outcome = bench_best(&trips->few, TRIES, BENCH_FIRST, &few, result);
    if (outcome == BENCH_DONE)
        outcome = bench_best(&trips->many, TRIES, BENCH_FIRST, &many, result);
    *sample = (many - few) / trips->additional;
    return outcome;
}

/* Choose how many round trips make a long run on this machine. */
static enum bench_outcome calibrate(const struct bench_config *config, const char *mode,
                                    uint64_t *trips, struct bench_result *result)
{
    struct bench_command command;
    struct process_run run;
    bench_bare_command(&command, config, NULL, (const char *[]){mode, CALIBRATION_TRIPS, NULL});
    enum bench_outcome outcome = bench_run(&command, &run, result);
    if (outcome != BENCH_DONE)
        return outcome;
    double trip_ns = strtod(run.output, NULL);
    if (!(trip_ns > 0))
        return bench_fail(result, "%s printed no time but '%s'", config->bare, run.output);
    double count = LONG_RUN_NS / trip_ns;
    *trips = count < LONG_TRIPS_MIN   ? LONG_TRIPS_MIN
             : count > LONG_TRIPS_MAX ? LONG_TRIPS_MAX
                                      : (uint64_t)count;
    return BENCH_DONE;
}

/* `mode` is what both programs take as the first argument; the second is the number. */
static enum bench_outcome round_trip(const struct bench_config *config, const char *mode,
                                     struct bench_result *result)
{
    struct trips ours, against;
    uint64_t count = 0;
    enum bench_outcome outcome = bench_needs_kvm(config, result);
    if (outcome == BENCH_DONE)
        outcome = calibrate(config, mode, &count, result);
    if (outcome != BENCH_DONE)
        return outcome;

    char number[32];
    snprintf(number, sizeof(number), "%" PRIu64, count);
    const char *const few[] = {mode, "1", NULL}, *const many[] = {mode, number, NULL};
    bench_uhyve_command(&ours.few, config, NULL, "bench-pio-v2-gpr", few);
    bench_uhyve_command(&ours.many, config, NULL, "bench-pio-v2-gpr", many);
    bench_bare_command(&against.few, config, NULL, few);
    bench_bare_command(&against.many, config, NULL, many);
    ours.additional = against.additional = (double)(count - 1);
    return bench_compare(config->runs, sample_trip, &ours, &against, result);
}

enum bench_outcome bench_pio_exit(const struct bench_config *config, struct bench_result *result)
{
    return round_trip(config, "out", result);
}

enum bench_outcome bench_pio_in(const struct bench_config *config, struct bench_result *result)
{
    return round_trip(config, "in", result);
}

/*
 * A hypercall that does next to nothing, with the trace compiled in but off, against a build
 * without it. Where there is no KVM, under the other accelerator.
 */
enum bench_outcome bench_trace_off(const struct bench_config *config, struct bench_result *result)
{
    struct bench_config plain = *config;
    struct trips ours = {.additional = CALL_TRIPS - 1}, against = ours;
    struct trips *sides[] = {&ours, &against};
    char number[32];

    if (!config->plain)
        return bench_skip(result, "no program without tracing was given (--plain)");
    plain.uhyve = config->plain;
    snprintf(number, sizeof(number), "%d", CALL_TRIPS);
    const char *const few[] = {"call", "1", NULL}, *const many[] = {"call", number, NULL};
    bool kvm = bench_needs_kvm(config, result) == BENCH_DONE;
    for (unsigned i = 0; i < 2; i++) {
        const struct bench_config *side = i ? &plain : config;
        bench_uhyve_command(&sides[i]->few, side, NULL, "bench-pio-v2-gpr", few);
        bench_uhyve_command(&sides[i]->many, side, NULL, "bench-pio-v2-gpr", many);
        if (!kvm)
            sides[i]->few.argv[1] = sides[i]->many.argv[1] = "--accel=direct";
    }
    return bench_compare(config->runs, sample_trip, &ours, &against, result);
}
