#include "fs/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel */

int beneath_open(int base, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, base, path, &how, sizeof how);
    if (fd >= 0)
        return (int)fd;
    /* EPERM: some filters of system calls say so instead of ENOSYS; if not, the walk will again. */
    if (errno == ENOSYS || errno == EPERM || errno == EAGAIN)
        return beneath_walk(base, path, flags, mode);
    return -errno;
}

struct walk {
    int base;
    int at; /* directory that was reached; may be `base` */
    unsigned links;
    char reached[PATH_MAX]; /* its path below base: directories only, no links */
    char pending[PATH_MAX]; /* what is still to be walked */
};

static void move_to(struct walk *walk, int fd)
{
    if (walk->at != walk->base)
        close(walk->at);
    walk->at = fd;
}

static int enter(struct walk *walk, const char *name)
{
    int fd = openat(walk->at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    move_to(walk, fd);
    return 0;
}

/* Down to a directory that was reached before. */
static int enter_again(struct walk *walk)
{
    char path[PATH_MAX];
    int err = 0;

    memcpy(path, walk->reached, sizeof path);
    move_to(walk, walk->base);
    char *rest = path;
    for (char *name; !err && (name = strsep(&rest, "/"));)
        if (*name)
            err = enter(walk, name);
    return err;
}

static int step_back(struct walk *walk)
{
    if (!walk->reached[0])
        return -EXDEV;
    char *slash = strrchr(walk->reached, '/');
    *(slash ? slash : walk->reached) = '\0';
    return enter_again(walk);
}

static int step_into(struct walk *walk, const char *name)
{
    size_t size = strlen(walk->reached);
    int err = enter(walk, name);
    if (err)
        return err;
    int added = snprintf(walk->reached + size, sizeof walk->reached - size, "%s%s", size ? "/" : "",
                         name);
    return (size_t)added >= sizeof walk->reached - size ? -ENAMETOOLONG : 0;
}

/* If `name` is a link, put its target in front of what is pending. Returns whether it is, or
 * -errno. */
static int expand(struct walk *walk, const char *name)
{
    char target[PATH_MAX], joined[2 * PATH_MAX];

    ssize_t size = readlinkat(walk->at, name, target, sizeof target - 1);
    if (size < 0)
        return 0; /* not a link, or not there: opening it tells */
    target[size] = '\0';
    if (target[0] == '/')
        return -EXDEV;
    if (++walk->links > LINKS_MAX)
        return -ELOOP;
    size = snprintf(joined, sizeof joined, "%s%s", target, walk->pending);
    if ((size_t)size >= sizeof walk->pending)
        return -ENAMETOOLONG;
    memcpy(walk->pending, joined, (size_t)size + 1);
    return 1;
}

/* Take the first component off what is pending, up to the slash behind it: with one, also at the
 * end, it must be a directory and is not the last. False if there is none. */
static bool take(struct walk *walk, char *name, bool *last)
{
    const char *start = walk->pending + strspn(walk->pending, "/");
    size_t size = strcspn(start, "/");
    const char *rest = start + size;

    if (!size || size > NAME_MAX)
        return false;
    memcpy(name, start, size);
    name[size] = '\0';
    *last = *rest == '\0';
    memmove(walk->pending, rest, strlen(rest) + 1);
    return true;
}

/* Walk all components; returns the descriptor of the last one, or -errno. */
static int run(struct walk *walk, int flags, mode_t mode)
{
    bool exclusive = (flags & O_CREAT) && (flags & O_EXCL);
    bool follow = !(flags & O_NOFOLLOW) && !exclusive;
    char name[NAME_MAX + 1];
    bool last;

    while (take(walk, name, &last)) {
        int err = 0;
        if (strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0) {
            err = step_back(walk);
        } else {
            int is_link = !last || follow ? expand(walk, name) : 0;
            if (is_link > 0)
                continue;
            if (!is_link && last) {
                int fd = openat(walk->at, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
                return fd < 0 ? -errno : fd;
            }
            err = is_link ? is_link : step_into(walk, name);
        }
        if (err)
            return err;
    }
    if (walk->pending[strspn(walk->pending, "/")])
        return -ENAMETOOLONG; /* a component that take refused */
    int fd = openat(walk->at, ".", (flags & ~O_NOFOLLOW) | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

int beneath_walk(int base, const char *path, int flags, mode_t mode)
{
    struct walk walk = {.base = base, .at = base};

    if (path[0] == '/')
        return -EXDEV;
    if (strlen(path) >= sizeof walk.pending)
        return -ENAMETOOLONG;
    strcpy(walk.pending, path);
    int fd = run(&walk, flags, mode);
    move_to(&walk, base);
    return fd;
}
