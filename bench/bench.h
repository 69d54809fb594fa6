/*
 * What the benchmark families share: the settings, one row's result, and the way two programs are
 * compared.
 *
 * A new benchmark is one function in the file of its family, its declaration below and one row in
 * the table of bench.c.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "process.h"

/* Guest memory in every benchmark, and as the programs under test want to hear it. */
#define BENCH_MEMORY_MIB   512
#define BENCH_MEMORY_UHYVE "512M"
#define BENCH_MEMORY_BARE  "512"

#define BENCH_ARGS_MAX 24

struct bench_config {
    const char *uhyve;  /* the program under test */
    const char *bare;   /* bare_kvm */
    const char *plain;  /* uhyve built without the call trace; NULL: not there */
    const char *native; /* bench-compute as a program of the host */
    const char *native_trap;
    const char *guests; /* directory of the guest images */
    const char *images; /* directory of real images, or NULL */
    unsigned runs;      /* measured runs behind each figure */
};

enum bench_outcome {
    BENCH_DONE,
    BENCH_SKIPPED, /* this machine lacks something: `reason` says what */
    BENCH_FAILED,  /* something that should work does not: `reason` says what */
};

struct bench_result {
    double value;
    double spread;  /* half the interquartile range of `value`, same unit */
    double against; /* the same figure of what it is compared with; 0 if nothing */
    char reason[512];
};

typedef enum bench_outcome bench_function(const struct bench_config *config,
                                          struct bench_result *result);

bench_function bench_startup, bench_startup_4cpu, bench_exit_wall, bench_boot_demo;
bench_function bench_pio_exit, bench_pio_in, bench_trace_off;
bench_function bench_profile_overhead;
bench_function bench_vmm_memory, bench_binary;
bench_function bench_net_tap_throughput, bench_net_tap_latency;
bench_function bench_net_user_throughput, bench_net_user_latency;
bench_function bench_net_tap_requests, bench_net_user_requests;
bench_function bench_file_read, bench_file_write;
bench_function bench_direct_trap, bench_direct_patched, bench_direct_hypercall;
bench_function bench_direct_page_fault, bench_direct_hello, bench_direct_image;
bench_function bench_direct_int, bench_direct_sse2, bench_direct_avx2, bench_direct_avx512;
bench_function bench_direct_memory, bench_direct_smp2, bench_direct_lock2;
bench_function bench_direct_tcg_int, bench_direct_tcg_sse2;

/* Set the reason and return the outcome. */
enum bench_outcome bench_skip(struct bench_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum bench_outcome bench_fail(struct bench_result *result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* BENCH_DONE if KVM can run the bare program here, else BENCH_SKIPPED or BENCH_FAILED. */
enum bench_outcome bench_needs_kvm(const struct bench_config *config, struct bench_result *result);

/* A command line; argv ends with NULL. */
struct bench_command {
    const char *argv[BENCH_ARGS_MAX];
    char image[4096]; /* storage for the path of the guest */
};

/*
 * uhyve on KVM with BENCH_MEMORY_MIB running a guest. `cpus` may be NULL for one CPU. `arguments`
 * ends with NULL and goes to the guest as application arguments; it may be NULL.
 */
void bench_uhyve_command(struct bench_command *command, const struct bench_config *config,
                         const char *cpus, const char *guest, const char *const *arguments);

/* The same on 'direct'. Without `guest` the image's path is up to the caller. */
void bench_direct_command(struct bench_command *command, const struct bench_config *config,
                          const char *cpus, const char *guest, const char *const *arguments);

/* The bare program with the same memory; `arguments` start with the mode. */
void bench_bare_command(struct bench_command *command, const struct bench_config *config,
                        const char *cpus, const char *const *arguments);

/* Run a command that must end with status 0. */
enum bench_outcome bench_run(const struct bench_command *command, struct process_run *run,
                             struct bench_result *result);

enum bench_time {
    BENCH_FIRST, /* until the first byte of output */
    BENCH_WALL,  /* until the end of the process */
};

/*
 * The shortest time of `tries` runs of a command, in nanoseconds. Everything that disturbs a run
 * makes it longer, so that the shortest one tells most about the program.
 */
enum bench_outcome bench_best(const struct bench_command *command, unsigned tries,
                              enum bench_time what, double *ns, struct bench_result *result);

/* Takes one sample of what `context` describes, in the unit of the row. */
typedef enum bench_outcome bench_sampler(const void *context, double *sample,
                                         struct bench_result *result);

/*
 * Sample ours and the other alternately, so that whatever slows the machine down slows down both,
 * and store the medians. The first sample of each is thrown away. `against` may be NULL.
 */
enum bench_outcome bench_compare(unsigned runs, bench_sampler *sampler, const void *ours,
                                 const void *against, struct bench_result *result);

#endif
