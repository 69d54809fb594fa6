/*
 * Tar archives for tests, right and wrong ones, and their compressed forms.
 */
#ifndef TAR_BUILDER_H
#define TAR_BUILDER_H

#include <stddef.h>
#include <stdint.h>

#include "util/text.h"

#define TAR_BLOCK 512

/* Start from {0}; text_free releases it. */
struct tar_builder {
    struct text bytes;
};

/* Add a header with a right checksum. `type` is '0' for a file, '5' a directory, '2' a link, 'L' a
 * GNU long name, 'x' a pax header. */
void tar_add_header(struct tar_builder *tar, const char *name, char type, uint64_t size);

/* Add bytes and fill their last block up. */
void tar_add_content(struct tar_builder *tar, const void *bytes, size_t size);

/* Both. */
void tar_add(struct tar_builder *tar, const char *name, char type, const char *content);

/* The two blocks of zeros behind the last entry. */
void tar_end(struct tar_builder *tar);

/* Make the checksum of the header at `offset` right again. */
void tar_fix_checksum(struct tar_builder *tar, size_t offset);

/* Compressed copies, to be released with text_free. compress_zstd returns false where libzstd is
 * missing. */
void compress_gzip(struct text *to, const void *bytes, size_t size);
bool compress_zstd(struct text *to, const void *bytes, size_t size);

#endif
