#include "fs/open_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/encode.h"
#include "fs/quota.h"
#include "fs/wait.h"
#include "util/checked.h"

/* Directory entries returned by one call. */
#define LIST_MAX (UINT64_C(1) << 20)

enum open_kind {
    OPEN_HOST,    /* anything but a stream: calls do not wait for others */
    OPEN_STREAM,  /* FIFO, character device: non-blocking, waits are polls */
    OPEN_TEMP,    /* its position is here */
    OPEN_BYTES,   /* likewise */
    OPEN_LISTING, /* likewise, in bytes of the stream of entries */
};

struct open_file {
    atomic_uint references;
    enum open_kind kind;
    int fd; /* -1 for the last two kinds */
    bool append;
    struct temp_file *temp; /* OPEN_TEMP: a reference */

    /* Guards the position, also during reads and writes at it, as the host's kernel does. */
    pthread_mutex_t lock;
    int64_t position;

    const uint8_t *data; /* OPEN_BYTES: borrowed; OPEN_LISTING: `stream` */
    size_t size;
    uint8_t *stream;         /* OPEN_LISTING: all entries, encoded */
    int64_t boundary;        /* where the last read of it ended: an entry begins there */
    struct quota *quota;     /* that the stream was taken from */
    uint64_t number;         /* the directory's */
    struct timespec made_at; /* likewise */
};

static int create(enum open_kind kind, int fd, struct open_file **result)
{
    struct open_file *file = calloc(1, sizeof *file);

    if (!file) {
        if (fd >= 0)
            close(fd);
        return -ENOMEM;
    }
    atomic_init(&file->references, 1);
    pthread_mutex_init(&file->lock, NULL);
    file->kind = kind;
    file->fd = fd;
    *result = file;
    return 0;
}

struct open_file *open_file_hold(struct open_file *file)
{
    atomic_fetch_add(&file->references, 1);
    return file;
}

int open_file_release(struct open_file *file)
{
    int err = 0;

    if (atomic_fetch_sub(&file->references, 1) != 1)
        return 0;
    /* After EINTR the descriptor is gone, too. */
    if (file->fd >= 0 && close(file->fd) != 0 && errno != EINTR)
        err = -errno;
    temp_file_release(file->temp);
    if (file->quota)
        quota_give(file->quota, file->size);
    free(file->stream);
    pthread_mutex_destroy(&file->lock);
    free(file);
    return err;
}

/* The descriptor was opened non-blocking, in case it is a stream. For a regular file that has no
 * use, and O_DIRECT is set now that it is known to be one. */
static int settle_regular(int fd, bool append, bool direct)
{
    int flags = (append ? O_APPEND : 0) | (direct ? O_DIRECT : 0);
    return fcntl(fd, F_SETFL, flags) == 0 ? 0 : -errno;
}

int open_file_host(int fd, bool append, bool direct, struct open_file **file)
{
    struct stat status;
    enum open_kind kind = OPEN_HOST;

    int err = fstat(fd, &status) == 0 ? 0 : -errno;
    if (!err && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)))
        err = settle_regular(fd, append, direct && S_ISREG(status.st_mode));
    else if (!err && !S_ISDIR(status.st_mode))
        kind = OPEN_STREAM;
    if (err) {
        close(fd);
        return err;
    }
    return create(kind, fd, file);
}

int open_file_temp(int fd, struct temp_file *temp, bool append, bool direct,
                   struct open_file **file)
{
    int err = direct ? settle_regular(fd, false, true) : 0;
    if (err) {
        close(fd);
        return err;
    }
    err = create(OPEN_TEMP, fd, file);
    if (!err) {
        (*file)->temp = temp_file_hold(temp);
        (*file)->append = append;
    }
    return err;
}

int open_file_bytes(const void *data, size_t size, struct open_file **file)
{
    int err = create(OPEN_BYTES, -1, file);
    if (!err) {
        (*file)->data = data;
        (*file)->size = size;
    }
    return err;
}

static uint8_t type_of(const struct filemap_item *item)
{
    struct stat status;

    if (!item->host)
        return (uint8_t)item->type;
    if (host_root_stat(item->host, "", false, &status) != 0)
        return DT_REG; /* does not exist yet */
    return S_ISDIR(status.st_mode)   ? DT_DIR
           : S_ISREG(status.st_mode) ? DT_REG
           : S_ISLNK(status.st_mode) ? DT_LNK
                                     : DT_UNKNOWN;
}

/* The reference implementation makes a directory of the host for each that the guest creates, so
 * guests find these two in it. */
static const char *const dots[] = {".", ".."};

static void encode_listing(uint8_t *to, const struct filemap_listing *listing)
{
    for (size_t i = 0; listing->created && i < 2; i++) {
        encode_dirent(to, 1, DT_DIR, dots[i], strlen(dots[i]));
        to += encode_dirent_size(strlen(dots[i]));
    }
    for (size_t i = 0; i < listing->count; i++) {
        const struct filemap_item *item = &listing->items[i];
        encode_dirent(to, 1, type_of(item), item->name, strlen(item->name));
        to += encode_dirent_size(strlen(item->name));
    }
}

int open_file_listing(const struct filemap_listing *listing, const struct filemap_entry *entry,
                      struct quota *quota, struct open_file **file)
{
    size_t size = 0;

    for (size_t i = 0; listing->created && i < 2; i++)
        size += encode_dirent_size(strlen(dots[i]));
    for (size_t i = 0; i < listing->count; i++)
        size += encode_dirent_size(strlen(listing->items[i].name));
    if (!quota_take(quota, size))
        return -ENOMEM;
    uint8_t *stream = malloc(size ? size : 1);
    int err = stream ? create(OPEN_LISTING, -1, file) : -ENOMEM;
    if (err) {
        quota_give(quota, size);
        free(stream);
        return err;
    }
    encode_listing(stream, listing);
    (*file)->stream = stream;
    (*file)->data = stream;
    (*file)->size = size;
    (*file)->quota = quota;
    if (entry->created) {
        (*file)->number = entry->number;
        (*file)->made_at = entry->made_at;
    }
    return 0;
}

ssize_t open_file_read_stream(int fd, const struct iovec *iov, int count, int stop_fd)
{
    for (;;) {
        int err = wait_ready(fd, POLLIN, stop_fd);
        if (err)
            return err;
        /* This can still block if the descriptor is not ours and somebody else took the data; the
         * signal that accompanies a stop ends that. */
        ssize_t size = readv(fd, iov, count);
        if (size >= 0)
            return size;
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

static ssize_t read_host(const struct open_file *file, const struct iovec *iov, int count,
                         int stop_fd)
{
    for (;;) {
        ssize_t size = readv(file->fd, iov, count);
        if (size >= 0)
            return size;
        if (errno != EINTR || wait_is_over(stop_fd))
            return -errno;
    }
}

static ssize_t read_temp(struct open_file *file, const struct iovec *iov, int count)
{
    pthread_mutex_lock(&file->lock);
    ssize_t size = preadv(file->fd, iov, count, (off_t)file->position);
    if (size > 0)
        file->position += size;
    int err = errno;
    pthread_mutex_unlock(&file->lock);
    return size < 0 ? -err : size;
}

static ssize_t read_bytes(struct open_file *file, const struct iovec *iov, int count)
{
    pthread_mutex_lock(&file->lock);
    uint64_t at = (uint64_t)file->position, start = at;
    for (int i = 0; i < count && at < file->size; i++) {
        size_t left = file->size - at, part = iov[i].iov_len < left ? iov[i].iov_len : left;
        memcpy(iov[i].iov_base, file->data + at, part);
        at += part;
    }
    file->position = (int64_t)at;
    pthread_mutex_unlock(&file->lock);
    return (ssize_t)(at - start);
}

ssize_t open_file_read(struct open_file *file, const struct iovec *iov, int count, int stop_fd)
{
    if (!count && file->kind != OPEN_LISTING)
        return 0;
    switch (file->kind) {
    case OPEN_HOST:
        return read_host(file, iov, count, stop_fd);
    case OPEN_STREAM:
        return open_file_read_stream(file->fd, iov, count, stop_fd);
    case OPEN_TEMP:
        return read_temp(file, iov, count);
    case OPEN_BYTES:
        return read_bytes(file, iov, count);
    case OPEN_LISTING:
        break;
    }
    return -EISDIR;
}

/* One system call. -EAGAIN asks for another one. */
static ssize_t write_some(struct open_file *file, const struct iovec *iov, int count, int stop_fd)
{
    ssize_t size;

    if (file->kind == OPEN_TEMP) {
        pthread_mutex_lock(&file->lock);
        size = temp_file_write(file->temp, file->fd, iov, count, file->append, &file->position);
        pthread_mutex_unlock(&file->lock);
        return size;
    }
    int err = file->kind == OPEN_STREAM ? wait_ready(file->fd, POLLOUT, stop_fd) : 0;
    if (err)
        return err;
    size = writev(file->fd, iov, count);
    if (size >= 0)
        return size;
    bool again = errno == EAGAIN && file->kind == OPEN_STREAM;
    err = -errno;
    if (err == -EINTR && !wait_is_over(stop_fd))
        again = true;
    return again ? -EAGAIN : err;
}

/* What remains of `iov` after `size` bytes. */
static int advance(struct iovec *iov, int count, size_t size)
{
    int skipped = 0;
    while (skipped < count && size >= iov[skipped].iov_len)
        size -= iov[skipped++].iov_len;
    if (!skipped && !size)
        return count;
    memmove(iov, iov + skipped, (size_t)(count - skipped) * sizeof *iov);
    if (size) {
        iov[0].iov_base = (uint8_t *)iov[0].iov_base + size;
        iov[0].iov_len -= size;
    }
    return count - skipped;
}

ssize_t open_file_write(struct open_file *file, const struct iovec *iov, int count, int stop_fd)
{
    struct iovec left[OPEN_FILE_VECTORS];
    ssize_t total = 0;

    if (file->kind == OPEN_BYTES || file->kind == OPEN_LISTING)
        return -EROFS;
    memcpy(left, iov, (size_t)count * sizeof *left);
    while (count) {
        ssize_t size = write_some(file, left, count, stop_fd);
        if (size == -EAGAIN && file->kind != OPEN_TEMP)
            continue;
        if (size < 0)
            return total ? total : size;
        if (size == 0)
            break;
        total += size;
        count = advance(left, count, (size_t)size);
    }
    return total;
}

/* The positions that are kept here. With the lock held. */
static int64_t find_position(const struct open_file *file, int64_t offset, uint32_t whence)
{
    int64_t base, position;

    if (file->kind == OPEN_LISTING) {
        if (offset < 0 || whence > SEEK_CUR)
            return -EINVAL;
        if (whence == SEEK_SET)
            return offset;
        return checked_add(file->position, offset, &position) ? INT64_MAX : position;
    }
    switch (whence) {
    case SEEK_SET:
        base = 0;
        break;
    case SEEK_CUR:
        base = file->position;
        break;
    case SEEK_END:
        base = file->kind == OPEN_TEMP ? (int64_t)temp_file_size(file->temp) : (int64_t)file->size;
        break;
    default:
        if (file->kind != OPEN_TEMP || whence > SEEK_HOLE)
            return -EINVAL;
        position = lseek(file->fd, (off_t)offset, (int)whence);
        return position < 0 ? -errno : position;
    }
    if (checked_add(base, offset, &position))
        return -EOVERFLOW;
    return position < 0 ? -EINVAL : position;
}

int64_t open_file_seek(struct open_file *file, int64_t offset, uint32_t whence)
{
    if (file->kind == OPEN_HOST || file->kind == OPEN_STREAM) {
        if (whence > SEEK_HOLE)
            return -EINVAL;
        off_t position = lseek(file->fd, (off_t)offset, (int)whence);
        return position < 0 ? -errno : position;
    }
    pthread_mutex_lock(&file->lock);
    int64_t position = find_position(file, offset, whence);
    if (position >= 0)
        file->position = position;
    pthread_mutex_unlock(&file->lock);
    return position;
}

int open_file_stat(struct open_file *file, struct hermit_attr *attr)
{
    struct stat status;

    switch (file->kind) {
    case OPEN_BYTES:
        encode_attr_bytes(attr, file->size);
        return 0;
    case OPEN_LISTING:
        encode_attr_directory(attr, file->number, &file->made_at);
        return 0;
    default:
        if (fstat(file->fd, &status) != 0)
            return -errno;
        encode_attr(attr, &status);
        return 0;
    }
}

static size_t entry_size(const struct open_file *file, size_t at)
{
    uint16_t size;
    memcpy(&size, file->stream + at + 16, sizeof size);
    return size;
}

/* With the lock held. */
static int64_t list_stream(struct open_file *file, uint8_t *to, uint64_t size)
{
    if (file->position >= (int64_t)file->size)
        return 0;
    size_t at = (size_t)file->position, start = at;
    if (file->position != file->boundary) {
        size_t boundary = 0;
        while (boundary < at)
            boundary += entry_size(file, boundary);
        if (boundary != at)
            return -EINVAL;
    }
    while (at < file->size && entry_size(file, at) <= size - (at - start))
        at += entry_size(file, at);
    if (at == start)
        return -EINVAL;
    memcpy(to, file->stream + start, at - start);
    file->position = file->boundary = (int64_t)at;
    return (int64_t)(at - start);
}

int64_t open_file_list(struct open_file *file, void *to, uint64_t size)
{
    size = size < LIST_MAX ? size : LIST_MAX;
    switch (file->kind) {
    case OPEN_HOST: {
        long count = syscall(SYS_getdents64, file->fd, to, (size_t)size);
        return count < 0 ? -errno : count;
    }
    case OPEN_LISTING: {
        pthread_mutex_lock(&file->lock);
        int64_t count = list_stream(file, to, size);
        pthread_mutex_unlock(&file->lock);
        return count;
    }
    case OPEN_BYTES:
        return -EBADF;
    default:
        return -ENOTDIR;
    }
}
