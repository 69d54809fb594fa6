/*
 * Inside of the file map: what filemap.c and mounts.c share. Nobody else includes this.
 */
#ifndef FS_FILEMAP_TREE_H
#define FS_FILEMAP_TREE_H

#include <pthread.h>

#include "fs/filemap_run.h"

/* What each name that a guest creates takes of its quota: it costs the host memory and, on most
 * file systems, a block. */
#define FILEMAP_ENTRY_COST 4096

/* How many names a guest can create, for what they cost in memory. */
#define FILEMAP_CREATED_MAX 131072

/* Longest name of one file or directory, as on the host: bytes. */
#define FILEMAP_NAME_MAX 255

struct node {
    enum filemap_kind kind; /* DIRECTORY, HOST, TEMP or BYTES */

    /* DIRECTORY: sorted by the bytes of their names */
    struct node **children;
    size_t count, capacity;
    bool created;
    struct timespec made_at;

    struct host_root *host; /* HOST: a reference */
    struct temp_file *temp; /* TEMP: a reference */
    const void *data;       /* BYTES: borrowed */
    size_t data_size;

    uint64_t number;
    bool charged; /* to the quota */
    size_t size;  /* of the name, without the terminator */
    char name[];
};

struct filemap {
    struct quota *quota;
    pthread_mutex_t lock; /* guards the tree once the guest runs */
    struct node *root;
    uint64_t last_number;
    size_t created; /* nodes that are charged */
};

/* The child with this name or NULL; *place is where it is or would be. */
struct node *node_find(const struct node *directory, const char *name, size_t size, size_t *place);

#endif
