/*
 * hermit.toml, the configuration inside a Hermit image (spec/files.md section 6.2): which file is
 * the kernel, what it is to be given, and what it needs. Untrusted like the rest of the image.
 *
 * The structure owns its strings; it does not change after hermit_config_read.
 */
#ifndef IMAGE_HERMIT_CONFIG_H
#define IMAGE_HERMIT_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "uhyve.h"

#define HERMIT_CONFIG_NAME "hermit.toml"

struct toml;

struct hermit_words {
    const char **items;
    size_t count;
};

struct hermit_config {
    struct toml *toml;  /* the strings are in it */
    const char *kernel; /* path in the image, as written */
    struct hermit_words kernel_args, app_args;
    struct hermit_words env; /* as written: not all need be NAME=value */
    uint64_t memory;         /* bytes the guest needs; 0: not said */
    uint32_t cpus;           /* likewise */
};

/*
 * Read and check the file in [data, data + size). `path` is the image's, for messages, which also
 * name the line. Unknown keys are ignored. Returns 0 or -errno with *error filled (status 126).
 * hermit_config_free releases it and may be called after a failure or on a zeroed structure.
 */
int hermit_config_read(struct hermit_config *config, const char *path, const void *data,
                       size_t size, struct uhyve_error *error);
void hermit_config_free(struct hermit_config *config);

#endif
