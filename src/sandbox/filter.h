/*
 * The system call filter: what the calling thread, and every thread it starts later, may ask of the
 * kernel from now on, for ever.
 *
 * A call that is not permitted raises SIGSYS (SECCOMP_RET_TRAP): fatal by default, which no code
 * that runs under the filter can change, since it may install no handler for that signal. The
 * program has one before, which names the call and ends with a status of its own (cli/violation.h).
 * A call of another architecture's table (int 0x80, x32) is never permitted.
 *
 * Why not libseccomp: lists depend on the run, so the filter is made at every start. libseccomp
 * takes 0.24 ms and 115 KiB for that. Most of the time goes into checking a linear chain in the
 * kernel, once for every system call there is; a tree of comparisons takes 0.09 ms.
 */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include <linux/filter.h>
#include <stddef.h>
#include <sys/types.h>

#include "sandbox/calls.h"

#define FILTER_MAX 1024 /* instructions */

/*
 * Assemble the filter that permits what is on the lists, each ended by SANDBOX_END. `peer` is the
 * process that SANDBOX_PEER stands for; 0: there is none, and entries that name it permit nothing.
 * Returns the number of instructions, or -E2BIG.
 */
int filter_build(struct sock_filter program[FILTER_MAX], const struct sandbox_call *const *lists,
                 size_t count, pid_t self, pid_t peer);

/* Put it into force for the calling thread, which must have no_new_privs. Returns 0 or -errno. */
int filter_install(struct sock_filter *program, int size);

#endif
