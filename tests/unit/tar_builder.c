#include "tar_builder.h"

#include <dlfcn.h>
#include <stdio.h>
#include <zlib.h>

#include "unit.h"

void tar_fix_checksum(struct tar_builder *tar, size_t offset)
{
    uint8_t *header = (uint8_t *)tar->bytes.data + offset;
    unsigned sum = 0;

    memset(header + 148, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

void tar_add_header(struct tar_builder *tar, const char *name, char type, uint64_t size)
{
    char header[TAR_BLOCK] = "";
    size_t offset = tar->bytes.size;

    assert_true(strlen(name) <= 100);
    memcpy(header, name, strlen(name));
    strcpy(header + 100, "0000644");
    strcpy(header + 108, "0000000");
    strcpy(header + 116, "0000000");
    snprintf(header + 124, 12, "%011llo", (unsigned long long)size);
    strcpy(header + 136, "00000000000");
    header[156] = type;
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    text_add_bytes(&tar->bytes, header, sizeof header);
    tar_fix_checksum(tar, offset);
}

void tar_add_content(struct tar_builder *tar, const void *bytes, size_t size)
{
    static const char zeros[TAR_BLOCK];

    text_add_bytes(&tar->bytes, bytes, size);
    text_add_bytes(&tar->bytes, zeros, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

void tar_add(struct tar_builder *tar, const char *name, char type, const char *content)
{
    tar_add_header(tar, name, type, strlen(content));
    tar_add_content(tar, content, strlen(content));
}

void tar_end(struct tar_builder *tar)
{
    static const char zeros[2 * TAR_BLOCK];

    text_add_bytes(&tar->bytes, zeros, sizeof zeros);
    assert_false(tar->bytes.failed);
}

void compress_gzip(struct text *to, const void *bytes, size_t size)
{
    z_stream stream = {0};
    uint8_t buffer[4096];
    int result;

    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)size;
    do {
        stream.next_out = buffer;
        stream.avail_out = sizeof buffer;
        result = deflate(&stream, Z_FINISH);
        text_add_bytes(to, buffer, sizeof buffer - stream.avail_out);
    } while (result == Z_OK);
    assert_int_equal(result, Z_STREAM_END);
    deflateEnd(&stream);
}

bool compress_zstd(struct text *to, const void *bytes, size_t size)
{
    void *library = dlopen("libzstd.so.1", RTLD_NOW);
    size_t capacity = 1024 + 2 * size;

    if (!library)
        return false;
    size_t (*compress)(void *, size_t, const void *, size_t, int);
    *(void **)&compress = dlsym(library, "ZSTD_compress");
    assert_non_null(compress);
    char *buffer = malloc(capacity);
    size_t length = compress(buffer, capacity, bytes, size, 3);
    assert_true(length < capacity);
    text_add_bytes(to, buffer, length);
    free(buffer);
    dlclose(library);
    return true;
}
