/*
 * What a Hermit image is packed with (spec/files.md section 6.1): recognise it by its first bytes
 * and bring the tar archive inside into memory. The file is untrusted: memory and time are bounded
 * by the caller's limit, and checksums are verified.
 *
 * gzip is unpacked with zlib, zstd with libzstd; they are loaded for that (libraries.h).
 * Any thread may call these functions.
 */
#ifndef IMAGE_UNPACK_H
#define IMAGE_UNPACK_H

#include "image/image.h"

enum unpack_format {
    UNPACK_UNKNOWN, /* not packed, for example an ELF file */
    UNPACK_GZIP,
    UNPACK_ZSTD,
    UNPACK_TAR, /* a tar archive that is not compressed */
};

/* "gzip", "zstd", "tar". */
const char *unpack_format_name(enum unpack_format format);

/* Recognise the content. Returns 0 or -errno with *error filled (status 126: it cannot be read). */
int unpack_detect(const struct image *image, enum unpack_format *format, struct uhyve_error *error);

/*
 * Unpack everything: *data is allocated with malloc and becomes the caller's, *size is at most
 * `limit` bytes. Returns 0 or -errno with *error filled: status 126 if the file is damaged, ends
 * too early or holds more than the limit, 125 if the library for it is not installed.
 */
int unpack_all(const struct image *image, enum unpack_format format, uint64_t limit, uint8_t **data,
               size_t *size, struct uhyve_error *error);

#endif
