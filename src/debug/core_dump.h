/*
 * A stopped guest as an ELF core file (--crash-dump), for `gdb IMAGE FILE`: registers of all vCPUs,
 * one thread each, and memory at the guest-virtual addresses at which page tables map it.
 *
 * The tables are the guest's and not trusted: the number of entries that are looked at, of segments
 * and of bytes is bounded, and a file that would become larger has the lower addresses only.
 */
#ifndef DEBUG_CORE_DUMP_H
#define DEBUG_CORE_DUMP_H

#include "arch/x86_64/state.h"
#include "memory/ram.h"
#include "sandbox/calls.h"

/* The system calls of core_dump_write. */
extern const struct sandbox_call core_dump_calls[];

struct core_cpu {
    unsigned index;
    const struct x86_state *state;
    const void *xsave; /* its XSAVE area (Intel SDM volume 1, section 13.4); NULL: not known */
    size_t xsave_size;
};

struct core_dump {
    const struct ram *ram;
    const struct core_cpu *cpus; /* the first one is the one to look at */
    size_t cpu_count;            /* at least 1 */
    int signal;                  /* that "ended" it */
    const char *name;            /* of the image's file, without a path */
    uint64_t entry;              /* address of the entry point: tells where the image was loaded */
    /* May be NULL: undo what was changed in a copy of the guest's code at `gpa`. */
    void (*original)(void *context, gpa_t gpa, void *copy, size_t size);
    void *context;
};

/*
 * Write it to `fd`, an empty file. Pages of zeros become holes. Returns 0 or -errno, with the file
 * emptied again.
 */
int core_dump_write(const struct core_dump *dump, int fd);

#endif
