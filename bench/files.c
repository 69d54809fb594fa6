/*
 * How fast a guest reads and writes a file of the host that is in the page cache, against the same
 * loop as a program of the host (bench/native_file.c).
 *
 * Both programs say when they have gone through the file so many times. One sample is the
 * difference of that time between several passes and one, so that starting cancels out.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "bench.h"

#define FILE_MIB    1024
#define FILE_MIB_S  "1024"
#define PASSES      3
#define PASSES_S    "3"
#define RUNS_DIVIDE 4 /* a sample takes some seconds */
#define TRIES       3 /* a time is the best of so many runs */

struct passes {
    struct bench_command one, many;
};

/* GiB per second. */
static enum bench_outcome sample_speed(const void *context, double *sample,
                                       struct bench_result *result)
{
    const struct passes *passes = context;
    double one = 0, many = 0;
    enum bench_outcome outcome = bench_best(&passes->one, TRIES, BENCH_FIRST, &one, result);
    if (outcome == BENCH_DONE)
        outcome = bench_best(&passes->many, TRIES, BENCH_FIRST, &many, result);
    *sample = FILE_MIB / 1024.0 * (PASSES - 1) * 1e9 / (many - one);
    return outcome;
}

/* A file whose every page is in memory, in memory only if there is room, so that no disk disturbs.
 * Returns whether it is there; the caller unlinks it. */
static bool make_file(char *path, size_t size)
{
    static char piece[1 << 20];
    struct statvfs space;
    bool shared = statvfs("/dev/shm", &space) == 0 &&
                  (uint64_t)space.f_bavail * space.f_frsize > UINT64_C(2) * FILE_MIB << 20;

    snprintf(path, size, "%s/uhyve-bench.XXXXXX", shared ? "/dev/shm" : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    bool made = fd >= 0;
    for (unsigned i = 0; i < FILE_MIB && made; i++)
        made = write(fd, piece, sizeof(piece)) == sizeof(piece);
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && !made)
        unlink(path);
    return made;
}

/* The native program is in the same place as the bare one. */
static void native_command(struct bench_command *command, const struct bench_config *config,
                           const char *mode, const char *path, const char *passes)
{
    const char *slash = strrchr(config->bare, '/');
    snprintf(command->image, sizeof(command->image), "%.*snative_file",
             slash ? (int)(slash + 1 - config->bare) : 0, config->bare);
    memcpy(command->argv, (const char *[]){command->image, mode, path, FILE_MIB_S, passes, NULL},
           6 * sizeof(*command->argv));
}

/* Whatever uhyve chooses to execute the guest. */
static void guest_command(struct bench_command *command, const struct bench_config *config,
                          const char *mode, const char *mapping, const char *passes)
{
    snprintf(command->image, sizeof(command->image), "%s/bench-file-v2-gpr", config->guests);
    memcpy(command->argv,
           (const char *[]){config->uhyve, "--file-mapping", mapping, command->image, "--", "--",
                            mode, "/bench/file", FILE_MIB_S, passes, NULL},
           11 * sizeof(*command->argv));
}

static enum bench_outcome compare_native(const struct bench_config *config, const char *mode,
                                         struct bench_result *result)
{
    char path[64], mapping[96];
    struct passes ours, against;

    if (!make_file(path, sizeof(path)))
        return bench_skip(result, "there is no room for a file of %d MiB", FILE_MIB);
    snprintf(mapping, sizeof(mapping), "%s:/bench/file", path);
    guest_command(&ours.one, config, mode, mapping, "1");
    guest_command(&ours.many, config, mode, mapping, PASSES_S);
    native_command(&against.one, config, mode, path, "1");
    native_command(&against.many, config, mode, path, PASSES_S);
    unsigned runs = config->runs / RUNS_DIVIDE;
    enum bench_outcome outcome = bench_compare(runs ? runs : 1, sample_speed, &ours, &against,
                                               result);
    unlink(path);
    return outcome;
}

enum bench_outcome bench_file_read(const struct bench_config *config, struct bench_result *result)
{
    return compare_native(config, "read", result);
}

enum bench_outcome bench_file_write(const struct bench_config *config, struct bench_result *result)
{
    return compare_native(config, "write", result);
}
