/*
 * Theory of operation
 *
 * A guest talks to the VMM: through hypercalls, exits, and memory that both see. All of it is
 * checked, but a check may have a mistake in it. The sandbox is for that day: a thread of the VMM
 * that does what the guest wants is to get no further than the guest had got anyhow.
 *
 * The VMM opens what it needs (image, /dev/kvm, tap device, the engine's process, output, the roots
 * of mapped files) while it has the rights of whoever started it. Then, before the first byte of
 * the guest's is executed, before any thread but the caller's exists, sandbox_enter gives up the
 * rest in this order, since each stage may need a right that the next one takes away:
 *
 *     1  user          another user and group, if asked for (--user)
 *     2  capabilities  all of them: root without capabilities is an ordinary user who owns much
 *     3  no_new_privs  programs with set-user-ID bits are programs like any other
 *     4  Landlock      files: what was mapped, with the rights it was mapped with, nothing else
 *     5  seccomp       system calls: what the run's modules list, nothing else
 *
 * Between 3 and 4 a process is started that keeps the rights to single files, for which Landlock
 * has no words (fs/keeper.h).
 *
 * All of it binds the calling thread and the threads it starts from then on, for ever. A thread
 * that exists already is not bound and shares the memory of those that are, so there must not be
 * one for the sandbox to hold; the program sees to that, a user of the library has to.
 *
 * What remains for a thread that was taken over is in docs/security.md.
 *
 * Builds with sanitizers have no filter, since their run-time libraries make calls of their own,
 * and may read and execute (but not write) every file, for their reports.
 */
#ifndef SANDBOX_SANDBOX_H
#define SANDBOX_SANDBOX_H

#include <sys/types.h>

#include "sandbox/filter.h"
#include "sandbox/landlock.h"
#include "uhyve.h"
#include "util/log.h"

/* Borrowed for the calls; so are the descriptors. */
struct sandbox {
    enum uhyve_isolation isolation;
    bool filter;
    bool quiet; /* what this kernel lacks is said elsewhere */
    bool change_user;
    uid_t uid;
    gid_t gid;
    struct landlock_domain files;
    const struct filter_program *calls; /* what `filter` puts into force ... */
    uint16_t call_lists;                /* ... for a run that uses these lists */
    pid_t peer;                         /* the accelerator's process; 0: none */
};

/*
 * Stages 1 to 3, and 4 to 5. Return 0, or -errno with *error filled; then some of the stages may be
 * in force. Where the kernel has no Landlock, UHYVE_ISOLATION_NORMAL warns and goes on,
 * UHYVE_ISOLATION_STRICT fails.
 */
int sandbox_drop_privileges(const struct sandbox *sandbox, const struct log *log,
                            struct uhyve_error *error);
int sandbox_enter(const struct sandbox *sandbox, const struct log *log, struct uhyve_error *error);

#endif
