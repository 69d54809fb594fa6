/*
 * Places in the source of an ELF image by its section .debug_line (DWARF 5, section 6.2, and the
 * versions 2 to 4 before it).
 *
 * Addresses are the image's own. The image is not trusted: reads stay inside of it, and the work is
 * bounded by its size, of which more than compilers need is not used.
 */
#ifndef IMAGE_LINES_H
#define IMAGE_LINES_H

#include <stddef.h>
#include <stdint.h>

#define LINES_FILE 72 /* bytes of a path that are kept, from its end */

struct line_place {
    uint64_t address;
    unsigned line; /* 0: not known */
    char file[LINES_FILE];
};

/* Fill in line and file, printable, of all places in one pass over the section. */
void lines_find(const void *image, size_t size, struct line_place *places, size_t count);

#endif
