/*
 * Arguments and environment, as a Hermit kernel gets them: from the device tree's bootargs, cut
 * into words like a shell does (spec/boot.md section 11.1), or by Cmdsize and Cmdval in guests
 * without an ABI tag (spec/hypercalls.md section 4.11).
 */
#ifndef GUESTS_LIB_ARGS_H
#define GUESTS_LIB_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARGS_MAX 4096

struct string_list {
    size_t count;
    const char *item[ARGS_MAX];
};

/* Filled by args_load, which must be called once, on CPU 0. The strings live forever. */
struct args {
    const char *raw;           /* bootargs as received; NULL if they came by Cmdval */
    const char *image;         /* argv[0] of Cmdval, else NULL */
    struct string_list kernel; /* words before "--" */
    struct string_list app;    /* words after "--" */
    struct string_list env;    /* NAME=value */
};

extern struct args args;

void args_load(void);

/* Application argument `index` as a number, or `otherwise` if it is missing or not a number. */
int64_t args_number(size_t index, int64_t otherwise);

/* Application argument `index`, or "" if there are fewer. */
const char *args_app(size_t index);

#endif
