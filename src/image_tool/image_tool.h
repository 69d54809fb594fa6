/*
 * The program uhyve-image: makes Hermit images and shows what is in them (uhyve-image(1)).
 *
 * main.c reads the command line, files.c finds what goes into an image, build.c checks it and has
 * pack.c pack it, show.c prints.
 */
#ifndef IMAGE_TOOL_H
#define IMAGE_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uhyve.h"
#include "util/log.h"
#include "util/text.h"

struct build_options {
    const char *directory; /* what goes into the image */
    const char *output;    /* the image */
    bool zstd;             /* else gzip */
    bool force;            /* replace an existing output */
};

/*
 * Check the directory and pack it. The output comes into being complete or not at all. Returns 0
 * or -errno with *error filled.
 */
int build_image(const struct build_options *options, const struct log *log,
                struct uhyve_error *error);

struct show_options {
    const char *image;
    bool json;
    uint64_t limit; /* bytes the image may have when it is unpacked */
};

/* Describe the image in `text`. Returns 0 or -errno with *error filled. */
int show_image(const struct show_options *options, const struct log *log, struct text *text,
               struct uhyve_error *error);

/* A regular file of the directory. */
struct source_file {
    char *name; /* in the image: "dir/file" */
    char *path; /* on the host */
};

struct source_files {
    struct source_file *items; /* sorted by name */
    size_t count, capacity;
};

/*
 * Find the regular files below `directory`, through links to files. `skip` is left out if it is
 * among them; it need not exist. Returns 0 or -errno with *error filled.
 */
int source_files_find(struct source_files *files, const char *directory, const char *skip,
                      struct uhyve_error *error);
void source_files_free(struct source_files *files);

/* The file with this name, written like any guest path; NULL if there is none. */
const struct source_file *source_files_get(const struct source_files *files, const char *name);

#endif
