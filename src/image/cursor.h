/*
 * Reading little-endian values one after the other from bytes that are not trusted: a read beyond
 * the end gives 0 and is remembered. For the tables of compilers (DWARF).
 */
#ifndef IMAGE_CURSOR_H
#define IMAGE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cursor {
    const uint8_t *at, *end;
    bool bad; /* something was beyond the end */
};

/* An unsigned value of `size` bytes, at most 8. */
static inline uint64_t cursor_take(struct cursor *cursor, size_t size)
{
    uint64_t value = 0;
    if ((size_t)(cursor->end - cursor->at) < size) {
        cursor->bad = true;
        cursor->at = cursor->end;
        return 0;
    }
    memcpy(&value, cursor->at, size);
    cursor->at += size;
    return value;
}

static inline void cursor_skip(struct cursor *cursor, uint64_t size)
{
    if ((uint64_t)(cursor->end - cursor->at) < size) {
        cursor->bad = true;
        size = (uint64_t)(cursor->end - cursor->at);
    }
    cursor->at += size;
}

/* A number in LEB128 (DWARF 5, section 7.6); bits beyond 64 are dropped. */
static inline uint64_t cursor_leb(struct cursor *cursor, bool is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte;

    do {
        byte = (uint8_t)cursor_take(cursor, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80 && !cursor->bad);
    if (is_signed && shift < 64 && byte & 0x40)
        value |= ~UINT64_C(0) << shift;
    return value;
}

#endif
