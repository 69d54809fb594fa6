#include "image_tool/pack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define BLOCK       512
#define OUTPUT_SIZE (128 * 1024)
#define GZIP_LEVEL  9
#define ZSTD_LEVEL  12
#define SIZE_MAX_8G (UINT64_C(1) << 33) /* what 11 octal digits do not hold */

/* POSIX.1-2017, pax, "ustar Interchange Format". */
struct ustar {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6], version[2];
    char user[32], group[32];
    char major[8], minor[8];
    char prefix[155];
    char unused[12];
};

_Static_assert(sizeof(struct ustar) == BLOCK, "a tar header is one block");

struct packer {
    int fd;
    z_stream gzip;
    bool gzip_ready;
    ZSTD_CCtx *zstd; /* NULL: gzip */
    uint8_t *output;
    uint64_t rest; /* of the current file */
    unsigned padding;
};

struct packer *packer_create(int fd, bool zstd)
{
    struct packer *packer = calloc(1, sizeof *packer);
    if (!packer)
        return NULL;
    packer->fd = fd;
    packer->output = malloc(OUTPUT_SIZE);
    if (zstd) {
        packer->zstd = ZSTD_createCCtx();
        if (packer->zstd) {
            ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
            ZSTD_CCtx_setParameter(packer->zstd, ZSTD_c_checksumFlag, 1);
        }
    } else {
        /* 16: with gzip's header, whose time is 0, and checksum. */
        packer->gzip_ready = deflateInit2(&packer->gzip, GZIP_LEVEL, Z_DEFLATED, 16 + MAX_WBITS,
                                          MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK;
    }
    if (packer->output && (packer->zstd || packer->gzip_ready))
        return packer;
    packer_destroy(packer);
    return NULL;
}

void packer_destroy(struct packer *packer)
{
    if (packer->gzip_ready)
        deflateEnd(&packer->gzip);
    ZSTD_freeCCtx(packer->zstd);
    free(packer->output);
    free(packer);
}

static int write_output(struct packer *packer, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = write(packer->fd, packer->output + done, size - done);
        if (count < 0 && errno != EINTR)
            return -errno;
        done += count > 0 ? (size_t)count : 0;
    }
    return 0;
}

static int compress_gzip(struct packer *packer, const void *bytes, size_t size, bool last)
{
    z_stream *stream = &packer->gzip;
    int err, result;

    stream->next_in = (Bytef *)(uintptr_t)bytes; /* not written to */
    stream->avail_in = (uInt)size;
    do {
        stream->next_out = packer->output;
        stream->avail_out = OUTPUT_SIZE;
        result = deflate(stream, last ? Z_FINISH : Z_NO_FLUSH);
        if (result == Z_STREAM_ERROR)
            return -EIO;
        err = write_output(packer, OUTPUT_SIZE - stream->avail_out);
    } while (!err && (last ? result != Z_STREAM_END : stream->avail_in || !stream->avail_out));
    return err;
}

static int compress_zstd(struct packer *packer, const void *bytes, size_t size, bool last)
{
    ZSTD_inBuffer in = {.src = bytes, .size = size};
    size_t rest;
    int err;

    do {
        ZSTD_outBuffer out = {.dst = packer->output, .size = OUTPUT_SIZE};
        rest = ZSTD_compressStream2(packer->zstd, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(rest))
            return -EIO;
        err = write_output(packer, out.pos);
    } while (!err && (last ? rest != 0 : in.pos < in.size));
    return err;
}

/* `size` is less than 4 GiB. */
static int compress_bytes(struct packer *packer, const void *bytes, size_t size, bool last)
{
    return packer->zstd ? compress_zstd(packer, bytes, size, last)
                        : compress_gzip(packer, bytes, size, last);
}

/* A name of up to 100 bytes, or one that can be cut at a slash with up to 155 bytes before it. */
static int set_name(struct ustar *header, const char *name)
{
    size_t size = strlen(name);

    if (size <= sizeof header->name) {
        memcpy(header->name, name, size);
        return 0;
    }
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t prefix = (size_t)(slash - name), rest = size - prefix - 1;
        if (prefix && prefix <= sizeof header->prefix && rest && rest <= sizeof header->name) {
            memcpy(header->prefix, name, prefix);
            memcpy(header->name, slash + 1, rest);
            return 0;
        }
    }
    return -ENAMETOOLONG;
}

int packer_add(struct packer *packer, const char *name, uint64_t size)
{
    struct ustar header = {.mode = "0000644",
                           .uid = "0000000",
                           .gid = "0000000",
                           .mtime = "00000000000",
                           .checksum = "       ",
                           .type = '0',
                           .magic = "ustar",
                           .version = "00",
                           .major = "0000000",
                           .minor = "0000000"};
    unsigned sum = 0;

    if (size >= SIZE_MAX_8G)
        return -EOVERFLOW;
    int err = set_name(&header, name);
    if (err)
        return err;
    snprintf(header.size, sizeof header.size, "%011llo", (unsigned long long)size);
    header.checksum[7] = ' ';
    for (size_t i = 0; i < sizeof header; i++)
        sum += ((const uint8_t *)&header)[i];
    snprintf(header.checksum, sizeof header.checksum, "%06o", sum);
    packer->rest = size;
    packer->padding = (unsigned)(-size % BLOCK);
    return compress_bytes(packer, &header, sizeof header, false);
}

int packer_write(struct packer *packer, const void *bytes, size_t size)
{
    static const char zeros[BLOCK];

    if (size > packer->rest)
        return -EOVERFLOW;
    packer->rest -= size;
    int err = compress_bytes(packer, bytes, size, false);
    if (!err && !packer->rest && packer->padding) {
        err = compress_bytes(packer, zeros, packer->padding, false);
        packer->padding = 0;
    }
    return err;
}

int packer_finish(struct packer *packer)
{
    static const char zeros[2 * BLOCK];
    return compress_bytes(packer, zeros, sizeof zeros, true);
}
