/*
 * Arithmetic on values that a guest or a file chose: true means the result did not fit.
 */
#ifndef UTIL_CHECKED_H
#define UTIL_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

#define checked_add(a, b, result) __builtin_add_overflow(a, b, result)
#define checked_sub(a, b, result) __builtin_sub_overflow(a, b, result)
#define checked_mul(a, b, result) __builtin_mul_overflow(a, b, result)

/* True if [offset, offset + size) lies inside [0, limit). An empty range may end at the limit. */
static inline bool range_inside(uint64_t offset, uint64_t size, uint64_t limit)
{
    return offset <= limit && size <= limit - offset;
}

/* `alignment` is a power of two. Returns true on overflow. */
static inline bool checked_align_up(uint64_t value, uint64_t alignment, uint64_t *result)
{
    if (__builtin_add_overflow(value, alignment - 1, result))
        return true;
    *result &= ~(alignment - 1);
    return false;
}

static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

#endif
