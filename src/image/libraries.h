/*
 * The libraries for Hermit images: libarchive, zlib and libzstd. Bare kernels need none of them,
 * and together they are larger than all of uhyve, so they are loaded when an image needs one.
 *
 * A table of functions belongs to its caller from ..._load to ..._unload, both of which any thread
 * may call. Images are read before the sandbox closes: afterwards no library could be opened.
 */
#ifndef IMAGE_LIBRARIES_H
#define IMAGE_LIBRARIES_H

#include <archive.h>
#include <archive_entry.h>
#include <zlib.h>
#include <zstd.h>

#include "uhyve.h"

struct library_archive {
    void *handle;
    __typeof__(archive_read_new) *read_new;
    __typeof__(archive_read_free) *read_free;
    __typeof__(archive_read_support_format_tar) *support_tar;
    __typeof__(archive_read_open_memory) *open_memory;
    __typeof__(archive_read_next_header) *next_header;
    __typeof__(archive_read_data_block) *data_block;
    __typeof__(archive_read_data_skip) *data_skip;
    __typeof__(archive_filter_bytes) *filter_bytes;
    __typeof__(archive_error_string) *error_string;
    __typeof__(archive_entry_pathname) *entry_pathname;
    __typeof__(archive_entry_filetype) *entry_filetype;
    __typeof__(archive_entry_hardlink) *entry_hardlink;
    __typeof__(archive_entry_size) *entry_size;
};

struct library_zlib {
    void *handle;
    __typeof__(inflateInit2_) *init;
    __typeof__(inflateReset) *reset;
    __typeof__(inflate) *inflate;
    __typeof__(inflateEnd) *end;
};

struct library_zstd {
    void *handle;
    __typeof__(ZSTD_createDStream) *create;
    __typeof__(ZSTD_freeDStream) *destroy;
    __typeof__(ZSTD_decompressStream) *decompress;
    __typeof__(ZSTD_isError) *is_error;
    __typeof__(ZSTD_getErrorName) *error_name;
};

/*
 * Load a library for the image of this path. Return 0 or -errno with *error filled (status 125: the
 * library is not installed, or too old). A table that could not be loaded needs no unloading.
 */
int library_archive_load(struct library_archive *archive, const char *path,
                         struct uhyve_error *error);
int library_zlib_load(struct library_zlib *zlib, const char *path, struct uhyve_error *error);
int library_zstd_load(struct library_zstd *zstd, const char *path, struct uhyve_error *error);

/* `handle` is that of the table; its functions must not be called any more. */
void library_unload(void *handle);

#endif
