/*
 * A process that opens, creates and removes single mapped files for the VMM.
 *
 * Landlock knows the right to create or remove an entry only for a whole directory and everything
 * beneath it. A file that is mapped by itself would so cost its neighbours: whoever takes the VMM
 * over could remove them all and, next to a file that does not exist yet, read and write them, too.
 * Therefore the VMM gives up these rights with all others, and before that starts a process that
 * keeps them. It is asked for one of three things, to be done with the n-th root that was given to
 * it when it was started, and does it with the very functions that the VMM would have called
 * (host_root.h); descriptors come back over the socket. What it is asked by cannot name anything
 * else.
 *
 * The process is a copy of the VMM that runs nothing but this loop. It has the sockets and the
 * roots' descriptors open, is restricted by Landlock to their directories and by a filter to these
 * calls, and ends when the VMM closes its end, by dying if need be. There is none if no file is
 * mapped that way, or if nothing is restricted.
 *
 * keeper_start and keeper_stop: one thread, before there are others, and after. Others: any thread;
 * one request at a time.
 */
#ifndef FS_KEEPER_H
#define FS_KEEPER_H

#include <stdint.h>
#include <sys/types.h>

#include "sandbox/calls.h"
#include "uhyve.h"

struct keeper;
struct host_root;

/* What the VMM calls for it, and what the process itself calls, beyond the calls of this folder. */
extern const struct sandbox_call keeper_calls[], keeper_own_calls[];

/*
 * Start it, for these roots, which must exist until it is stopped. Returns 0 with *keeper set, or
 * -errno with *error filled. keeper_stop waits for its end; NULL is allowed.
 */
int keeper_start(struct keeper **keeper, struct host_root *const *roots, size_t count,
                 struct uhyve_error *error);
void keeper_stop(struct keeper *keeper);

/* As the functions of host_root.h without "keeper", for the root with this number. -EIO if the
 * process is gone. */
int keeper_open_file(struct keeper *keeper, uint32_t root, const char *rest, int flags,
                     mode_t mode);
int keeper_mkdir(struct keeper *keeper, uint32_t root, const char *rest, mode_t mode);
int keeper_unlink(struct keeper *keeper, uint32_t root, const char *rest);

#endif
