/*
 * Function names of an ELF image: for crash reports, the debugger and the profiler.
 *
 * All addresses here are the image's own (ELF virtual addresses): for a kernel that was relocated,
 * subtract the load offset first. The image is not trusted; nothing of it is kept, the names are
 * copied and made printable.
 *
 * The caller owns the structure. It does not change after symbols_read, so any number of threads
 * may look things up.
 */
#ifndef IMAGE_SYMBOLS_H
#define IMAGE_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Functions beyond the first so many of the symbol table, and segments beyond the first so many
 * executable ones, are left out. */
#define SYMBOLS_MAX        (1U << 20)
#define SYMBOLS_MAX_RANGES 32

/* A function, or a label of an assembler source. `size` is 0 if the image does not tell it. */
struct symbol {
    uint64_t address;
    uint64_t size; /* bytes; ends inside the executable segment it starts in */
    uint32_t name; /* offset into symbols.names */
    uint32_t rank; /* the highest of several names for one address is kept */
};

struct symbol_range {
    uint64_t start, end; /* [start, end) */
};

struct symbols {
    struct symbol *functions; /* in ascending order of their addresses, which all differ */
    size_t count;
    char *names;
    struct symbol_range executable[SYMBOLS_MAX_RANGES]; /* segments with execute permission */
    size_t range_count;
};

/*
 * Read .symtab, or .dynsym if that has no functions, of the 64-bit little-endian ELF file in
 * [data, data + size). Returns 0 (also with no symbols at all), -ENOEXEC if it is not such a file,
 * -ENOMEM. symbols_free releases it and may be called after a failure or on a zeroed structure.
 */
int symbols_read(struct symbols *symbols, const void *data, size_t size);
void symbols_free(struct symbols *symbols);

/*
 * Name of the function that `address` lies in, and how far in; NULL if there is none. A function
 * without a size extends to the next one. For a return address ask for the byte before it: a call
 * may be the last instruction of a function. The name is printable ASCII of any length.
 */
const char *symbols_find(const struct symbols *symbols, uint64_t address, uint64_t *offset);

bool symbols_is_executable(const struct symbols *symbols, uint64_t address);

#endif
