/*
 * What most targets need: the input as a sequence of numbers, and the assertion of a fuzz target,
 * which also holds in builds without assert.
 */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct input {
    const uint8_t *bytes;
    size_t size;
};

/* The assertion: ends the program and says where, so that a finding can be told from others. */
#define require(holds) ((holds) ? (void)0 : require_failed(#holds, __FILE__, __LINE__))

static inline void __attribute__((noreturn))
require_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "ERROR: %s:%d: not so: %s\n", file, line, what);
    abort();
}

/* The next `size` bytes, 8 at most, as a number; zeros where the input ends. */
static inline uint64_t take(struct input *input, size_t size)
{
    uint64_t value = 0;

    size = size < input->size ? size : input->size;
    if (size)
        memcpy(&value, input->bytes, size);
    input->bytes += size;
    input->size -= size;
    return value;
}

/* The next bytes as they are: at most `size` of them, cut where the input ends. */
static inline struct input take_bytes(struct input *input, size_t size)
{
    struct input part = {input->bytes, size < input->size ? size : input->size};

    input->bytes += part.size;
    input->size -= part.size;
    return part;
}

#endif
