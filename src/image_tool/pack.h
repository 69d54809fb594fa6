/*
 * Writing a packed tar archive as a stream: ustar, which is all that every reader of images
 * understands, with gzip or zstd. The output depends on names and contents only.
 *
 * The packer owns its state, not the descriptor. One thread.
 */
#ifndef IMAGE_TOOL_PACK_H
#define IMAGE_TOOL_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct packer;

/* NULL without memory. `fd` stays the caller's. */
struct packer *packer_create(int fd, bool zstd);

/*
 * Start a file: exactly `size` bytes must follow. Returns 0, -ENAMETOOLONG or -EOVERFLOW if it does
 * not fit into a ustar header, or another -errno.
 */
int packer_add(struct packer *packer, const char *name, uint64_t size);

/* Bytes of the current file. Returns 0 or -errno. */
int packer_write(struct packer *packer, const void *bytes, size_t size);

/* The end of the archive. Returns 0 or -errno. */
int packer_finish(struct packer *packer);

void packer_destroy(struct packer *packer);

#endif
