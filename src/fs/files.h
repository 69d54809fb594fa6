/*
 * Everything that a guest can do with files, for one VM: its tree of names, its descriptors, its
 * temporary directory (spec/files.md). The file hypercalls decode, call one of these and encode.
 *
 * Made and destroyed on one thread; everything else may be called by all vCPUs at the same time.
 * Paths are strings of the guest, not normalised yet. All calls return -errno on failure, with
 * numbers that guests know. Waits end with -EINTR when the VM stops.
 */
#ifndef FS_FILES_H
#define FS_FILES_H

#include <sys/uio.h>

#include "fs/filemap.h"
#include "hermit/hypercall.h"
#include "sandbox/calls.h"

struct files;

extern const struct sandbox_call files_calls[];

/* `confined` false: isolation is off, links in mapped directories lead anywhere. */
struct files_options {
    const struct uhyve_params *params; /* mappings, tempdir, limits, I/O mode, standard input */
    bool confined;
    int stop_fd; /* becomes readable when the VM is to stop */
    const struct log *log;
};

/*
 * Find and open everything that is mapped, and make the temporary directory. Returns 0, or -errno
 * with *error filled; *files is NULL then. Borrows what the options point to.
 */
int files_create(struct files **files, const struct files_options *options,
                 struct uhyve_error *error);

/*
 * Before this process is restricted to what is mapped: start a process that keeps the rights to
 * single files (keeper.h), if there are any that can be changed. Returns 0 or -errno with *error
 * filled.
 */
int files_keep(struct files *files, struct uhyve_error *error);
bool files_are_kept(const struct files *files);

/* Closes all files and removes the temporary directory. NULL is allowed. */
void files_destroy(struct files *files);

/* Its tree, for those who add to it or list its roots. */
struct filemap *files_map(struct files *files);

/* The temporary directory's path and descriptor. */
const char *files_temp_path(const struct files *files);
int files_temp_fd(const struct files *files);
int files_temp_parent(const struct files *files); /* descriptor of the directory it is in */

/* The calls. `flags` are the guest's; descriptors 1 and 2 are not known here. */
int32_t files_open(struct files *files, const char *path, int32_t flags, int32_t mode);
int files_close(struct files *files, int32_t fd);
int64_t files_read(struct files *files, int32_t fd, const struct iovec *iov, int count);
int64_t files_write(struct files *files, int32_t fd, const struct iovec *iov, int count);
int64_t files_seek(struct files *files, int32_t fd, int64_t offset, uint32_t whence);
int files_unlink(struct files *files, const char *path);
int files_mkdir(struct files *files, const char *path);
int files_stat(struct files *files, const char *path, bool follow, struct hermit_attr *attr);
int files_stat_fd(struct files *files, int32_t fd, struct hermit_attr *attr);

/* Bytes written to `to`; 0: the directory has no more entries. */
int64_t files_list(struct files *files, int32_t fd, void *to, uint64_t size);

#endif
