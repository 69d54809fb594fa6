/*
 * The files in a tar archive in memory (spec/files.md section 6.1), read with libarchive: ustar,
 * GNU and pax, with long names and sparse files. The archive is untrusted: its size is the
 * caller's affair, the number of files and their names are bounded here.
 *
 * Only regular files count. Directories follow from the names; links and special files are left
 * out, which a warning tells. Names are in the normal form of guest paths (fs/guest_path.h): of
 * several files with one name the last one counts; a name that leads out of the archive, or that
 * is needed as a directory too, is an error.
 *
 * The caller owns the structure, which refers to the archive's bytes. It does not change after
 * tarball_read, so any thread may look things up.
 */
#ifndef IMAGE_TARBALL_H
#define IMAGE_TARBALL_H

#include <stddef.h>
#include <stdint.h>

#include "util/log.h"

/* More entries than this, or longer names, are an error. */
#define TARBALL_ENTRIES_MAX 131072
#define TARBALL_NAME_MAX    4095 /* bytes */

struct tarball_file {
    const char *name; /* "dir/file", UTF-8 */
    const uint8_t *data;
    size_t size; /* bytes */
};

struct tarball {
    struct tarball_file *files; /* sorted by directory and name; all names differ */
    size_t count, capacity;
    struct tarball_memory *memory; /* names, and files that are not in one piece in the archive */
};

/*
 * Read the archive in [data, data + size), which must outlive the result. `path` is the image's,
 * for messages. All files together may have at most `limit` bytes: a sparse file can be larger than
 * its archive. Returns 0 or -errno with *error filled (status 126). tarball_free releases it and
 * may be called after a failure or on a zeroed structure.
 */
int tarball_read(struct tarball *tarball, const char *path, const void *data, size_t size,
                 uint64_t limit, const struct log *log, struct uhyve_error *error);
void tarball_free(struct tarball *tarball);

/* The file with this name, which may be written like any guest path ("/dir/./file"); NULL if there
 * is none. */
const struct tarball_file *tarball_find(const struct tarball *tarball, const char *name);

#endif
