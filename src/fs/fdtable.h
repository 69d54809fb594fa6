/*
 * The guest's file descriptors (spec/files.md section 5): one table for each VM, shared by its
 * vCPUs.
 *
 * Numbers begin with 3 and are never given twice, so a mistaken use of an old one hits nothing. The
 * table has one reference to each file; its lock is held for the look-up only. Any thread.
 */
#ifndef FS_FDTABLE_H
#define FS_FDTABLE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "fs/open_file.h"

struct fdtable {
    pthread_mutex_t lock;
    struct fdtable_entry *entries; /* sorted by number */
    size_t count, capacity;
    size_t reserved; /* places promised to calls in progress */
    size_t limit;
    uint64_t next;
};

void fdtable_init(struct fdtable *table, size_t limit);
void fdtable_destroy(struct fdtable *table); /* closes what is open */

/* A place for a file about to be opened, so that it can be refused before anything is done: 0,
 * -EMFILE or -ENOMEM. Give it back, or fill it. */
int fdtable_reserve(struct fdtable *table);
void fdtable_cancel(struct fdtable *table);

/* Takes over the reference; returns the number. */
int32_t fdtable_install(struct fdtable *table, struct open_file *file);

/* The file with a reference for the caller; NULL: there is none. */
struct open_file *fdtable_get(struct fdtable *table, int32_t number);

/* The same, and the number is free of it. */
struct open_file *fdtable_remove(struct fdtable *table, int32_t number);

#endif
