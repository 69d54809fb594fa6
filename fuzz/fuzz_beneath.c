/*
 * Fuzz target: opening names that must not lead out of a directory (fs/beneath.h). The kernel's way
 * and the walk that stands in for it must come to the same result, whatever links say.
 *
 * Input, separated by line feeds: the target of the link "l", the target of the link "a/m", and a
 * path. There are also the directories "a" and "a/b", with a file "f" in each.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/beneath.h"
#include "fuzz.h"
#include "input.h"

#define LINE_MAX_SIZE 512

static void make_file(int base, const char *path)
{
    int fd = openat(base, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    require(fd >= 0);
    close(fd);
}

/* The directory, made once for this process and removed at its end. */
static char top[64];

static void remove_top(void)
{
    static const char *const paths[] = {"a/b/f", "a/m", "a/f", "f", "l"};
    int base = open(top, O_PATH | O_CLOEXEC);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        unlinkat(base, paths[i], 0);
    unlinkat(base, "a/b", AT_REMOVEDIR);
    unlinkat(base, "a", AT_REMOVEDIR);
    close(base);
    rmdir(top);
}

static int open_top(void)
{
    static int base = -1;
    if (base >= 0)
        return base;
    strcpy(top, "/tmp/fuzz_beneath.XXXXXX");
    require(mkdtemp(top) != NULL);
    base = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
    require(base >= 0 && mkdirat(base, "a", 0700) == 0 && mkdirat(base, "a/b", 0700) == 0);
    make_file(base, "f");
    make_file(base, "a/f");
    make_file(base, "a/b/f");
    atexit(remove_top);
    return base;
}

/* The next line of the input; cut to fit. */
static void take_line(const uint8_t **bytes, size_t *size, char line[LINE_MAX_SIZE])
{
    const uint8_t *end = memchr(*bytes, '\n', *size);
    size_t length = end ? (size_t)(end - *bytes) : *size;
    size_t part = length < LINE_MAX_SIZE - 1 ? length : LINE_MAX_SIZE - 1;
    memcpy(line, *bytes, part);
    line[part] = '\0';
    *bytes += length + (end != NULL);
    *size -= length + (end != NULL);
}

static void make_link(int base, const char *target, const char *path)
{
    unlinkat(base, path, 0);
    if (*target)
        require(symlinkat(target, base, path) == 0);
}

/* What was opened, as one number. */
static long identify(int fd)
{
    struct stat status;
    if (fd < 0)
        return fd;
    require(fstat(fd, &status) == 0);
    close(fd);
    return (long)status.st_ino;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const int flags[] = {O_PATH, O_PATH | O_NOFOLLOW, O_PATH | O_DIRECTORY, O_RDONLY};
    char first[LINE_MAX_SIZE], second[LINE_MAX_SIZE], path[LINE_MAX_SIZE];
    int base = open_top();
    struct stat status;

    if (!size)
        return 0;
    take_line(&bytes, &size, first);
    take_line(&bytes, &size, second);
    take_line(&bytes, &size, path);
    make_link(base, first, "l");
    make_link(base, second, "a/m");
    /* Callers pass paths in normal form, which do not end in a slash. */
    if (!*path || path[strlen(path) - 1] == '/')
        return 0;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        long kernel = identify(beneath_open(base, path, flags[i], 0));
        long walk = identify(beneath_walk(base, path, flags[i], 0));
        require(kernel == walk || (kernel < 0 && walk < 0));
        require((kernel == -EXDEV) == (walk == -EXDEV) || kernel == -ELOOP || walk == -ELOOP);
    }
    require(fstatat(base, "..", &status, 0) == 0);
    require(identify(beneath_walk(base, path, O_PATH, 0)) != (long)status.st_ino);
    return 0;
}
