/*
 * The benchmark driver: runs uhyve and what it is compared with, prints a table and writes the
 * figures as JSON. docs/benchmarks.md says how to read them.
 *
 *     bench --uhyve PROGRAM --bare PROGRAM --native PROGRAM --native-trap PROGRAM
 *           --guests DIRECTORY [--images DIRECTORY] [--plain PROGRAM] [--json FILE] [--runs N]
 *           [NAME...]
 *     bench --list
 *
 * Exit status: 0, 1 if a benchmark failed (skipped ones did not), 2 for wrong arguments.
 */
#include "bench.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

#define RUNS_DEFAULT 21
#define RUNS_MAX     10000

/* Comparisons against it carry a ratio; "-" stands for a figure that stands alone. */
#define NATIVE        "the same code as a program of the host"
#define TCG           "the same code under QEMU's TCG"
#define QEMU_NET      "QEMU, same guest and back end"
#define BARE_PROGRAM  "bare KVM program (bench/bare_kvm.c)"
#define FILE_PROGRAM  "the same loop on the host (bench/native_file.c)"
#define PLAIN_PROGRAM "uhyve built without tracing"

struct bench {
    const char *name;
    const char *unit;
    const char *goal;    /* for the reader; nothing depends on it */
    const char *against; /* what `against` of the result is */
    bench_function *measure;
};

static const struct bench benches[] = {
    {"startup", "us", "ratio <= 1.3", BARE_PROGRAM, bench_startup},
    {"startup_4cpu", "us", "-", BARE_PROGRAM, bench_startup_4cpu},
    {"exit_wall_ms", "ms", "-", BARE_PROGRAM, bench_exit_wall},
    {"boot_demo_ms", "ms", "-", "-", bench_boot_demo},
    {"pio_exit", "ns", "ratio <= 1.1", BARE_PROGRAM, bench_pio_exit},
    {"pio_in", "ns", "-", BARE_PROGRAM, bench_pio_in},
    {"trace_off", "ns", "ratio <= 1.02", PLAIN_PROGRAM, bench_trace_off},
    {"profile_overhead", "ms", "ratio <= 1.03", "the same without --profile",
     bench_profile_overhead},
    {"file_read", "GiB/s", "ratio >= 0.9", FILE_PROGRAM, bench_file_read},
    {"file_write", "GiB/s", "ratio >= 0.9", FILE_PROGRAM, bench_file_write},
    {"direct_trap", "ns", "ratio <= 2", "bare SIGSEGV trap (bench/native_trap.c)",
     bench_direct_trap},
    {"direct_patched_ns", "ns", "<= 20", "-", bench_direct_patched},
    {"direct_hypercall_us", "us", "<= 15", "-", bench_direct_hypercall},
    {"direct_page_fault_us", "us", "-", "-", bench_direct_page_fault},
    {"direct_hello_ms", "ms", "<= 15", "-", bench_direct_hello},
    {"direct_image_ms", "ms", "<= 25", "-", bench_direct_image},
    {"direct_compute_int", "Mop/s", "ratio >= 0.97", NATIVE, bench_direct_int},
    {"direct_compute_sse2", "Mop/s", "ratio >= 0.97", NATIVE, bench_direct_sse2},
    {"direct_compute_avx2", "Mop/s", "ratio >= 0.97", NATIVE, bench_direct_avx2},
    {"direct_compute_avx512", "Mop/s", "ratio >= 0.97", NATIVE, bench_direct_avx512},
    {"direct_memory", "MB/s", "ratio >= 0.97", NATIVE, bench_direct_memory},
    {"direct_smp2", "Mop/s", "ratio >= 1.9", "the same with one CPU", bench_direct_smp2},
    {"direct_lock2", "Mop/s", "-", NATIVE, bench_direct_lock2},
    {"direct_tcg_compute_int", "Mop/s", "-", TCG, bench_direct_tcg_int},
    {"direct_tcg_compute_sse2", "Mop/s", "-", TCG, bench_direct_tcg_sse2},
    {"vmm_memory_mib", "MiB", "< 2", "-", bench_vmm_memory},
    {"binary_kib", "KiB", "< 500", "-", bench_binary},
    {"net_tap_throughput", "MB/s", "ratio > 1", QEMU_NET, bench_net_tap_throughput},
    {"net_tap_latency", "us", "ratio < 1", QEMU_NET, bench_net_tap_latency},
    {"net_user_throughput", "MB/s", "ratio > 1", QEMU_NET, bench_net_user_throughput},
    {"net_user_latency", "us", "ratio < 1", QEMU_NET, bench_net_user_latency},
    {"net_tap_requests", "us", "ratio < 1", QEMU_NET, bench_net_tap_requests},
    {"net_user_requests", "us", "ratio < 1", QEMU_NET, bench_net_user_requests},
};
#define BENCH_COUNT (sizeof(benches) / sizeof(benches[0]))

struct settings {
    struct bench_config config;
    const char *json;           /* NULL: none */
    bool selected[BENCH_COUNT]; /* which rows to run */
};

static void print_head(void)
{
    printf("%-23s %12s %-5s %8s %12s %7s  %-13s %s\n", "benchmark", "uhyve", "unit", "spread",
           "against", "ratio", "goal", "measured against");
}

static void print_row(const struct bench *bench, enum bench_outcome outcome,
                      const struct bench_result *result)
{
    if (outcome != BENCH_DONE) {
        printf("%-23s %s: %s\n", bench->name, outcome == BENCH_SKIPPED ? "skipped" : "FAILED",
               result->reason);
        return;
    }
    char spread[32], against[32] = "-", ratio[32] = "-";
    snprintf(spread, sizeof(spread), "%.1f %%", 100 * result->spread / result->value);
    if (result->against > 0) {
        snprintf(against, sizeof(against), "%.3f", result->against);
        snprintf(ratio, sizeof(ratio), "%.3f", result->value / result->against);
    }
    printf("%-23s %12.3f %-5s %8s %12s %7s  %-13s %s\n", bench->name, result->value, bench->unit,
           spread, against, ratio, bench->goal, bench->against);
}

static void json_add_string(struct text *json, const char *string)
{
    text_add(json, "\"");
    for (; *string; string++) {
        unsigned char c = (unsigned char)*string;
        if (c == '"' || c == '\\')
            text_printf(json, "\\%c", c);
        else if (c < ' ' || c > '~')
            text_add(json, "?");
        else
            text_add_bytes(json, string, 1);
    }
    text_add(json, "\"");
}

static void json_add_row(struct text *json, const struct bench *bench, enum bench_outcome outcome,
                         const struct bench_result *result)
{
    text_add(json, json->size == 0 ? "[\n" : ",\n");
    text_add(json, "  {\"name\": ");
    json_add_string(json, bench->name);
    if (outcome != BENCH_DONE) {
        text_printf(json, ", \"%s\": ", outcome == BENCH_SKIPPED ? "skipped" : "failed");
        json_add_string(json, result->reason);
    } else {
        text_printf(json, ", \"value\": %.6g, \"unit\": ", result->value);
        json_add_string(json, bench->unit);
        if (result->against > 0)
            text_printf(json, ", \"against\": %.6g, \"ratio\": %.4f", result->against,
                        result->value / result->against);
        else
            text_add(json, ", \"against\": null, \"ratio\": null");
    }
    text_add(json, "}");
}

static bool write_file(const char *path, const struct text *text)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    bool written = fwrite(text->data, 1, text->size, file) == text->size;
    return fclose(file) == 0 && written;
}

/* Run what was selected. Returns the exit status. */
static int run_all(const struct settings *settings)
{
    struct text json = {0};
    int status = 0;

    print_head();
    for (unsigned i = 0; i < BENCH_COUNT; i++) {
        if (!settings->selected[i])
            continue;
        struct bench_result result = {0};
        enum bench_outcome outcome = benches[i].measure(&settings->config, &result);
        if (outcome == BENCH_FAILED)
            status = 1;
        text_make_printable(result.reason);
        print_row(&benches[i], outcome, &result);
        fflush(stdout);
        json_add_row(&json, &benches[i], outcome, &result);
    }
    text_add(&json, "\n]\n");
    if (settings->json && (json.failed || !write_file(settings->json, &json))) {
        fprintf(stderr, "bench: cannot write %s: %s\n", settings->json, strerror(errno));
        status = 1;
    }
    text_free(&json);
    return status;
}

static void list(void)
{
    for (unsigned i = 0; i < BENCH_COUNT; i++)
        printf("%-23s %-5s goal: %-13s against: %s\n", benches[i].name, benches[i].unit,
               benches[i].goal, benches[i].against);
}

static bool select_bench(struct settings *settings, const char *name)
{
    for (unsigned i = 0; i < BENCH_COUNT; i++) {
        if (strcmp(name, benches[i].name) == 0) {
            settings->selected[i] = true;
            return true;
        }
    }
    fprintf(stderr, "bench: there is no benchmark '%s' (bench --list shows all)\n", name);
    return false;
}

/* Returns false after saying what is wrong. */
static bool parse_options(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {
        {"uhyve", required_argument, NULL, 'u'},  {"bare", required_argument, NULL, 'b'},
        {"guests", required_argument, NULL, 'g'}, {"json", required_argument, NULL, 'j'},
        {"runs", required_argument, NULL, 'r'},   {"plain", required_argument, NULL, 'p'},
        {"native", required_argument, NULL, 'n'}, {"native-trap", required_argument, NULL, 't'},
        {"images", required_argument, NULL, 'i'}, {0},
    };
    uint64_t runs = RUNS_DEFAULT;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'u':
            settings->config.uhyve = optarg;
            break;
        case 'b':
            settings->config.bare = optarg;
            break;
        case 'g':
            settings->config.guests = optarg;
            break;
        case 'p':
            settings->config.plain = optarg;
            break;
        case 'n':
            settings->config.native = optarg;
            break;
        case 't':
            settings->config.native_trap = optarg;
            break;
        case 'i':
            settings->config.images = optarg;
            break;
        case 'j':
            settings->json = optarg;
            break;
        case 'r':
            if (text_parse_unsigned(optarg, RUNS_MAX, &runs) || runs == 0) {
                fprintf(stderr, "bench: --runs must be 1 ... %d\n", RUNS_MAX);
                return false;
            }
            break;
        default:
            return false;
        }
    }
    settings->config.runs = (unsigned)runs;
    const struct bench_config *config = &settings->config;
    if (!config->uhyve || !config->bare || !config->native || !config->native_trap ||
        !config->guests) {
        fputs("bench: --uhyve, --bare, --native, --native-trap and --guests are needed\n", stderr);
        return false;
    }
    for (unsigned i = 0; i < BENCH_COUNT; i++)
        settings->selected[i] = optind == argc;
    for (int i = optind; i < argc; i++) {
        if (!select_bench(settings, argv[i]))
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list();
        return 0;
    }
    if (!parse_options(argc, argv, &settings))
        return 2;
    return run_all(&settings);
}
