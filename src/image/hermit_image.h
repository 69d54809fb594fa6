/*
 * A Hermit image (spec/files.md section 6): a packed tar archive with a kernel, its configuration
 * and the application's files, unpacked into memory.
 *
 * The structure owns everything its parts refer to. It does not change after hermit_image_read.
 */
#ifndef IMAGE_HERMIT_IMAGE_H
#define IMAGE_HERMIT_IMAGE_H

#include "image/hermit_config.h"
#include "image/tarball.h"
#include "image/unpack.h"

struct hermit_image {
    enum unpack_format format;
    uint8_t *tar; /* the archive, unpacked */
    size_t tar_size;
    struct tarball files;
    struct hermit_config config;
    const struct tarball_file *kernel;
    char *kernel_path; /* "image:kernel", for messages about the kernel */
};

/*
 * Read `file`, whose content unpack_detect found to be `format`. The archive, and all files in it
 * together, may have at most `limit` bytes each. Returns 0 or -errno with *error filled (status
 * 126). hermit_image_free releases it and may be called after a failure or on a zeroed structure.
 */
int hermit_image_read(struct hermit_image *image, const struct image *file,
                      enum unpack_format format, uint64_t limit, const struct log *log,
                      struct uhyve_error *error);
void hermit_image_free(struct hermit_image *image);

#endif
