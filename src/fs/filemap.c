#include "fs/filemap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "fs/filemap_tree.h"
#include "fs/guest_path.h"
#include "fs/quota.h"
#include "fs/temp_file.h"
#include "hermit/hypercall.h"
#include "util/error.h"

/* The order is that of the bytes, so a listing is sorted too. */
static int compare(const char *name, size_t size, const struct node *node)
{
    int order = memcmp(name, node->name, size < node->size ? size : node->size);
    return order ? order : (size > node->size) - (size < node->size);
}

struct node *node_find(const struct node *directory, const char *name, size_t size, size_t *place)
{
    size_t low = 0, high = directory->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(name, size, directory->children[middle]);
        if (order == 0) {
            *place = middle;
            return directory->children[middle];
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    *place = low;
    return NULL;
}

static struct node *node_new(enum filemap_kind kind, const char *name, size_t size)
{
    struct node *node = calloc(1, sizeof *node + size + 1);
    if (!node)
        return NULL;
    node->kind = kind;
    node->size = size;
    memcpy(node->name, name, size);
    return node;
}

static bool node_insert(struct node *directory, struct node *node, size_t place)
{
    if (directory->count == directory->capacity) {
        size_t capacity = directory->capacity ? 2 * directory->capacity : 4;
        struct node **children = reallocarray(directory->children, capacity, sizeof *children);
        if (!children)
            return false;
        directory->children = children;
        directory->capacity = capacity;
    }
    memmove(&directory->children[place + 1], &directory->children[place],
            (directory->count - place) * sizeof *directory->children);
    directory->children[place] = node;
    directory->count++;
    return true;
}

/* A node without children. */
static void node_free(struct filemap *map, struct node *node)
{
    if (node->charged) {
        quota_give(map->quota, FILEMAP_ENTRY_COST);
        map->created--;
    }
    host_root_release(node->host);
    temp_file_release(node->temp);
    free(node->children);
    free(node);
}

static void node_remove(struct filemap *map, struct node *directory, size_t place)
{
    node_free(map, directory->children[place]);
    directory->count--;
    memmove(&directory->children[place], &directory->children[place + 1],
            (directory->count - place) * sizeof *directory->children);
}

/* Depth first; a path has too few components to overflow a stack. */
static void free_tree(struct filemap *map, struct node *node)
{
    for (size_t i = 0; i < node->count; i++)
        free_tree(map, node->children[i]);
    node_free(map, node);
}

struct filemap *filemap_create(struct quota *quota)
{
    struct filemap *map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    map->quota = quota;
    map->root = node_new(FILEMAP_DIRECTORY, "", 0);
    if (!map->root) {
        free(map);
        return NULL;
    }
    pthread_mutex_init(&map->lock, NULL);
    return map;
}

void filemap_destroy(struct filemap *map)
{
    if (!map)
        return;
    free_tree(map, map->root);
    pthread_mutex_destroy(&map->lock);
    free(map);
}

/* Where a walk along a path ended. */
struct walk {
    struct node *directory; /* the last one reached */
    struct node *node;      /* the entry of that directory that the path names next, or NULL */
    size_t place;           /* of it, or where it would be */
    const char *name;       /* its name, in the path */
    size_t size;
    const char *rest; /* what follows in the path, "" if nothing does */
};

/* Go down as long as there are directories. */
static void walk(const struct filemap *map, const char *path, struct walk *walk)
{
    walk->node = map->root;
    walk->rest = path;
    do {
        walk->directory = walk->node;
        walk->name = walk->rest;
        walk->size = strcspn(walk->name, "/");
        walk->rest = walk->name + walk->size + (walk->name[walk->size] == '/');
        walk->node = node_find(walk->directory, walk->name, walk->size, &walk->place);
    } while (walk->node && walk->node->kind == FILEMAP_DIRECTORY && *walk->rest);
}

/* What is at the end of a path: takes references. */
static void describe(const struct walk *walk, struct filemap_entry *entry)
{
    const struct node *node = walk->node;

    *entry = (struct filemap_entry){.kind = FILEMAP_MISSING, .rest = walk->rest};
    if (!node)
        return;
    if (*walk->rest && node->kind != FILEMAP_HOST) {
        entry->kind = FILEMAP_BLOCKED;
        return;
    }
    entry->kind = node->kind;
    entry->host = node->host ? host_root_hold(node->host) : NULL;
    entry->temp = node->temp ? temp_file_hold(node->temp) : NULL;
    entry->data = node->data;
    entry->size = node->data_size;
    entry->created = node->created;
    entry->number = node->number;
    entry->made_at = node->made_at;
}

void filemap_lookup(struct filemap *map, const char *path, struct filemap_entry *entry)
{
    struct walk at;

    pthread_mutex_lock(&map->lock);
    walk(map, path, &at);
    describe(&at, entry);
    pthread_mutex_unlock(&map->lock);
}

void filemap_entry_release(struct filemap_entry *entry)
{
    host_root_release(entry->host);
    temp_file_release(entry->temp);
    entry->host = NULL;
    entry->temp = NULL;
}

/* Take back the directories that an insertion made before it failed: the deepest is the last that
 * is empty. */
static void undo_directories(struct filemap *map, const char *path, unsigned made)
{
    struct walk at;

    while (made--) {
        /* The path of the deepest directory that is there. */
        walk(map, path, &at);
        struct node *parent = at.directory;
        struct node *grandparent = map->root;
        const char *name = path;
        size_t place;
        for (;;) {
            size_t size = strcspn(name, "/");
            struct node *next = node_find(grandparent, name, size, &place);
            if (next == parent)
                break;
            grandparent = next;
            name += size + 1;
        }
        node_remove(map, grandparent, place);
    }
}

/*
 * Put a new node at a path and create the directories on the way. `charged` takes what is created
 * from the guest's quota. On success *result is the node.
 */
static int insert(struct filemap *map, const char *path, enum filemap_kind kind, bool charged,
                  struct node **result)
{
    struct walk at;
    unsigned made = 0;
    int err;

    for (;;) {
        walk(map, path, &at);
        bool last = !*at.rest;
        if (at.node) {
            err = last ? -EEXIST : -ENOTDIR;
            break;
        }
        if (at.size > FILEMAP_NAME_MAX) {
            err = -ENAMETOOLONG;
            break;
        }
        if (charged &&
            (map->created == FILEMAP_CREATED_MAX || !quota_take(map->quota, FILEMAP_ENTRY_COST))) {
            err = -ENOSPC;
            break;
        }
        struct node *node = node_new(last ? kind : FILEMAP_DIRECTORY, at.name, at.size);
        if (!node || !node_insert(at.directory, node, at.place)) {
            free(node);
            if (charged)
                quota_give(map->quota, FILEMAP_ENTRY_COST);
            err = -ENOMEM;
            break;
        }
        node->charged = charged;
        map->created += charged;
        node->number = ++map->last_number;
        if (last) {
            *result = node;
            return 0;
        }
        made++;
    }
    undo_directories(map, path, made);
    return err;
}

int filemap_add_temp(struct filemap *map, const char *path, struct temp_file *temp)
{
    struct node *node;

    pthread_mutex_lock(&map->lock);
    int err = insert(map, path, FILEMAP_TEMP, true, &node);
    if (!err)
        node->temp = temp_file_hold(temp);
    pthread_mutex_unlock(&map->lock);
    return err;
}

int filemap_add_directory(struct filemap *map, const char *path)
{
    struct node *node;

    pthread_mutex_lock(&map->lock);
    int err = insert(map, path, FILEMAP_DIRECTORY, true, &node);
    if (!err) {
        node->created = true;
        clock_gettime(CLOCK_REALTIME, &node->made_at);
    }
    pthread_mutex_unlock(&map->lock);
    return err;
}

int filemap_remove(struct filemap *map, const char *path, const struct filemap_entry *entry)
{
    struct walk at;
    int err = 0;

    pthread_mutex_lock(&map->lock);
    walk(map, path, &at);
    struct node *node = at.node;
    bool same = node && !*at.rest && node->kind == entry->kind && node->host == entry->host &&
                node->temp == entry->temp && node->data == entry->data;
    if (!same)
        err = -ENOENT;
    else if (node->kind == FILEMAP_DIRECTORY && node->created)
        err = -EISDIR;
    else if (node->kind == FILEMAP_DIRECTORY && node->count)
        err = -ENOTEMPTY;
    else
        node_remove(map, at.directory, at.place);
    pthread_mutex_unlock(&map->lock);
    return err;
}

static int list(const struct node *directory, struct filemap_listing *listing)
{
    size_t cost = 0;

    for (size_t i = 0; i < directory->count; i++)
        cost += sizeof *listing->items + directory->children[i]->size + 1;
    if (!quota_take(listing->quota, cost))
        return -ENOMEM;
    listing->cost = cost;
    listing->created = directory->created;
    listing->items = calloc(directory->count + 1, sizeof *listing->items);
    if (!listing->items)
        return -ENOMEM;
    for (size_t i = 0; i < directory->count; i++) {
        const struct node *node = directory->children[i];
        struct filemap_item *item = &listing->items[listing->count++];
        item->name = strdup(node->name);
        if (!item->name)
            return -ENOMEM;
        item->host = node->host ? host_root_hold(node->host) : NULL;
        item->type = node->kind == FILEMAP_DIRECTORY ? FILEMAP_TYPE_DIRECTORY : FILEMAP_TYPE_FILE;
    }
    return 0;
}

int filemap_list(struct filemap *map, const char *path, struct quota *quota,
                 struct filemap_listing *listing)
{
    struct walk at;
    int err;

    *listing = (struct filemap_listing){.quota = quota};
    pthread_mutex_lock(&map->lock);
    walk(map, path, &at);
    if (!at.node)
        err = -ENOENT;
    else if (*at.rest || at.node->kind != FILEMAP_DIRECTORY)
        err = -ENOTDIR;
    else
        err = list(at.node, listing);
    pthread_mutex_unlock(&map->lock);
    if (err)
        filemap_listing_free(listing);
    return err;
}

void filemap_listing_free(struct filemap_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++) {
        free(listing->items[i].name);
        host_root_release(listing->items[i].host);
    }
    free(listing->items);
    quota_give(listing->quota, listing->cost);
    *listing = (struct filemap_listing){.quota = listing->quota};
}

/* Set-up. */

static int refuse(struct uhyve_error *error, const char *guest_path, int err)
{
    switch (err) {
    case -EEXIST:
        return error_set(
            error, UHYVE_STATUS_USAGE, EEXIST,
            "two files or directories are to be '%s' in the guest (give each a name of "
            "its own)",
            guest_path);
    case -ENOTDIR:
        return error_set(error, UHYVE_STATUS_USAGE, ENOTDIR,
                         "'%s' in the guest would be inside of something that is mapped as a whole "
                         "(map it outside of that)",
                         guest_path);
    case -EINVAL:
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "'%s' cannot be the name of a file in the guest (write a path such as "
                         "/data/file)",
                         guest_path);
    case -ENAMETOOLONG:
        return error_set(
            error, UHYVE_STATUS_USAGE, ENAMETOOLONG,
            "a name for a file in the guest is too long: '%.80s...' (at most %d bytes in "
            "all, %d between slashes)",
            guest_path, HERMIT_PATH_MAX - 1, FILEMAP_NAME_MAX);
    default:
        return error_set(error, UHYVE_STATUS_FAILED, -err, "cannot map files into the guest: %s",
                         strerror(-err));
    }
}

static int insert_initial(struct filemap *map, const char *guest_path, enum filemap_kind kind,
                          struct node **node, struct uhyve_error *error)
{
    char path[HERMIT_PATH_MAX];

    int err = guest_path_normalize(guest_path, path, sizeof path);
    if (!err && !guest_path_is_name(path))
        err = -EINVAL;
    if (!err) {
        pthread_mutex_lock(&map->lock);
        err = insert(map, path, kind, false, node);
        pthread_mutex_unlock(&map->lock);
    }
    return err ? refuse(error, guest_path, err) : 0;
}

int filemap_add_host(struct filemap *map, const struct uhyve_file_mapping *mapping, bool confined,
                     struct uhyve_error *error)
{
    struct host_root *root;
    struct node *node;

    int err = host_root_open(mapping, confined, &root, error);
    if (err)
        return err;
    err = insert_initial(map, mapping->guest, FILEMAP_HOST, &node, error);
    if (err)
        host_root_release(root);
    else
        node->host = root;
    return err;
}

int filemap_add_bytes(struct filemap *map, const char *guest_path, const void *data, size_t size,
                      struct uhyve_error *error)
{
    struct node *node;

    int err = insert_initial(map, guest_path, FILEMAP_BYTES, &node, error);
    if (!err) {
        node->data = data;
        node->data_size = size;
    }
    return err;
}

static const struct node *nth_host(const struct node *node, size_t *n)
{
    if (node->kind == FILEMAP_HOST && (*n)-- == 0)
        return node;
    for (size_t i = 0; i < node->count; i++) {
        const struct node *found = nth_host(node->children[i], n);
        if (found)
            return found;
    }
    return NULL;
}

struct host_root *filemap_next_host(const struct filemap *map, size_t *position)
{
    size_t n = *position;
    const struct node *node = nth_host(map->root, &n);
    if (!node)
        return NULL;
    ++*position;
    return node->host;
}

bool filemap_next_root(const struct filemap *map, size_t *position, struct host_root_view *view)
{
    const struct host_root *root = filemap_next_host(map, position);
    if (root)
        host_root_describe(root, view);
    return root != NULL;
}
