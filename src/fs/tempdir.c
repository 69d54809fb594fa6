#include "fs/tempdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/error.h"

#define PREFIX       "uhyve-"
#define RANDOM_BYTES 16

/* Directories of others looked at in one start: with many VMs running, most are in use. */
#define STALE_LOOKS_MAX 64

/* How often to try again when somebody else is quicker. */
#define TRIES 16

static int refuse(struct uhyve_error *error, int err, const char *path, const char *why)
{
    return error_set(error, UHYVE_STATUS_FAILED, err,
                     "cannot keep temporary files in '%.500s': %s (%s)", path, why,
                     error_remedy(err, "choose another place with --tempdir"));
}

static int open_directory(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Is the directory behind a descriptor this user's and nobody else's? 0, -EPERM if not, or another
 * -errno. */
static int check_private(int fd, uid_t uid)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return -errno;
    return status.st_mode == (S_IFDIR | 0700) && status.st_uid == uid ? 0 : -EPERM;
}

/* A directory that was just made by root for somebody else. */
static int give(int fd, const struct tempdir_options *options)
{
    return options->uid == geteuid() || fchown(fd, options->uid, options->gid) == 0 ? 0 : -errno;
}

/* The same for a directory that others look for by its name: with a lock, so that they can tell
 * this moment from the death of who has made it. Returns a descriptor, or -EAGAIN if they were
 * quicker. */
static int make_default(const char *path, const struct tempdir_options *options)
{
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST ? -EAGAIN : -errno;
    int fd = open_directory(AT_FDCWD, path);
    if (fd < 0)
        return fd == -ENOENT ? -EAGAIN : fd;
    struct stat status;
    flock(fd, LOCK_EX);
    int err = fstat(fd, &status) != 0 ? -errno : !status.st_nlink ? -EAGAIN : give(fd, options);
    if (err) {
        close(fd);
        return err;
    }
    flock(fd, LOCK_UN);
    return fd;
}

/* Made by root, which did not live to give it away. Closes it and removes it from its place, where
 * it would be nobody's for ever; false if it is something else, or not empty. */
static bool remove_unfinished(int fd, const char *path, const struct tempdir_options *options)
{
    if (options->uid == geteuid() || check_private(fd, geteuid()) != 0)
        return false;
    flock(fd, LOCK_EX);
    bool finished = check_private(fd, options->uid) == 0;
    if (!finished && rmdir(path) != 0 && errno != ENOENT)
        return false;
    close(fd);
    return true;
}

/* The user's own directory for all VMs, made if there is none. Others can make files in /tmp, so it
 * must prove to be what it should be. */
static int open_default(struct tempdir *dir, const struct tempdir_options *options,
                        struct uhyve_error *error)
{
    const char *base = getenv("TMPDIR");
    char path[4096];

    if (!base || !*base)
        base = "/tmp";
    int size = snprintf(path, sizeof path, "%s/" PREFIX "%u", base, (unsigned)options->uid);
    if ((size_t)size >= sizeof path)
        return refuse(error, ENAMETOOLONG, base, strerror(ENAMETOOLONG));
    int fd = -EAGAIN;
    for (unsigned i = 0; i < TRIES && fd == -EAGAIN; i++) {
        fd = open_directory(AT_FDCWD, path);
        if (fd == -ENOENT)
            fd = make_default(path, options);
        else if (fd >= 0 && remove_unfinished(fd, path, options))
            fd = -EAGAIN;
    }
    if (fd < 0)
        return refuse(error, -fd, path,
                      fd == -ELOOP || fd == -ENOTDIR ? "it is not a directory" : strerror(-fd));
    dir->parent = fd;
    int err = check_private(fd, options->uid);
    if (err)
        return refuse(error, -err, path,
                      err == -EPERM ? "it is not a directory of this user with mode 0700 (remove "
                                      "it)"
                                    : strerror(-err));
    dir->path = strdup(path);
    return dir->path ? 0 : refuse(error, ENOMEM, path, strerror(ENOMEM));
}

static int open_given(struct tempdir *dir, const char *where, struct uhyve_error *error)
{
    int fd = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return refuse(error, errno, where, strerror(errno));
    dir->parent = fd;
    dir->path = realpath(where, NULL);
    return dir->path ? 0 : refuse(error, errno, where, strerror(errno));
}

/* Remove the files in a directory; there are no directories in it. Reading goes on after removals
 * and begins again until nothing is left to remove. */
static void remove_files(int fd)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own < 0 ? NULL : fdopendir(own);
    if (!stream) {
        if (own >= 0)
            close(own);
        return;
    }
    for (bool removed = true; removed; rewinddir(stream)) {
        removed = false;
        for (const struct dirent *entry; (entry = readdir(stream));)
            if (entry->d_type != DT_DIR && unlinkat(fd, entry->d_name, 0) == 0)
                removed = true;
    }
    closedir(stream);
}

static bool has_our_name(const char *name)
{
    const char *digits = name + strlen(PREFIX);
    return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && strlen(digits) == 2 * RANDOM_BYTES &&
           strspn(digits, "0123456789abcdef") == 2 * RANDOM_BYTES;
}

/* What processes left behind that were killed. Nothing here is an error. */
static void remove_stale(const struct tempdir *dir, const struct tempdir_options *options)
{
    unsigned looks = 0;
    int own = openat(dir->parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = own < 0 ? NULL : fdopendir(own);
    if (!stream) {
        if (own >= 0)
            close(own);
        return;
    }
    for (const struct dirent *entry; looks < STALE_LOOKS_MAX && (entry = readdir(stream));) {
        if (!has_our_name(entry->d_name))
            continue;
        looks++;
        int fd = open_directory(dir->parent, entry->d_name);
        if (fd < 0)
            continue;
        /* Nobody else can have put this name on something of ours: it is private since it was made.
         * Root may have died before it gave the directory away, which is empty then. */
        bool theirs = check_private(fd, options->uid) == 0;
        if ((theirs || check_private(fd, geteuid()) == 0) && flock(fd, LOCK_EX | LOCK_NB) == 0) {
            log_debug(options->log, "removing '%s/%s', which an earlier run left behind", dir->path,
                      entry->d_name);
            if (theirs)
                remove_files(fd);
            unlinkat(dir->parent, entry->d_name, AT_REMOVEDIR);
        }
        close(fd);
    }
    closedir(stream);
}

static int choose_name(char *name, size_t size, struct uhyve_error *error)
{
    uint8_t random[RANDOM_BYTES];
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        int err = errno;
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "cannot choose a name for temporary files: getrandom: %s (%s)",
                         strerror(err), error_remedy_of_call(err, "try again"));
    }
    int at = snprintf(name, size, PREFIX);
    for (size_t i = 0; i < sizeof random; i++)
        at += snprintf(name + at, size - (size_t)at, "%02x", random[i]);
    return 0;
}

/* Open the new directory and lock it. -EAGAIN: somebody took it for a stale one in between. */
static int take(struct tempdir *dir, const struct tempdir_options *options)
{
    struct stat status;

    dir->fd = open_directory(dir->parent, dir->name);
    if (dir->fd < 0)
        return dir->fd == -ENOENT ? -EAGAIN : dir->fd;
    /* A file system without locks: then nobody can take it for stale either. */
    if (flock(dir->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return -EAGAIN;
    if (fstat(dir->fd, &status) != 0)
        return -errno;
    if (!status.st_nlink)
        return -EAGAIN;
    return give(dir->fd, options);
}

/* Make the directory and lock it. -EAGAIN: somebody took it, or took it for a stale one. */
static int make(struct tempdir *dir, const struct tempdir_options *options)
{
    if (mkdirat(dir->parent, dir->name, 0700) != 0)
        return errno == EEXIST ? -EAGAIN : -errno;
    int err = take(dir, options);
    if (err) {
        if (dir->fd >= 0)
            close(dir->fd);
        dir->fd = -1;
        unlinkat(dir->parent, dir->name, AT_REMOVEDIR);
    }
    return err;
}

int tempdir_create(struct tempdir *dir, const struct tempdir_options *options,
                   struct uhyve_error *error)
{
    *dir = (struct tempdir){.parent = -1, .fd = -1, .quota = options->quota, .log = options->log};
    int err = options->where ? open_given(dir, options->where, error)
                             : open_default(dir, options, error);
    if (err)
        return err;
    remove_stale(dir, options);
    err = -EAGAIN;
    for (unsigned i = 0; i < TRIES && err == -EAGAIN; i++) {
        err = choose_name(dir->name, sizeof dir->name, error);
        if (err)
            return err;
        err = make(dir, options);
    }
    if (err)
        return refuse(error, -err, dir->path, strerror(-err));
    char *path;
    if (asprintf(&path, "%s/%s", dir->path, dir->name) < 0)
        return refuse(error, ENOMEM, dir->path, strerror(ENOMEM));
    free(dir->path);
    dir->path = path;
    return 0;
}

void tempdir_remove(struct tempdir *dir)
{
    if (dir->fd >= 0) {
        remove_files(dir->fd);
        if (unlinkat(dir->parent, dir->name, AT_REMOVEDIR) != 0)
            log_warn(dir->log, "cannot remove the temporary directory '%s': %s (remove it)",
                     dir->path, strerror(errno));
        close(dir->fd);
    }
    if (dir->parent >= 0)
        close(dir->parent);
    free(dir->path);
    *dir = (struct tempdir){.parent = -1, .fd = -1};
}
