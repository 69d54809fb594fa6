/*
 * The directory on the host that holds what a guest creates without a mapping (spec/files.md
 * section 3.4), one per VM.
 *
 * It is made when the VM is made, readable by nobody else, and removed with it, also after errors
 * and crashes of the guest. If the process is killed it stays, and the next one to use the same
 * place removes it: every directory is locked by the process it belongs to, so one whose lock can
 * be had belongs to nobody.
 *
 * System calls: openat, mkdirat, fchown, newfstatat, flock, getdents64, unlinkat, close.
 */
#ifndef FS_TEMPDIR_H
#define FS_TEMPDIR_H

#include <stdatomic.h>
#include <sys/types.h>

#include "fs/quota.h"
#include "util/log.h"

struct tempdir {
    int parent; /* descriptor of the directory it is in, -1: there is none */
    int fd;     /* of itself; locked */
    char name[64];
    char *path;
    atomic_uint_least64_t last_number;
    struct quota *quota;
    const struct log *log;
};

struct tempdir_options {
    const char *where; /* NULL: ${TMPDIR:-/tmp}/uhyve-UID */
    uid_t uid;         /* whose it is to be: this process's, or, for root, somebody else's */
    gid_t gid;         /* likewise */
    struct quota *quota;
    const struct log *log;
};

/*
 * Make the directory. What the guest writes is taken from the quota. Returns 0, or -errno with
 * *error filled; tempdir_remove may be called in any case, also on a structure of zeros with both
 * descriptors -1.
 */
int tempdir_create(struct tempdir *dir, const struct tempdir_options *options,
                   struct uhyve_error *error);

/* Remove it with everything in it. */
void tempdir_remove(struct tempdir *dir);

#endif
