#include "fs/encode.h"

#include <string.h>

#define BLOCK      512
#define BLOCK_SIZE 4096

/* Linux' struct dirent64, without its name. */
struct dirent_head {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
} __attribute__((packed));

_Static_assert(sizeof(struct dirent_head) == 19, "dirent64");

void encode_attr(struct hermit_attr *attr, const struct stat *status)
{
    *attr = (struct hermit_attr){
        .dev = status->st_dev,
        .ino = status->st_ino,
        .nlink = status->st_nlink,
        .mode = status->st_mode,
        .uid = status->st_uid,
        .gid = status->st_gid,
        .rdev = status->st_rdev,
        .size = status->st_size,
        .blksize = status->st_blksize,
        .blocks = status->st_blocks,
        .atime = status->st_atim.tv_sec,
        .atime_ns = (int32_t)status->st_atim.tv_nsec,
        .mtime = status->st_mtim.tv_sec,
        .mtime_ns = (int32_t)status->st_mtim.tv_nsec,
        .ctime = status->st_ctim.tv_sec,
        .ctime_ns = (int32_t)status->st_ctim.tv_nsec,
    };
}

void encode_attr_bytes(struct hermit_attr *attr, uint64_t size)
{
    *attr = (struct hermit_attr){
        .nlink = 1,
        .mode = S_IFREG | 0444,
        .size = (int64_t)size,
        .blksize = BLOCK_SIZE,
        .blocks = (int64_t)(size / BLOCK + (size % BLOCK != 0)),
    };
}

void encode_attr_directory(struct hermit_attr *attr, uint64_t number,
                           const struct timespec *made_at)
{
    *attr = (struct hermit_attr){
        .ino = number,
        .nlink = 2,
        .mode = S_IFDIR | 0755,
        .blksize = BLOCK_SIZE,
        .atime = made_at->tv_sec,
        .atime_ns = (int32_t)made_at->tv_nsec,
        .mtime = made_at->tv_sec,
        .mtime_ns = (int32_t)made_at->tv_nsec,
        .ctime = made_at->tv_sec,
        .ctime_ns = (int32_t)made_at->tv_nsec,
    };
}

size_t encode_dirent_size(size_t length)
{
    return (sizeof(struct dirent_head) + length + 1 + 7) & ~(size_t)7;
}

void encode_dirent(uint8_t *to, uint64_t ino, uint8_t type, const char *name, size_t length)
{
    size_t size = encode_dirent_size(length);
    const struct dirent_head head = {.ino = ino, .reclen = (uint16_t)size, .type = type};

    memset(to, 0, size);
    memcpy(to, &head, sizeof head);
    memcpy(to + sizeof head, name, length);
}
