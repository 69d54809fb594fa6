/*
 * What a guest is told about files, byte for byte: attributes and directory entries
 * (spec/hypercalls.md sections 4.7 and 4.8). Works on the caller's memory; any thread.
 */
#ifndef FS_ENCODE_H
#define FS_ENCODE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "hermit/hypercall.h"

/* Attributes of a host file. Paddings are zero, as everywhere here. */
void encode_attr(struct hermit_attr *attr, const struct stat *status);

/* Of a read-only file in memory. */
void encode_attr_bytes(struct hermit_attr *attr, uint64_t size);

/* Of a directory that exists only in the guest's tree. `number` and `made_at` are zero if it was
 * not created by the guest. */
void encode_attr_directory(struct hermit_attr *attr, uint64_t number,
                           const struct timespec *made_at);

/* Bytes of a directory entry whose name has `length` bytes. */
size_t encode_dirent_size(size_t length);

/* Write one, of that size, to `to`. The offset in it is 0. */
void encode_dirent(uint8_t *to, uint64_t ino, uint8_t type, const char *name, size_t length);

#endif
