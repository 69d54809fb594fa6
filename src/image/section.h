/*
 * Sections of an ELF file by their names, for what debuggers put there.
 *
 * The file is not trusted: what comes back lies inside of it.
 */
#ifndef IMAGE_SECTION_H
#define IMAGE_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of a compiler's table that is used: to go through more would take too long. */
#define SECTION_TABLE_MAX (16U << 20)

struct image_section {
    const uint8_t *data; /* in the file; NULL: there is none */
    size_t size;
    uint64_t address; /* in the image; 0 if it is not loaded */
};

/* The section of this name in the 64-bit little-endian ELF file; an empty one if there is none, or
 * if it is compressed. */
struct image_section section_find(const void *image, size_t size, const char *name);

#endif
