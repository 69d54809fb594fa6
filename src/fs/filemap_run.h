/*
 * What the calls of a running guest do with its tree of names. Any thread; the map's lock is held
 * for a moment only, never during a host call.
 *
 * Paths are normalised, and names (guest_path_is_name).
 */
#ifndef FS_FILEMAP_RUN_H
#define FS_FILEMAP_RUN_H

#include <stdint.h>
#include <time.h>

#include "fs/filemap.h"

struct temp_file;

enum filemap_kind {
    FILEMAP_MISSING,   /* nothing has this name; its parent is or can become a directory */
    FILEMAP_BLOCKED,   /* what would be a directory on the way is a file */
    FILEMAP_DIRECTORY, /* exists in the tree only */
    FILEMAP_HOST,
    FILEMAP_TEMP,
    FILEMAP_BYTES,
};

/* What a path leads to. Holds a reference: filemap_entry_release. */
struct filemap_entry {
    enum filemap_kind kind;
    struct host_root *host; /* FILEMAP_HOST */
    const char *rest;       /* FILEMAP_HOST: part of the path below it, "" for the root itself */
    struct temp_file *temp; /* FILEMAP_TEMP */
    const void *data;       /* FILEMAP_BYTES */
    size_t size;
    bool created;            /* FILEMAP_DIRECTORY: by the guest, with mkdir */
    uint64_t number;         /* then, in place of an inode's number */
    struct timespec made_at; /* then */
};

void filemap_lookup(struct filemap *map, const char *path, struct filemap_entry *entry);
void filemap_entry_release(struct filemap_entry *entry);

/*
 * Give a name to what the guest created; missing directories on the way come into being. 0;
 * -EEXIST; -ENOTDIR if there is no directory on the way; -ENAMETOOLONG; -ENOSPC beyond the quota;
 * -ENOMEM. The map takes a reference of its own.
 */
int filemap_add_temp(struct filemap *map, const char *path, struct temp_file *temp);
int filemap_add_directory(struct filemap *map, const char *path);

/*
 * Remove the name of what a lookup found; nothing happens if something else has it meanwhile.
 * Directories in the tree: -EISDIR if created by the guest, -ENOTEMPTY if not empty.
 */
int filemap_remove(struct filemap *map, const char *path, const struct filemap_entry *entry);

enum filemap_type {
    FILEMAP_TYPE_UNKNOWN = 0, /* DT_... */
    FILEMAP_TYPE_DIRECTORY = 4,
    FILEMAP_TYPE_FILE = 8,
};

struct filemap_item {
    char *name;
    enum filemap_type type;
    struct host_root *host; /* referenced: ask it for the type; else NULL */
};

struct filemap_listing {
    struct filemap_item *items;
    size_t count;
    bool created; /* the directory, by the guest */
    struct quota *quota;
    size_t cost; /* what was taken of the quota */
};

/*
 * The entries of a directory in the tree, sorted by the bytes of their names. The memory they take
 * counts against `quota` until they are freed. Returns 0, -ENOENT, -ENOTDIR or -ENOMEM.
 */
int filemap_list(struct filemap *map, const char *path, struct quota *quota,
                 struct filemap_listing *listing);
void filemap_listing_free(struct filemap_listing *listing);

#endif
