/* What compromised.c tries with files. */
#include "compromised.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

long open_path(const char *path, int flags)
{
    return close_if_open(CALL(openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600));
}

/* Files that are not mapped. */

static long read_outside(void)
{
    return open_path(target.outside, O_RDONLY);
}

static long write_outside(void)
{
    return open_path(target.outside, O_WRONLY);
}

static long create_outside(void)
{
    return open_path(target.outside_new, O_WRONLY | O_CREAT);
}

static long list_outside(void)
{
    return open_path("/", O_RDONLY | O_DIRECTORY);
}

static long list_parent(void)
{
    return open_path(target.directory, O_RDONLY | O_DIRECTORY);
}

static long read_by_link(void)
{
    char link[320];
    snprintf(link, sizeof link, "%s.link", target.mapped);
    return open_path(link, O_RDONLY);
}

static long open_by_openat2(void)
{
    struct {
        uint64_t flags, mode, resolve;
    } how = {.flags = O_RDONLY};
    return close_if_open(CALL(openat2, AT_FDCWD, target.outside, &how, sizeof how));
}

static long truncate_outside(void)
{
    return CALL(truncate, target.outside, 0);
}

static long unlink_outside(void)
{
    return CALL(unlinkat, AT_FDCWD, target.outside_new, 0);
}

static long mkdir_outside(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.d", target.outside);
    long result = CALL(mkdirat, AT_FDCWD, path, 0700);
    if (result == 0)
        CALL(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
    return result;
}

static long link_outside(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.hard", target.mapped);
    long result = CALL(linkat, AT_FDCWD, target.outside, AT_FDCWD, path, 0);
    if (result == 0)
        CALL(unlinkat, AT_FDCWD, path, 0);
    return result;
}

static long rename_inside(void)
{
    long result = CALL(renameat2, AT_FDCWD, target.outside, AT_FDCWD, target.mapped_new, 0);
    if (result == 0)
        CALL(renameat2, AT_FDCWD, target.mapped_new, AT_FDCWD, target.outside, 0);
    return result;
}

static long chmod_outside(void)
{
    return CALL(fchmodat, AT_FDCWD, target.outside, 0600);
}

static long look_at_outside(void)
{
    struct stat status;
    return CALL(stat, target.outside, &status);
}

/* Files that are mapped read-only. */

static long write_readonly(void)
{
    return open_path(target.readonly, O_WRONLY);
}

static long truncate_readonly(void)
{
    return CALL(truncate, target.readonly, 0);
}

static long unlink_readonly(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.spare", target.readonly);
    return CALL(unlinkat, AT_FDCWD, path, 0);
}

/* A file beside one that is mapped by itself. */

static long read_neighbour(void)
{
    return open_path(target.neighbour, O_RDONLY);
}

static long write_neighbour(void)
{
    return open_path(target.neighbour, O_WRONLY);
}

static long remove_neighbour(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.spare", target.neighbour);
    return CALL(unlinkat, AT_FDCWD, path, 0);
}

static long create_neighbour(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s.new", target.neighbour);
    return open_path(path, O_RDWR | O_CREAT);
}

static long open_single(void)
{
    char path[320];
    snprintf(path, sizeof path, "%s/single/file", target.directory);
    return open_path(path, O_RDWR);
}

/* Other ways to files. */

static long read_victims_memory(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", target.victim);
    return open_path(path, O_RDWR);
}

static long read_environment(void)
{
    return open_path("/proc/self/environ", O_RDONLY);
}

static long use_io_uring(void)
{
    char parameters[120] = {0};
    return close_if_open(CALL(io_uring_setup, 1, parameters));
}

static long change_root(void)
{
    return CALL(chdir, "/");
}

const struct attempt file_attempts[] = {
    {"open a file that is not mapped, for reading", read_outside, LANDLOCK, false},
    {"open a file that is not mapped, for writing", write_outside, LANDLOCK, false},
    {"create a file elsewhere", create_outside, LANDLOCK, false},
    {"remove a file elsewhere", unlink_outside, LANDLOCK, false},
    {"make a directory elsewhere", mkdir_outside, LANDLOCK, false},
    {"list the root directory", list_outside, LANDLOCK, false},
    {"list the parent of mapped directories", list_parent, LANDLOCK, false},
    {"follow a link out of a mapped directory", read_by_link, LANDLOCK, false},
    {"open with openat2", open_by_openat2, LANDLOCK, false},
    {"truncate a file that is not mapped", truncate_outside, LANDLOCK_3 | FILTER, false},
    {"link a file into a mapped directory", link_outside, LANDLOCK | FILTER, false},
    {"rename a file into a mapped directory", rename_inside, LANDLOCK | FILTER, false},
    {"change the mode of a file that is not mapped", chmod_outside, FILTER, false},
    {"look at a file that is not mapped, with stat", look_at_outside, FILTER, false},
    {"open a read-only file for writing", write_readonly, LANDLOCK, false},
    {"truncate a read-only file", truncate_readonly, LANDLOCK_3 | FILTER, false},
    {"remove a read-only file", unlink_readonly, LANDLOCK, true},
    {"read the neighbour of a mapped file", read_neighbour, LANDLOCK, false},
    {"write to the neighbour of a mapped file", write_neighbour, LANDLOCK, false},
    {"remove the neighbour of a mapped file", remove_neighbour, LANDLOCK, true},
    {"create a file beside a mapped file", create_neighbour, LANDLOCK, false},
    {"open a file that another process opens for it", open_single, LANDLOCK, false},
    {"open another process's memory", read_victims_memory, LANDLOCK, true},
    {"read the environment from /proc", read_environment, LANDLOCK, false},
    {"use io_uring", use_io_uring, FILTER, true},
    {"change the working directory", change_root, FILTER, false},
};
const size_t file_attempt_count = sizeof file_attempts / sizeof *file_attempts;
