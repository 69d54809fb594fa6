/*
 * A file that the guest has open: what its descriptors stand for (spec/files.md section 5).
 *
 * Reference counted: the descriptor has a reference and each call in progress, so that a close on
 * one vCPU cannot take the file away from a read on another. Any thread. Everything returns -errno
 * on failure. A wait for data or for room ends with -EINTR when `stop_fd` becomes readable.
 *
 * System calls: readv, writev, preadv, lseek, fstat, fcntl, getdents64, poll, close.
 */
#ifndef FS_OPEN_FILE_H
#define FS_OPEN_FILE_H

#include <stdbool.h>
#include <sys/uio.h>

#include "fs/filemap_run.h"
#include "fs/temp_file.h"
#include "hermit/hypercall.h"

struct open_file;

/* Longest list of buffers. */
#define OPEN_FILE_VECTORS 1024

/*
 * Take over a host descriptor, also on failure. `append` says whether it was opened with O_APPEND;
 * `direct` turns on O_DIRECT for a regular file. Returns 0 with *file holding one reference.
 */
int open_file_host(int fd, bool append, bool direct, struct open_file **file);

/* Likewise for a descriptor of a temporary file, whose reference the caller keeps. */
int open_file_temp(int fd, struct temp_file *temp, bool append, bool direct,
                   struct open_file **file);

/* A file in memory, which is borrowed. */
int open_file_bytes(const void *data, size_t size, struct open_file **file);

/*
 * A directory in the guest's tree, as it is now: takes what it needs from `listing` and the entry.
 * The memory it takes counts against `quota`: -ENOMEM beyond that.
 */
int open_file_listing(const struct filemap_listing *listing, const struct filemap_entry *entry,
                      struct quota *quota, struct open_file **file);

struct open_file *open_file_hold(struct open_file *file);

/* The result is that of closing the host's file, if this was the last reference. */
int open_file_release(struct open_file *file);

/* One read: as much as there is, at most the `count` buffers; 0 at the end of the file. */
ssize_t open_file_read(struct open_file *file, const struct iovec *iov, int count, int stop_fd);

/* Write everything. Returns the bytes written if that is less because of an error. */
ssize_t open_file_write(struct open_file *file, const struct iovec *iov, int count, int stop_fd);

/* `whence` as the guest's: 0 to 4 like the host's SEEK_SET to SEEK_HOLE. Returns the position. */
int64_t open_file_seek(struct open_file *file, int64_t offset, uint32_t whence);

int open_file_stat(struct open_file *file, struct hermit_attr *attr);

/* Directory entries into `size` bytes of guest memory; 0 after the last one. */
int64_t open_file_list(struct open_file *file, void *to, uint64_t size);

/* For descriptor 0 too: wait for data, then read it. */
ssize_t open_file_read_stream(int fd, const struct iovec *iov, int count, int stop_fd);

#endif
