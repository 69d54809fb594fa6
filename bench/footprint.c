/* How much uhyve itself takes: memory while a guest runs, and the size of the program. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define KIB_PER_MIB      1024
#define BYTES_PER_KIB    1024
#define GUEST_MEMORY_KIB (BENCH_MEMORY_MIB * KIB_PER_MIB)
#define RAM_SLACK_KIB    4096 /* a VMM may reserve a little more than it hands out, to align it */
#define STRIP_COPY       "/uhyve-bench-XXXXXX"

/* What /proc/PID/smaps says about a process. */
struct footprint {
    uint64_t private_kib; /* of all mappings except guest memory */
    unsigned ram_count;   /* mappings that look like guest memory */
};

/* One mapping of smaps, summed up field by field. */
struct mapping {
    uint64_t size_kib;
    uint64_t private_kib;
    bool is_file; /* of a file system: inode given and a path that is not a memory file */
};

static void add_mapping(struct footprint *footprint, const struct mapping *mapping)
{
    bool is_ram = !mapping->is_file && mapping->size_kib >= GUEST_MEMORY_KIB &&
                  mapping->size_kib <= GUEST_MEMORY_KIB + RAM_SLACK_KIB;
    if (is_ram)
        footprint->ram_count++;
    else
        footprint->private_kib += mapping->private_kib;
}

/* A line that starts a mapping: "start-end permissions offset device inode [path]". */
static bool parse_header(const char *line, struct mapping *mapping)
{
    uint64_t start, end, inode;
    int path = 0;
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %" SCNu64 " %n", &start, &end, &inode,
               &path) < 3)
        return false;
    *mapping = (struct mapping){
        .size_kib = (end - start) / BYTES_PER_KIB,
        .is_file = inode != 0 && strncmp(line + path, "/memfd:", 7) != 0,
    };
    return true;
}

/*
 * The VMM's own private memory: what it would not take if it did not run. Pages of files that are
 * shared with other processes do not count. Of guest memory nothing counts: which of its pages the
 * guest touched and which the VMM filled before the start (image, page tables, device tree, boot
 * information: some twenty pages that the guest reads anyway) cannot be told apart from outside.
 */
static bool read_footprint(pid_t pid, struct footprint *footprint)
{
    char path[64], line[4352];
    struct mapping mapping = {0};
    bool any = false;

    *footprint = (struct footprint){0};
    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
    FILE *smaps = fopen(path, "re");
    if (!smaps)
        return false;
    while (fgets(line, sizeof(line), smaps)) {
        struct mapping next;
        uint64_t kib;
        if (sscanf(line, "Private_Clean: %" SCNu64 " kB", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %" SCNu64 " kB", &kib) == 1) {
            mapping.private_kib += kib;
        } else if (parse_header(line, &next)) {
            if (any)
                add_mapping(footprint, &mapping);
            mapping = next;
            any = true;
        }
    }
    if (any)
        add_mapping(footprint, &mapping);
    bool complete = any && !ferror(smaps);
    fclose(smaps);
    return complete;
}

/* Start the guest, let it echo a line, and look while it waits for the next one. */
static enum bench_outcome sample_memory(const void *context, double *sample,
                                        struct bench_result *result)
{
    static const char line[] = "ready\n";
    const struct bench_command *command = context;
    struct process process;
    struct footprint footprint;
    char echo[sizeof(line)];
    enum bench_outcome outcome = BENCH_DONE;

    int failed = process_start(&process, command->argv, true);
    if (failed)
        return bench_fail(result, "cannot run %s: %s", command->argv[0], strerror(-failed));
    if (write(process.in, line, sizeof(line) - 1) != sizeof(line) - 1)
        outcome = bench_fail(result, "cannot write to %s: %s", command->argv[0], strerror(errno));
    else if (process_read(&process, echo, sizeof(echo)) <= 0)
        outcome = bench_fail(result, "the guest of %s did not echo its input", command->argv[0]);
    else if (!read_footprint(process.pid, &footprint))
        outcome = bench_fail(result, "cannot read the memory map of %s", command->argv[0]);
    else if (footprint.ram_count != 1)
        outcome = bench_fail(result, "%s has %u mappings of the size of guest memory, not one",
                             command->argv[0], footprint.ram_count);
    else
        *sample = (double)footprint.private_kib / KIB_PER_MIB;
    process_kill(&process);
    return outcome;
}

enum bench_outcome bench_vmm_memory(const struct bench_config *config, struct bench_result *result)
{
    struct bench_command cat;
    enum bench_outcome outcome = bench_needs_kvm(config, result);
    if (outcome != BENCH_DONE)
        return outcome;
    bench_uhyve_command(&cat, config, NULL, "cat-v2-gpr", NULL);
    return bench_compare(config->runs, sample_memory, &cat, NULL, result);
}

enum bench_outcome bench_binary(const struct bench_config *config, struct bench_result *result)
{
    const char *directory = getenv("TMPDIR");
    char copy[4096];
    snprintf(copy, sizeof(copy), "%s%s", directory ? directory : "/tmp", STRIP_COPY);
    int fd = mkstemp(copy);
    if (fd < 0)
        return bench_fail(result, "cannot create %s: %s", copy, strerror(errno));
    close(fd);

    struct bench_command strip = {.argv = {"strip", "-o", copy, config->uhyve}};
    struct process_run run;
    struct stat status;
    enum bench_outcome outcome = bench_run(&strip, &run, result);
    if (outcome == BENCH_DONE && stat(copy, &status))
        outcome = bench_fail(result, "cannot look at %s: %s", copy, strerror(errno));
    if (outcome == BENCH_DONE)
        result->value = (double)status.st_size / BYTES_PER_KIB;
    unlink(copy);
    return outcome;
}
