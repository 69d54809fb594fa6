/*
 * Giving up what a process has by the user it runs as.
 */
#ifndef SANDBOX_PRIVILEGES_H
#define SANDBOX_PRIVILEGES_H

#include <sys/types.h>

#include "uhyve.h"

/*
 * Become another user for ever, without further groups: of the whole process. Returns 0, or -errno
 * with *error filled: only root may.
 */
int privileges_become(uid_t uid, gid_t gid, struct uhyve_error *error);

/* The calling thread, and threads it starts later, gain no privileges by executing programs.
 * Returns 0 or -errno with *error filled. */
int privileges_forbid_new(struct uhyve_error *error);

/* Drop all capabilities of the calling thread. Returns 0 or -errno with *error filled. */
int privileges_drop(struct uhyve_error *error);

#endif
