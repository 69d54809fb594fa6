/*
 * Landlock: which files the calling thread, and every thread it starts later, may open from now on,
 * for ever. What is open already stays usable.
 *
 * What it controls grew with the kernel; each version of its interface (ABI) can do all that the
 * ones before could:
 *
 *     1  Linux 5.13  open for reading, writing, executing; list, create, remove
 *     2  Linux 5.19  (rename and link between directories: the VMM does neither)
 *     3  Linux 6.2   truncate
 *     4  Linux 6.7   TCP: bind, connect
 *     5  Linux 6.10  ioctl on devices
 *     6  Linux 6.12  abstract Unix sockets and signals of processes outside
 *
 * It does not control who may look at names, sizes and owners of files, change their mode, owner or
 * times, or change the working directory.
 */
#ifndef SANDBOX_LANDLOCK_H
#define SANDBOX_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

/* The version that has everything that --file-isolation=strict promises. */
#define LANDLOCK_STRICT_ABI 3

/* What may be done with a file, or with everything beneath a directory. */
enum sandbox_right {
    SANDBOX_READ = 1,        /* files, and the lists of directories */
    SANDBOX_WRITE = 2,       /* files that exist, also to truncate them */
    SANDBOX_CREATE = 4,      /* regular files and directories */
    SANDBOX_REMOVE = 8,      /* files */
    SANDBOX_REMOVE_DIR = 16, /* directories that are empty */
    SANDBOX_EXECUTE = 32,
};

struct sandbox_path {
    int fd;            /* O_PATH suffices; -1: none */
    const char *name;  /* in the directory `fd`, or absolute; left out if it does not exist. NULL:
                          `fd` itself */
    unsigned rights;   /* enum sandbox_right */
    const char *shown; /* its path, for messages; NULL: nobody named it */
};

struct landlock_domain {
    const struct sandbox_path *paths;
    size_t path_count;
    bool tcp;           /* TCP connections are needed */
    bool signal_others; /* processes started before need signals: the accelerator's */
};

/* Version of the interface, or -errno: -ENOSYS and -EOPNOTSUPP if there is none. */
int landlock_abi(void);

/* Put it into force for the calling thread, which must have no_new_privs. Returns 0 or -errno. */
int landlock_restrict(const struct landlock_domain *domain, int abi);

#endif
