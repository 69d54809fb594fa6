#include "fs/host_root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/beneath.h"
#include "fs/keeper.h"
#include "util/error.h"

struct host_root {
    atomic_uint references;
    enum host_root_kind kind;
    bool read_only;
    bool confined;
    int fd;                /* see struct host_root_view */
    char *path;            /* absolute */
    const char *name;      /* in path */
    struct keeper *keeper; /* who opens it; NULL: this process does */
    uint32_t number;       /* of this root at the keeper's */
};

static int refuse(struct uhyve_error *error, int err, const char *host, const char *why)
{
    return error_set(error, UHYVE_STATUS_FAILED, err, "cannot map '%.500s' into the guest: %s (%s)",
                     host, why, error_remedy(err, "check the path and its permissions"));
}

/* The absolute path of something that does not exist yet. */
static int find_missing(struct host_root *root, const char *host, struct uhyve_error *error)
{
    char parent[PATH_MAX], resolved[PATH_MAX];
    size_t size = strlen(host);

    while (size > 1 && host[size - 1] == '/')
        size--;
    if (!size || size >= sizeof parent)
        return refuse(error, size ? ENAMETOOLONG : ENOENT, host,
                      strerror(size ? ENAMETOOLONG : ENOENT));
    memcpy(parent, host, size);
    parent[size] = '\0';
    char *slash = strrchr(parent, '/');
    const char *name = slash ? slash + 1 : parent;
    if (strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
        return refuse(error, ENOENT, host, "there is no such directory");
    if (!realpath(!slash ? "." : slash == parent ? "/" : (*slash = '\0', parent), resolved))
        return refuse(error, errno, host,
                      errno == ENOENT ? "neither it nor the directory it would be in exists "
                                        "(create that first)"
                                      : strerror(errno));
    size = strlen(resolved);
    root->path = malloc(size + strlen(name) + 2);
    if (!root->path)
        return refuse(error, ENOMEM, host, strerror(ENOMEM));
    strcpy(root->path, resolved);
    strcpy(root->path + size, resolved[size - 1] == '/' ? "" : "/");
    strcat(root->path, name);
    root->kind = HOST_ROOT_MISSING;
    return 0;
}

static int find(struct host_root *root, const char *host, struct uhyve_error *error)
{
    struct stat status;

    root->path = realpath(host, NULL);
    if (!root->path)
        return errno == ENOENT ? find_missing(root, host, error)
                               : refuse(error, errno, host, strerror(errno));
    if (stat(root->path, &status) != 0)
        return refuse(error, errno, host, strerror(errno));
    root->kind = S_ISDIR(status.st_mode) ? HOST_ROOT_DIRECTORY : HOST_ROOT_FILE;
    return 0;
}

/* Open the directory that names are resolved from. */
static int anchor(struct host_root *root, struct uhyve_error *error)
{
    const char *directory = root->path;
    char *slash = NULL;

    if (root->kind != HOST_ROOT_DIRECTORY) {
        slash = strrchr(root->path, '/');
        root->name = slash + 1;
        directory = "/";
        if (slash != root->path) {
            *slash = '\0';
            directory = root->path;
        }
    }
    root->fd = open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int err = errno;
    if (slash)
        *slash = '/';
    return root->fd < 0 ? refuse(error, err, root->path, strerror(err)) : 0;
}

int host_root_open(const struct uhyve_file_mapping *mapping, bool confined,
                   struct host_root **result, struct uhyve_error *error)
{
    struct host_root *root = calloc(1, sizeof *root);

    *result = NULL;
    if (!root)
        return refuse(error, ENOMEM, mapping->host, strerror(ENOMEM));
    atomic_init(&root->references, 1);
    root->fd = -1;
    root->read_only = mapping->read_only;
    root->confined = confined;
    int err = find(root, mapping->host, error);
    if (!err)
        err = anchor(root, error);
    if (err)
        host_root_release(root);
    else
        *result = root;
    return err;
}

struct host_root *host_root_hold(struct host_root *root)
{
    atomic_fetch_add(&root->references, 1);
    return root;
}

void host_root_release(struct host_root *root)
{
    if (!root || atomic_fetch_sub(&root->references, 1) != 1)
        return;
    if (root->fd >= 0)
        close(root->fd);
    free(root->path);
    free(root);
}

void host_root_set_keeper(struct host_root *root, struct keeper *keeper, uint32_t number)
{
    root->keeper = keeper;
    root->number = number;
}

void host_root_describe(const struct host_root *root, struct host_root_view *view)
{
    *view = (struct host_root_view){
        .path = root->path,
        .name = root->name,
        .fd = root->fd,
        .kind = root->kind,
        .read_only = root->read_only,
        .kept = root->keeper != NULL,
    };
}

/* A link that leads out of a root is a file the guest has no right to. */
static int result_of(int fd)
{
    return fd == -EXDEV ? -EACCES : fd;
}

static int open_beneath(const struct host_root *root, int base, const char *path, int flags,
                        mode_t mode)
{
    if (root->confined)
        return result_of(beneath_open(base, path, flags, mode));
    int fd = openat(base, path, flags | O_CLOEXEC, mode);
    return fd < 0 ? -errno : fd;
}

/* Open a path below what may be a single file; a link in that file's place is not followed. */
static int open_path(const struct host_root *root, const char *rest, int flags, mode_t mode)
{
    int links = root->confined ? O_NOFOLLOW : 0;

    if (!root->name)
        return open_beneath(root, root->fd, *rest ? rest : ".", flags, mode);
    if (!*rest) {
        int fd = openat(root->fd, root->name, flags | links | O_CLOEXEC, mode);
        return fd < 0 ? -errno : fd;
    }
    int base = openat(root->fd, root->name, O_PATH | O_DIRECTORY | O_CLOEXEC | links);
    if (base < 0)
        return -errno;
    int fd = open_beneath(root, base, rest, flags, mode);
    close(base);
    return fd;
}

int host_root_stat(struct host_root *root, const char *rest, bool follow, struct stat *status)
{
    int fd = open_path(root, rest, O_PATH | (follow ? 0 : O_NOFOLLOW), 0);
    if (fd < 0)
        return fd;
    int err = fstat(fd, status) == 0 ? 0 : -errno;
    close(fd);
    /* Only where links are not followed at all. */
    return !err && follow && S_ISLNK(status->st_mode) ? -ELOOP : err;
}

/* What a read-only root answers to something that would create `rest`. */
static int refuse_creation(struct host_root *root, const char *rest)
{
    struct stat status;
    int err = host_root_stat(root, rest, false, &status);
    return err == -ENOENT ? -EROFS : err ? err : -EEXIST;
}

int host_root_open_file(struct host_root *root, const char *rest, int flags, mode_t mode)
{
    struct stat status;

    flags |= O_NONBLOCK | O_NOCTTY;
    if (root->keeper)
        return keeper_open_file(root->keeper, root->number, rest, flags, mode);
    if (!root->read_only)
        return open_path(root, rest, flags, mode);
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return refuse_creation(root, rest);
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) {
        int err = host_root_stat(root, rest, true, &status);
        if (err)
            return err == -ENOENT && (flags & O_CREAT) ? -EROFS : err;
        return S_ISDIR(status.st_mode) ? -EISDIR : -EROFS;
    }
    int fd = open_path(root, rest, flags & ~O_CREAT, 0);
    return fd == -ENOENT && (flags & O_CREAT) ? -EROFS : fd;
}

/*
 * The directory that holds the last component of a path below the root, and that component. Returns
 * a descriptor that is the caller's if *owned.
 */
static int open_parent(const struct host_root *root, const char *rest, const char **name,
                       bool *owned)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(rest, '/');
    size_t size = slash ? (size_t)(slash - rest) : 0;

    *owned = false;
    if (!*rest) {
        *name = root->name;
        return root->fd;
    }
    *name = slash ? slash + 1 : rest;
    if (!slash && !root->name)
        return root->fd;
    if (size >= sizeof parent)
        return -ENAMETOOLONG;
    memcpy(parent, rest, size);
    parent[size] = '\0';
    *owned = true;
    return open_path(root, parent, O_PATH | O_DIRECTORY, 0);
}

int host_root_mkdir(struct host_root *root, const char *rest, mode_t mode)
{
    const char *name;
    bool owned;

    if (root->keeper)
        return keeper_mkdir(root->keeper, root->number, rest, mode);
    if (root->read_only)
        return refuse_creation(root, rest);
    if (!*rest && !root->name)
        return -EEXIST;
    int parent = open_parent(root, rest, &name, &owned);
    if (parent < 0)
        return parent;
    int err = mkdirat(parent, name, mode) == 0 ? 0 : -errno;
    if (owned)
        close(parent);
    return err;
}

int host_root_unlink(struct host_root *root, const char *rest)
{
    const char *name;
    bool owned;

    if (root->keeper)
        return keeper_unlink(root->keeper, root->number, rest);
    if (!*rest && !root->name)
        return -EISDIR;
    if (root->read_only) {
        struct stat status;
        int err = host_root_stat(root, rest, false, &status);
        return err ? err : S_ISDIR(status.st_mode) ? -EISDIR : -EROFS;
    }
    int parent = open_parent(root, rest, &name, &owned);
    if (parent < 0)
        return parent;
    int err = unlinkat(parent, name, 0) == 0 ? 0 : -errno;
    if (owned)
        close(parent);
    return err;
}
