/*
 * The accelerator 'direct': what traps cost, and how fast guests compute, against the same code run
 * natively in the same run.
 *
 * The programs print how much they did and how many ticks of the time stamp counter it took. Guests
 * and programs of the host run on the same counter, so its frequency is measured once, here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define CALIBRATION_NS UINT64_C(20000000)
#define STATUS_LACKS   77 /* of bench-compute: the CPU lacks something */

#define TRAPS      "100000"
#define PATCHED    "1000000"
#define HYPERCALLS "20000"
#define FAULTS     "20480"

#define PATCHED_INSTRUCTIONS 3 /* in each round of the guest */
#define MB                   1e6
#define NS                   1e9
#define US                   1e6

/* A command whose output is "WORK TICKS", and what is made of it. */
struct work {
    struct bench_command command;
    double scale;
    bool speed; /* work per second / scale; else seconds for each piece of work * scale */
};

static double tick_frequency(void)
{
    static double frequency;
    if (frequency == 0) {
        uint64_t start_ns = process_clock(), start = __builtin_ia32_rdtsc(), now;
        while ((now = process_clock()) - start_ns < CALIBRATION_NS)
            ;
        frequency = (double)(__builtin_ia32_rdtsc() - start) / (double)(now - start_ns) * NS;
    }
    return frequency;
}

static enum bench_outcome sample_work(const void *context, double *sample,
                                      struct bench_result *result)
{
    const struct work *work = context;
    struct process_run run = {0};
    uint64_t done = 0, ticks = 0;
    enum bench_outcome outcome = bench_run(&work->command, &run, result);
    if (outcome != BENCH_DONE && run.status == STATUS_LACKS)
        return bench_skip(result, "the CPU lacks what this measures");
    if (outcome != BENCH_DONE)
        return outcome;
    if (sscanf(run.output, "%" SCNu64 " %" SCNu64, &done, &ticks) != 2 || !done || !ticks)
        return bench_fail(result, "%s printed no figures but '%s'", work->command.argv[0],
                          run.output);
    double seconds = (double)ticks / tick_frequency();
    *sample = work->speed ? (double)done / seconds / work->scale
                          : seconds / (double)done * work->scale;
    return BENCH_DONE;
}

/* Can guests run here without KVM? */
static enum bench_outcome needs_direct(const struct bench_config *config,
                                       struct bench_result *result)
{
    struct bench_command command;
    struct process_run run = {0};
    bench_direct_command(&command, config, NULL, "hello-v2", NULL);
    enum bench_outcome outcome = bench_run(&command, &run, result);
    if (outcome == BENCH_FAILED && run.status == 125)
        return bench_skip(result, "'direct' cannot be used: %s", run.errors);
    return outcome;
}

static void guest_work(struct work *work, const struct bench_config *config, const char *cpus,
                       const char *guest, const char *what, const char *count)
{
    const char *const arguments[] = {what, count, NULL};
    bench_direct_command(&work->command, config, cpus, guest, arguments);
}

static enum bench_outcome measure_cost(const struct bench_config *config, const char *what,
                                       const char *count, double scale, const struct work *against,
                                       struct bench_result *result)
{
    struct work ours = {.scale = scale};
    enum bench_outcome outcome = needs_direct(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    guest_work(&ours, config, NULL, "bench-cost-v2", what, count);
    return bench_compare(config->runs, sample_work, &ours, against, result);
}

enum bench_outcome bench_direct_trap(const struct bench_config *config, struct bench_result *result)
{
    const struct work against = {.command.argv = {config->native_trap, TRAPS, NULL}, .scale = NS};
    return measure_cost(config, "trap", TRAPS, NS, &against, result);
}

enum bench_outcome bench_direct_patched(const struct bench_config *config,
                                        struct bench_result *result)
{
    return measure_cost(config, "patched", PATCHED, NS / PATCHED_INSTRUCTIONS, NULL, result);
}

enum bench_outcome bench_direct_hypercall(const struct bench_config *config,
                                          struct bench_result *result)
{
    return measure_cost(config, "hypercall", HYPERCALLS, US, NULL, result);
}

enum bench_outcome bench_direct_page_fault(const struct bench_config *config,
                                           struct bench_result *result)
{
    return measure_cost(config, "fault", FAULTS, US, NULL, result);
}

static enum bench_outcome sample_wall_ms(const void *context, double *sample,
                                         struct bench_result *result)
{
    double ns = 0;
    enum bench_outcome outcome = bench_best(context, 1, BENCH_WALL, &ns, result);
    *sample = ns / 1e6;
    return outcome;
}

enum bench_outcome bench_direct_hello(const struct bench_config *config,
                                      struct bench_result *result)
{
    struct bench_command command;
    enum bench_outcome outcome = needs_direct(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    bench_direct_command(&command, config, NULL, "hello-v2", NULL);
    return bench_compare(config->runs, sample_wall_ms, &command, NULL, result);
}

enum bench_outcome bench_direct_image(const struct bench_config *config,
                                      struct bench_result *result)
{
    struct bench_command command;
    if (!config->images || !*config->images)
        return bench_skip(result, "no directory of real images was given (UHYVE_TEST_IMAGES)");
    enum bench_outcome outcome = needs_direct(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    bench_direct_command(&command, config, NULL, NULL, NULL);
    snprintf(command.image, sizeof(command.image), "%s/hello_world", config->images);
    return bench_compare(config->runs, sample_wall_ms, &command, NULL, result);
}

/* The same kernel in a guest and in another program, which has the arguments of the host's own. */
static enum bench_outcome compare_speed(const struct bench_config *config, const char *what,
                                        const struct work *against, struct bench_result *result)
{
    struct work ours = {.scale = MB, .speed = true};
    enum bench_outcome outcome = needs_direct(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    guest_work(&ours, config, NULL, "bench-compute-v2", what, NULL);
    return bench_compare(config->runs, sample_work, &ours, against, result);
}

static enum bench_outcome compare_native(const struct bench_config *config, const char *what,
                                         struct bench_result *result)
{
    const struct work native = {
        .command.argv = {config->native, what, NULL}, .scale = MB, .speed = true};
    return compare_speed(config, what, &native, result);
}

enum bench_outcome bench_direct_int(const struct bench_config *config, struct bench_result *result)
{
    return compare_native(config, "int", result);
}

enum bench_outcome bench_direct_sse2(const struct bench_config *config, struct bench_result *result)
{
    return compare_native(config, "sse2", result);
}

enum bench_outcome bench_direct_avx2(const struct bench_config *config, struct bench_result *result)
{
    return compare_native(config, "avx2", result);
}

enum bench_outcome bench_direct_avx512(const struct bench_config *config,
                                       struct bench_result *result)
{
    return compare_native(config, "avx512", result);
}

enum bench_outcome bench_direct_memory(const struct bench_config *config,
                                       struct bench_result *result)
{
    return compare_native(config, "memory", result);
}

/* The host's program under QEMU's emulator, where that is installed. */
static enum bench_outcome compare_tcg(const struct bench_config *config, const char *what,
                                      struct bench_result *result)
{
    struct work emulated = {
        .command.argv = {"qemu-x86_64", "-cpu", "max", config->native, what, NULL},
        .scale = MB,
        .speed = true};
    struct process_run run = {0};
    if (process_run((const char *const[]){"qemu-x86_64", "--version", NULL}, &run) != 0)
        return bench_skip(result, "qemu-x86_64 is not installed (package qemu-user)");
    struct bench_config fewer = *config;
    fewer.runs = (config->runs + 4) / 5; /* it is slow */
    return compare_speed(&fewer, what, &emulated, result);
}

enum bench_outcome bench_direct_tcg_int(const struct bench_config *config,
                                        struct bench_result *result)
{
    return compare_tcg(config, "int", result);
}

enum bench_outcome bench_direct_tcg_sse2(const struct bench_config *config,
                                         struct bench_result *result)
{
    return compare_tcg(config, "sse2", result);
}

enum bench_outcome bench_direct_smp2(const struct bench_config *config, struct bench_result *result)
{
    struct work two = {.scale = MB, .speed = true}, one = two;
    enum bench_outcome outcome = needs_direct(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    guest_work(&two, config, "2", "bench-compute-v2", "smp", NULL);
    guest_work(&one, config, "1", "bench-compute-v2", "smp", NULL);
    return bench_compare(config->runs, sample_work, &two, &one, result);
}

/* Two CPUs, or threads, that want the same lock. */
enum bench_outcome bench_direct_lock2(const struct bench_config *config,
                                      struct bench_result *result)
{
    const struct work native = {
        .command.argv = {config->native, "lock", "2", NULL}, .scale = MB, .speed = true};
    struct work ours = {.scale = MB, .speed = true};
    enum bench_outcome outcome = needs_direct(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    guest_work(&ours, config, "2", "bench-compute-v2", "lock", NULL);
    return bench_compare(config->runs, sample_work, &ours, &native, result);
}
