/*
 * A file that the guest created without a mapping: an ordinary file in the VM's temporary
 * directory, whose length counts against the quota, sparse or not.
 *
 * Reference counted: its name in the file map has a reference, and each descriptor. With the last
 * one the file and what it took of the quota are gone. Only this VM can get at the file, so its
 * length is known here. Positions are kept by the callers: all I/O is at an offset. Any thread;
 * writers to one file wait for each other, as they would in the host's kernel.
 *
 * System calls: openat, preadv, pwritev, newfstatat, unlinkat, close.
 */
#ifndef FS_TEMP_FILE_H
#define FS_TEMP_FILE_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "fs/tempdir.h"

struct temp_file;

/* Make an empty file and open it with `flags` (O_RDONLY, O_WRONLY or O_RDWR, with O_SYNC). Returns
 * the descriptor, or -errno. */
int temp_file_create(struct tempdir *dir, int flags, mode_t mode, struct temp_file **file);

struct temp_file *temp_file_hold(struct temp_file *file);
void temp_file_release(struct temp_file *file); /* NULL is allowed */

/* Open it again; O_TRUNC empties it. Returns a descriptor or -errno. */
int temp_file_open(struct temp_file *file, int flags);

uint64_t temp_file_size(struct temp_file *file);
int temp_file_stat(struct temp_file *file, struct stat *status);

/*
 * One write through `fd` at *position, or at the end of the file if `append`; *position becomes
 * where it ended. Returns the bytes written, fewer if the quota leaves no room for more, or
 * -ENOSPC, -EFBIG or another -errno.
 */
ssize_t temp_file_write(struct temp_file *file, int fd, const struct iovec *iov, int count,
                        bool append, int64_t *position);

#endif
