/*
 * Guest memory, and the one checked way to it.
 *
 * A VM has one contiguous range of guest-physical addresses [base, base + size). Every address that
 * a guest supplies goes through ram_at (a host pointer for a range, or NULL) or the copying
 * functions below, which are overflow-safe. Other vCPUs may change guest memory at any moment: copy
 * a parameter block in, validate the copy, use the copy.
 *
 * The VM owns its RAM; the functions may be called from any thread while it lives.
 */
#ifndef MEMORY_RAM_H
#define MEMORY_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uhyve.h"
#include "util/checked.h"

typedef uint64_t gpa_t; /* guest-physical address */
typedef uint64_t gva_t; /* guest-virtual address */

struct ram {
    gpa_t base;
    uint64_t size; /* bytes */
    uint8_t *host; /* where the VMM sees it; aligned to 2 MiB, so that huge pages fit */
    int fd;        /* shared RAM: the file it is made of, whose offset 0 is `base` */
    bool shared;
};

struct ram_options {
    bool thp;    /* ask for transparent huge pages */
    bool ksm;    /* allow merging of equal pages */
    bool shared; /* make it of a file of fixed size that another process can map */
};

/*
 * Reserve `size` bytes (a multiple of the page size); pages come into being when touched and read
 * as zero. Returns 0 or -errno with *error filled. ram_free releases it and may be called on a
 * zeroed structure.
 */
int ram_alloc(struct ram *ram, gpa_t base, uint64_t size, const struct ram_options *options,
              struct uhyve_error *error);
void ram_free(struct ram *ram);

/* Host address of [gpa, gpa + size) if all of it is guest RAM, else NULL. An empty range may end at
 * the end of RAM. */
static inline void *ram_at(const struct ram *ram, gpa_t gpa, uint64_t size)
{
    uint64_t offset;
    if (checked_sub(gpa, ram->base, &offset) || !range_inside(offset, size, ram->size))
        return NULL;
    return ram->host + offset;
}

/* Copy between the VMM and guest RAM. False, with nothing copied, if the range is not all guest
 * RAM. */
bool ram_read(const struct ram *ram, gpa_t gpa, void *to, size_t size);
bool ram_write(const struct ram *ram, gpa_t gpa, const void *from, size_t size);

/*
 * Copy a terminated string of the guest into `to` (`capacity` bytes, terminator included). Returns
 * its length, -EFAULT if it starts outside RAM or runs out of it, -ENAMETOOLONG if it does not fit.
 */
int ram_read_string(const struct ram *ram, gpa_t gpa, char *to, size_t capacity);

#endif
