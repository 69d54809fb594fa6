/*
 * The flattened device tree that tells a kernel its memory, CPUs, clock and command line
 * (spec/boot.md section 11). Written with libfdt.
 */
#ifndef BOOT_FDT_H
#define BOOT_FDT_H

#include <stddef.h>
#include <stdint.h>

#include "memory/ram.h"

struct fdt_content {
    gpa_t ram_base;
    uint64_t ram_size;
    unsigned cpu_count;
    uint32_t tsc_khz; /* 0: unknown, no node */
    const char *bootargs;
    const char *mounts;    /* directories, each with its terminating NUL */
    size_t mounts_size;    /* 0: none, no node */
    gpa_t archive;         /* a Hermit image in memory, which the kernel is not to overwrite */
    uint64_t archive_size; /* bytes; 0: none */
};

/* Upper bound of the tree's size in bytes, for choosing where it goes. */
uint64_t fdt_size_bound(unsigned cpu_count, size_t bootargs_length, size_t mounts_size);

/* Write the tree into `capacity` bytes at `to`. Returns 0, or -ENOSPC if it does not fit. */
int fdt_write(void *to, uint64_t capacity, const struct fdt_content *content);

#endif
