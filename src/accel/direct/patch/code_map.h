/*
 * Where an ELF image has code: the executable sections (or segments, if it has no section headers),
 * and the symbols in them that tell functions from data. What the sweep goes by.
 *
 * The image is not trusted; wrong headers only mislead the guest that was built that way. Owns its
 * lists; does not change after code_map_read, for any thread.
 */
#ifndef DIRECT_PATCH_CODE_MAP_H
#define DIRECT_PATCH_CODE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "accel/direct/patch/plan.h"

#define CODE_MAP_RANGES 64

struct code_map {
    struct plan_range ranges[CODE_MAP_RANGES]; /* ascending, not overlapping */
    size_t range_count;
    struct sweep_symbol *symbols; /* ascending, in guest addresses */
    size_t symbol_count;
};

/* The file: `size` bytes, read in pieces. `read` returns 0 or -errno. */
struct code_map_file {
    int (*read)(const void *context, uint64_t offset, void *to, size_t size);
    const void *context;
    uint64_t size;
};

/*
 * Read a 64-bit little-endian ELF file, whose `size` bytes from vaddr `start` on the guest sees at
 * `address`. Only headers and the symbol table are read. Returns 0, -ENOEXEC,
 * -ENOMEM, or what `read` returned.
 * code_map_free releases it and may be called after a failure or on a zeroed structure.
 */
int code_map_read(struct code_map *map, const struct code_map_file *file, uint64_t start,
                  uint64_t size, uint64_t address);
void code_map_free(struct code_map *map);

#endif
