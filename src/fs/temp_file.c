#include "fs/temp_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/checked.h"

struct temp_file {
    atomic_uint references;
    struct tempdir *dir;
    char name[24];
    pthread_mutex_t lock;
    uint64_t size; /* bytes, all of which are taken from the quota */
};

int temp_file_create(struct tempdir *dir, int flags, mode_t mode, struct temp_file **result)
{
    struct temp_file *file = calloc(1, sizeof *file);

    if (!file)
        return -ENOMEM;
    file->dir = dir;
    atomic_init(&file->references, 1);
    uint64_t number = atomic_fetch_add(&dir->last_number, 1) + 1;
    snprintf(file->name, sizeof file->name, "%" PRIu64, number);
    int fd = openat(dir->fd, file->name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0) {
        int err = -errno;
        free(file);
        return err;
    }
    pthread_mutex_init(&file->lock, NULL);
    *result = file;
    return fd;
}

struct temp_file *temp_file_hold(struct temp_file *file)
{
    atomic_fetch_add(&file->references, 1);
    return file;
}

void temp_file_release(struct temp_file *file)
{
    if (!file || atomic_fetch_sub(&file->references, 1) != 1)
        return;
    unlinkat(file->dir->fd, file->name, 0);
    quota_give(file->dir->quota, file->size);
    pthread_mutex_destroy(&file->lock);
    free(file);
}

/* With the lock held: the file is `size` bytes long now. */
static void set_size(struct temp_file *file, uint64_t size)
{
    if (size < file->size)
        quota_give(file->dir->quota, file->size - size);
    file->size = size;
}

int temp_file_open(struct temp_file *file, int flags)
{
    pthread_mutex_lock(&file->lock);
    int fd = openat(file->dir->fd, file->name, flags | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    else if (flags & O_TRUNC)
        set_size(file, 0);
    pthread_mutex_unlock(&file->lock);
    return fd;
}

uint64_t temp_file_size(struct temp_file *file)
{
    pthread_mutex_lock(&file->lock);
    uint64_t size = file->size;
    pthread_mutex_unlock(&file->lock);
    return size;
}

int temp_file_stat(struct temp_file *file, struct stat *status)
{
    return fstatat(file->dir->fd, file->name, status, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : -errno;
}

/* The first `size` bytes of a list of buffers; returns how many buffers that are. */
static int cut(struct iovec *to, const struct iovec *from, int count, uint64_t size)
{
    int used = 0;
    for (; used < count && size; used++) {
        to[used] = from[used];
        if (to[used].iov_len > size)
            to[used].iov_len = size;
        size -= to[used].iov_len;
    }
    return used;
}

/* With the lock held: write what there is room for, at `start`. */
static ssize_t write_at(struct temp_file *file, int fd, const struct iovec *iov, int count,
                        uint64_t wanted, uint64_t start)
{
    struct iovec part[IOV_MAX];
    uint64_t end, taken = 0;

    if (checked_add(start, wanted, &end) || end > INT64_MAX)
        return -EFBIG;
    if (end > file->size) {
        uint64_t growth = end - file->size;
        taken = quota_take_some(file->dir->quota, growth);
        if (wanted <= growth - taken) {
            quota_give(file->dir->quota, taken);
            return -ENOSPC;
        }
        wanted -= growth - taken;
    }
    file->size += taken;
    ssize_t written = pwritev(fd, part, cut(part, iov, count, wanted), (off_t)start);
    if (written < 0)
        written = -errno;
    /* A short write, or none: what was taken for the rest goes back. */
    if (taken && written != (ssize_t)wanted) {
        uint64_t before = file->size - taken,
                 reached = start + (written > 0 ? (uint64_t)written : 0);
        set_size(file, written > 0 && reached > before ? reached : before);
    }
    return written;
}

ssize_t temp_file_write(struct temp_file *file, int fd, const struct iovec *iov, int count,
                        bool append, int64_t *position)
{
    uint64_t wanted = 0;

    for (int i = 0; i < count; i++)
        wanted += iov[i].iov_len; /* they are all guest memory, so the sum fits */
    if (!wanted)
        return 0;
    pthread_mutex_lock(&file->lock);
    uint64_t start = append ? file->size : (uint64_t)*position;
    ssize_t written = write_at(file, fd, iov, count, wanted, start);
    pthread_mutex_unlock(&file->lock);
    if (written > 0)
        *position = (int64_t)start + written;
    return written;
}
