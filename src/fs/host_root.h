/*
 * A host file or directory that was mapped into the guest, and everything that can be done with it
 * and beneath it (spec/files.md sections 1.2 and 2).
 *
 * What was mapped is held by descriptors that are opened when the VM is made, before the process
 * gives up its rights. Later a name is resolved from there and cannot leave: not by "..", not by a
 * symbolic link, not by a link or directory that is put in place while it is resolved. `confined`
 * false gives that up: links then lead anywhere on the host, as with the reference implementation.
 *
 * A root is reference counted: the map's entry has one reference, a call in progress another. The
 * functions may be called from any thread. `rest` is a normalised path below the root, "" for the
 * root itself. All return -errno on failure; what would change a read-only root gives -EROFS.
 *
 * System calls: openat2 (else openat, readlinkat), openat, newfstatat, mkdirat, unlinkat, close.
 */
#ifndef FS_HOST_ROOT_H
#define FS_HOST_ROOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "uhyve.h"

enum host_root_kind {
    HOST_ROOT_DIRECTORY,
    HOST_ROOT_FILE,    /* anything but a directory */
    HOST_ROOT_MISSING, /* does not exist yet; its directory does */
};

struct host_root;

/* What the process needs for a root: for those who restrict it. Valid as long as the root. */
struct host_root_view {
    const char *path; /* absolute */
    const char *name; /* its last component; NULL for HOST_ROOT_DIRECTORY */
    int fd; /* O_PATH descriptor of the directory itself, or of the one that holds `name` */
    enum host_root_kind kind;
    bool read_only;
    bool kept; /* another process does what needs rights: see host_root_set_keeper */
};

/*
 * Find and open what `mapping` names on the host. A relative path is relative to the current
 * directory; symbolic links in it are resolved now. Returns 0, or -errno with *error filled.
 */
int host_root_open(const struct uhyve_file_mapping *mapping, bool confined, struct host_root **root,
                   struct uhyve_error *error);

struct host_root *host_root_hold(struct host_root *root);
void host_root_release(struct host_root *root); /* NULL is allowed */

/* From now on the keeper, for which this is the root with `number`, opens, creates and removes.
 * Before the guest runs. */
struct keeper;
void host_root_set_keeper(struct host_root *root, struct keeper *keeper, uint32_t number);

void host_root_describe(const struct host_root *root, struct host_root_view *view);

/*
 * Open for the guest: `flags` are O_RDONLY, O_WRONLY or O_RDWR with O_CREAT, O_EXCL, O_TRUNC,
 * O_APPEND, O_DIRECTORY and O_SYNC. Never waits for the other end of a FIFO. Returns a descriptor
 * that is non-blocking.
 */
int host_root_open_file(struct host_root *root, const char *rest, int flags, mode_t mode);

int host_root_stat(struct host_root *root, const char *rest, bool follow, struct stat *status);
int host_root_mkdir(struct host_root *root, const char *rest, mode_t mode);
int host_root_unlink(struct host_root *root, const char *rest); /* -EISDIR for a directory */

#endif
