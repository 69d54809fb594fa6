/*
 * A statistical profile of the guest (--profile): where its vCPUs were when they were asked, which
 * is done at regular intervals.
 *
 * Stacks are gathered in a profile_log, one for each vCPU and written by its thread only; after the
 * run they are named and counted together in a profile, which is printed as a table, as folded
 * stacks (one line each, for other tools) or as a flame graph. Memory is bounded: when there are
 * too many different stacks, further ones are counted without their callers.
 */
#ifndef DEBUG_PROFILE_H
#define DEBUG_PROFILE_H

#include "image/symbols.h"
#include "memory/ram.h"
#include "util/text.h"

#define PROFILE_DEPTH 64 /* addresses of one stack */

/* What a vCPU was doing. */
enum profile_kind {
    PROFILE_GUEST, /* executing its code */
    PROFILE_IDLE,  /* waiting in HLT: has no stack */
    PROFILE_CALL,  /* waiting for uhyve, which executed a hypercall or an access to a device */
    PROFILE_KINDS,
};

/* A stack and how often it was seen. */
struct profile_stack {
    uint32_t count;
    uint16_t depth;
    uint8_t kind;
    uint8_t label;  /* PROFILE_CALL: which, index into the labels of profile_add */
    uint32_t first; /* index into the log's addresses, innermost first */
};

/* Starts from {0}; profile_log_free releases it. */
struct profile_log {
    struct profile_stack *stacks;
    size_t stack_count, stack_capacity;
    uint64_t *addresses;
    size_t address_count, address_capacity;
    uint32_t *table; /* open hashing: index into stacks + 1; 0: free */
    size_t table_size;
    uint64_t samples;
    uint64_t lost; /* for want of memory */
};

/* Count one sample. `stack` has the RIP first, then return addresses, innermost first. */
void profile_log_add(struct profile_log *log, enum profile_kind kind, unsigned label,
                     const uint64_t *stack, size_t depth);
void profile_log_free(struct profile_log *log);

/* A node of the tree of all calls: a function, called from the function of its parent. */
struct profile_node {
    uint32_t parent, child, sibling; /* indices; 0: none (the root is nobody's child) */
    uint32_t name;                   /* offset into profile.names */
    uint64_t self, total;            /* samples */
};

/* Starts from {0}; profile_free releases it. */
struct profile {
    struct profile_node *nodes; /* the first is the root */
    size_t count, capacity;
    char *names; /* distinct, terminated one after the other */
    size_t names_size, names_capacity;
    uint64_t kinds[PROFILE_KINDS];
    uint64_t lost;
    bool failed; /* out of memory: nothing can be printed */
};

/*
 * Add a vCPU's samples. Addresses become names of `symbols` (which has image addresses; load_offset
 * is subtracted); labels[i] names label i.
 */
void profile_add(struct profile *profile, const struct profile_log *log,
                 const struct symbols *symbols, uint64_t load_offset, const char *const *labels,
                 size_t label_count);
void profile_free(struct profile *profile);

/* Add the whole output to `text`; `rate` is in samples per second. profile_svg.c has the graph. */
void profile_format_table(const struct profile *profile, unsigned rate, unsigned cpus,
                          struct text *text);
void profile_format_folded(const struct profile *profile, struct text *text);
void profile_format_svg(const struct profile *profile, unsigned rate, struct text *text);

#endif
