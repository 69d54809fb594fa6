/*
 * Hypercalls: what a guest asks of the VMM by writing to a port (spec/hypercalls.md).
 *
 * Both generations are always accepted. Every call runs on the thread of the calling vCPU.
 * Parameter blocks are copied in, checked, and only result fields are copied out. A call that
 * cannot be answered because its block is not in guest memory is dropped with a message; nothing a
 * guest passes ends or blocks the VMM.
 */
#ifndef HYPERCALL_HYPERCALL_H
#define HYPERCALL_HYPERCALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/ram.h"
#include "util/log.h"

struct console;
struct files;

struct string_list {
    const char **items;
    size_t count;
};

/* What the calls of one VM work on. Owned by the VM; the pointers are borrowed. */
struct hypercall_context {
    const struct ram *ram;
    const struct log *log;
    struct console *console;
    struct files *files;
    struct string_list arguments;   /* interface 1: argv, at most HERMIT_V1_MAX_STRINGS */
    struct string_list environment; /* interface 1: NAME=value, likewise */
    struct log_limit bad_block;
    struct log_limit bad_width;
    struct log_limit lost_write;
};

/* Who calls. */
struct hypercall_caller {
    /* Page-table base of the calling vCPU, for the guest-virtual buffers of interface 1. */
    bool (*page_tables)(void *vcpu, uint64_t *cr3);
    void *vcpu;
};

enum hypercall_outcome {
    HYPERCALL_DONE,
    HYPERCALL_EXIT, /* the guest ends the VM */
};

struct hypercall;

/* The call behind a port, or NULL. */
const struct hypercall *hypercall_find(uint16_t port);

/* Calls have numbers below hypercall_count(), not all of which are used; for statistics. */
size_t hypercall_count(void);
unsigned hypercall_number(const struct hypercall *call);
const char *hypercall_name(unsigned number); /* "Hypercall(V1(FileOpen))"; NULL: not used */

/* A port write as it arrived: `count` elements of `size` bytes at `data`, and register RDI. */
struct hypercall_write {
    uint8_t size;
    uint32_t count;
    const uint8_t *data;
    uint64_t rdi;
};

/* Carry out the call. *exit_code is set for HYPERCALL_EXIT. */
enum hypercall_outcome hypercall_run(const struct hypercall *call,
                                     struct hypercall_context *context,
                                     const struct hypercall_caller *caller,
                                     const struct hypercall_write *write, int *exit_code);

#endif
