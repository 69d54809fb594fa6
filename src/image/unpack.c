#include "image/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/libraries.h"
#include "util/error.h"
#include "util/text.h"

#define INPUT_SIZE  (256 * 1024)
#define OUTPUT_STEP (1024 * 1024) /* the buffer grows by at least this much */

/* Places in a tar header (POSIX.1-2017, pax, "ustar Interchange Format"). */
#define TAR_BLOCK        512
#define TAR_CHECKSUM     148
#define TAR_CHECKSUM_END 156
#define TAR_MAGIC        257

/* Of a packed file: where it comes from, what is read of it, and what came out. */
struct unpack {
    const struct image *image;
    const char *format;
    uint64_t offset; /* of the next byte to read from the image */
    uint8_t *input;
    size_t input_size;
    uint8_t *data;
    size_t size, capacity;
    uint64_t limit;
    struct uhyve_error *error;
};

const char *unpack_format_name(enum unpack_format format)
{
    static const char *const names[] = {
        [UNPACK_UNKNOWN] = "unknown",
        [UNPACK_GZIP] = "gzip",
        [UNPACK_ZSTD] = "zstd",
        [UNPACK_TAR] = "tar",
    };
    return names[format];
}

/* A tar header says the sum of its bytes, counting its checksum field as blanks. */
static bool is_tar(const uint8_t *block)
{
    char field[TAR_CHECKSUM_END - TAR_CHECKSUM + 1] = "";
    unsigned long sum = 0;

    if (memcmp(block + TAR_MAGIC, "ustar", 5) == 0)
        return true;
    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= TAR_CHECKSUM && i < TAR_CHECKSUM_END ? ' ' : block[i];
    memcpy(field, block + TAR_CHECKSUM, TAR_CHECKSUM_END - TAR_CHECKSUM);
    const char *digits = field + strspn(field, " ");
    return *digits >= '0' && *digits <= '7' && strtoul(digits, NULL, 8) == sum;
}

int unpack_detect(const struct image *image, enum unpack_format *format, struct uhyve_error *error)
{
    static const uint8_t gzip[] = {0x1f, 0x8b, 0x08}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    uint8_t block[TAR_BLOCK] = {0};
    size_t size = image->size < sizeof block ? (size_t)image->size : sizeof block;

    *format = UNPACK_UNKNOWN;
    int err = image_read(image, 0, block, size, "first bytes", error);
    if (err)
        return err;
    if (memcmp(block, gzip, sizeof gzip) == 0)
        *format = UNPACK_GZIP;
    else if (memcmp(block, zstd, sizeof zstd) == 0)
        *format = UNPACK_ZSTD;
    else if (size == TAR_BLOCK && is_tar(block))
        *format = UNPACK_TAR;
    return 0;
}

static int error_memory(struct unpack *unpack)
{
    return error_set(unpack->error, UHYVE_STATUS_FAILED, ENOMEM,
                     "not enough memory for unpacking image '%s'", unpack->image->path);
}

static int error_damaged(struct unpack *unpack, const char *why)
{
    return error_set(unpack->error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                     "image '%s' is corrupt: its %s data cannot be unpacked: %s (build or copy it "
                     "again)",
                     unpack->image->path, unpack->format, why);
}

static int error_truncated(struct unpack *unpack)
{
    return error_set(unpack->error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                     "image '%s' is truncated: the file ends inside its %s data (build or copy it "
                     "again)",
                     unpack->image->path, unpack->format);
}

static int error_limit(struct unpack *unpack)
{
    char text[32];
    return error_set(unpack->error, UHYVE_STATUS_BAD_IMAGE, EFBIG,
                     "image '%s' unpacks to more than %s (if it is to be that large, raise "
                     "--limit-image)",
                     unpack->image->path, text_format_size(text, sizeof text, unpack->limit));
}

/* Fetch the next piece of the file; unpack->input_size is 0 at its end. */
static int read_input(struct unpack *unpack)
{
    uint64_t rest = unpack->image->size - unpack->offset;
    unpack->input_size = rest < INPUT_SIZE ? (size_t)rest : INPUT_SIZE;
    int err = image_read(unpack->image, unpack->offset, unpack->input, unpack->input_size,
                         "packed data", unpack->error);
    unpack->offset += unpack->input_size;
    return err;
}

/* Make room for more output: one byte beyond the limit, so that reaching it is not exceeding it. */
static int make_room(struct unpack *unpack)
{
    if (unpack->size < unpack->capacity)
        return 0;
    if (unpack->size > unpack->limit)
        return error_limit(unpack);
    size_t most = unpack->limit < SIZE_MAX / 4 ? (size_t)unpack->limit + 1 : SIZE_MAX / 4;
    size_t more = unpack->capacity > OUTPUT_STEP ? unpack->capacity : OUTPUT_STEP;
    more = more < most - unpack->capacity ? more : most - unpack->capacity;
    uint8_t *data = realloc(unpack->data, unpack->capacity + more);
    if (!data)
        return error_memory(unpack);
    unpack->data = data;
    unpack->capacity += more;
    return 0;
}

/* Unpack the input that is there. `*ended` tells whether the stream came to an end after it. */
static int inflate_input(struct unpack *unpack, const struct library_zlib *zlib, z_stream *stream,
                         bool *ended)
{
    stream->next_in = unpack->input;
    stream->avail_in = (uInt)unpack->input_size;
    do {
        int err = make_room(unpack);
        if (err)
            return err;
        size_t room = unpack->capacity - unpack->size;
        uInt most = room < UINT32_MAX / 2 ? (uInt)room : UINT32_MAX / 2;
        /* Further members may follow; padding with zeros may follow the last one. */
        if (*ended) {
            while (stream->avail_in && !*stream->next_in)
                stream->next_in++, stream->avail_in--;
            if (!stream->avail_in)
                return 0;
            zlib->reset(stream);
            *ended = false;
        }
        stream->next_out = unpack->data + unpack->size;
        stream->avail_out = most;
        int result = zlib->inflate(stream, Z_NO_FLUSH);
        unpack->size += most - stream->avail_out;
        if (result == Z_MEM_ERROR)
            return error_memory(unpack);
        if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
            return error_damaged(unpack, stream->msg ? stream->msg : "unknown error");
        *ended = result == Z_STREAM_END;
    } while (stream->avail_in || (!*ended && !stream->avail_out));
    return 0;
}

static int unpack_gzip(struct unpack *unpack)
{
    struct library_zlib zlib;
    z_stream stream = {0};
    bool ended = false;

    int err = library_zlib_load(&zlib, unpack->image->path, unpack->error);
    if (err)
        return err;
    /* 16: gzip, with its checksum */
    if (zlib.init(&stream, 16 + MAX_WBITS, ZLIB_VERSION, sizeof stream) != Z_OK)
        err = error_memory(unpack);
    if (!err)
        err = read_input(unpack);
    while (!err && unpack->input_size) {
        err = inflate_input(unpack, &zlib, &stream, &ended);
        if (!err)
            err = read_input(unpack);
    }
    zlib.end(&stream);
    library_unload(zlib.handle);
    return err || ended ? err : error_truncated(unpack);
}

/* `*hint` is 0 when the last frame is complete. */
static int zstd_input(struct unpack *unpack, const struct library_zstd *zstd, ZSTD_DStream *stream,
                      size_t *hint)
{
    ZSTD_inBuffer in = {.src = unpack->input, .size = unpack->input_size};
    bool full;

    do {
        int err = make_room(unpack);
        if (err)
            return err;
        ZSTD_outBuffer out = {.dst = unpack->data, .size = unpack->capacity, .pos = unpack->size};
        *hint = zstd->decompress(stream, &out, &in);
        unpack->size = out.pos;
        full = out.pos == out.size;
        if (zstd->is_error(*hint))
            return error_damaged(unpack, zstd->error_name(*hint));
    } while (in.pos < in.size || (*hint && full));
    return 0;
}

static int unpack_zstd(struct unpack *unpack)
{
    struct library_zstd zstd;
    size_t hint = 1;

    int err = library_zstd_load(&zstd, unpack->image->path, unpack->error);
    if (err)
        return err;
    ZSTD_DStream *stream = zstd.create();
    if (!stream)
        err = error_memory(unpack);
    if (!err)
        err = read_input(unpack);
    while (!err && unpack->input_size) {
        err = zstd_input(unpack, &zstd, stream, &hint);
        if (!err)
            err = read_input(unpack);
    }
    zstd.destroy(stream);
    library_unload(zstd.handle);
    return err || !hint ? err : error_truncated(unpack);
}

static int unpack_plain(struct unpack *unpack)
{
    uint64_t size = unpack->image->size;

    if (size > unpack->limit)
        return error_limit(unpack);
    unpack->data = malloc(size ? (size_t)size : 1);
    if (!unpack->data)
        return error_memory(unpack);
    unpack->size = (size_t)size;
    return image_read(unpack->image, 0, unpack->data, size, "archive", unpack->error);
}

int unpack_all(const struct image *image, enum unpack_format format, uint64_t limit, uint8_t **data,
               size_t *size, struct uhyve_error *error)
{
    struct unpack unpack = {
        .image = image,
        .format = unpack_format_name(format),
        .limit = limit,
        .error = error,
    };
    int err;

    *data = NULL;
    *size = 0;
    unpack.input = malloc(INPUT_SIZE);
    if (!unpack.input)
        return error_memory(&unpack);
    if (format == UNPACK_GZIP)
        err = unpack_gzip(&unpack);
    else if (format == UNPACK_ZSTD)
        err = unpack_zstd(&unpack);
    else
        err = unpack_plain(&unpack);
    if (!err && unpack.size > limit)
        err = error_limit(&unpack);
    free(unpack.input);
    if (err) {
        free(unpack.data);
        return err;
    }
    *data = unpack.data;
    *size = unpack.size;
    return 0;
}
