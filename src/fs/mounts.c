/*
 * Which directories a kernel is told to mount (spec/files.md sections 3.1 and 3.2).
 *
 * A kernel panics if it cannot mount one. It cannot where it has a directory of its own already
 * (/tmp, /proc, and /dev with everything in it), and not below another mount. So the topmost
 * directories are announced, and of those the kernel has, the directories in them.
 */
#include <string.h>

#include "fs/filemap_tree.h"

static bool is_one_of(const char *path, const char *const *paths)
{
    for (; *paths; paths++)
        if (strcmp(path, *paths) == 0)
            return true;
    return false;
}

static void warn_unreachable(const struct log *log, const char *path, const char *why)
{
    log_warn(log, "'%s' is mapped, but programs in the guest cannot reach it: %s", path, why);
}

static bool is_host_directory(const struct node *node)
{
    struct host_root_view view;
    if (node->kind != FILEMAP_HOST)
        return false;
    host_root_describe(node->host, &view);
    return view.kind == HOST_ROOT_DIRECTORY;
}

/* Does a directory have something directly in it that only a mount of it makes visible? */
static bool holds_files(const struct node *directory)
{
    for (size_t i = 0; i < directory->count; i++) {
        const struct node *node = directory->children[i];
        if (node->kind != FILEMAP_DIRECTORY && !is_host_directory(node))
            return true;
    }
    return false;
}

struct listing {
    const struct log *log;
    struct text *mounts;
    struct text path; /* of the node being looked at */
};

/* Files in a directory that cannot be mounted. What came with the image was not asked for. */
static void warn_about_files(struct listing *listing, const struct node *directory, const char *why)
{
    size_t size = listing->path.size;
    for (size_t i = 0; i < directory->count; i++) {
        const struct node *node = directory->children[i];
        if (node->kind != FILEMAP_HOST || is_host_directory(node))
            continue;
        text_printf(&listing->path, "/%s", node->name);
        warn_unreachable(listing->log, listing->path.data ? listing->path.data : node->name, why);
        listing->path.size = size;
    }
}

static void visit(struct listing *listing, const struct node *node);

static void visit_children(struct listing *listing, const struct node *directory)
{
    size_t size = listing->path.size;
    for (size_t i = 0; i < directory->count; i++) {
        text_printf(&listing->path, "/%s", directory->children[i]->name);
        if (!listing->path.failed)
            visit(listing, directory->children[i]);
        listing->path.size = size;
    }
}

static void visit(struct listing *listing, const struct node *node)
{
    static const char *const taken[] = {"/tmp", "/proc", NULL};
    static const char *const why = "the kernel keeps this directory for itself (map it elsewhere)";
    bool mountable = is_host_directory(node) ||
                     (node->kind == FILEMAP_DIRECTORY && holds_files(node));
    const char *path = listing->path.data;

    if (node->kind != FILEMAP_DIRECTORY && !mountable)
        return;
    if (strcmp(path, "/dev") == 0) {
        warn_unreachable(listing->log, path, why);
    } else if (!mountable) {
        visit_children(listing, node);
    } else if (!is_one_of(path, taken)) {
        text_add_bytes(listing->mounts, path, strlen(path) + 1);
    } else if (node->kind == FILEMAP_HOST) {
        warn_unreachable(listing->log, path, why);
    } else {
        warn_about_files(listing, node, why);
        visit_children(listing, node);
    }
}

void filemap_list_mounts(const struct filemap *map, const struct log *log, struct text *mounts)
{
    struct listing listing = {log, mounts, {0}};

    warn_about_files(&listing, map->root,
                     "kernels mount directories only (map it as /some/directory/name)");
    visit_children(&listing, map->root);
    mounts->failed |= listing.path.failed;
    text_free(&listing.path);
}
