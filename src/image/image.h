/*
 * The file a VM is made from: opened once, read in pieces with bounds checks.
 *
 * Pieces are copied out with pread rather than mapped: a file that somebody truncates or rewrites
 * meanwhile then gives a short read instead of a SIGBUS or values that change after they were
 * checked. The VM owns its image; functions may be called from any thread.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "sandbox/calls.h"
#include "uhyve.h"

extern const struct sandbox_call image_calls[];

struct image {
    const char *path; /* borrowed, for messages */
    int fd;           /* -1: the content is in memory */
    const uint8_t *data;
    uint64_t size; /* bytes */
};

/*
 * Open the regular file at `path`. Returns 0 or -errno with *error filled (status 127 if there is
 * no such file, 126 if it cannot be used). image_close releases it.
 */
int image_open(struct image *image, const char *path, struct uhyve_error *error);

/* An image whose content is the caller's buffer, which must outlive it. */
void image_from_memory(struct image *image, const char *path, const void *data, size_t size);

void image_close(struct image *image);

/*
 * Copy [offset, offset + size) to `to`. Returns 0, or -errno with *error filled (status 126) if the
 * file is shorter or cannot be read; `what` names the piece in the message.
 */
int image_read(const struct image *image, uint64_t offset, void *to, uint64_t size,
               const char *what, struct uhyve_error *error);

#endif
