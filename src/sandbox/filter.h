/*
 * The system call filter: what the calling thread, and every thread it starts later, may ask of the
 * kernel from now on, for ever.
 *
 * A call that is not permitted raises SIGSYS (SECCOMP_RET_TRAP): fatal by default, which no code
 * that runs under the filter can change, since it may install no handler for that signal. The
 * program has one before, which names the call and ends with a status of its own (cli/violation.h).
 * A call of another architecture's table (int 0x80, x32) is never permitted.
 *
 * The programs are made by libseccomp, but while uhyve is built (sandbox/generate.c): at run time
 * that would take 0.24 ms of every start and 115 KiB. What only a run can know is filled in here,
 * in place of marks:
 *
 *  - which of the optional lists the run uses. A call that only some of them permit ends in the
 *    action SECCOMP_RET_TRACE with the bits of these lists, which becomes "permit" or "refuse";
 *  - the numbers of processes, which a comparison with FILTER_SELF or FILTER_PEER stands for.
 */
#ifndef SANDBOX_FILTER_H
#define SANDBOX_FILTER_H

#include <linux/filter.h>
#include <stdint.h>
#include <sys/types.h>

#define FILTER_MAX 1024 /* instructions */

/* No process has numbers as great as these. */
#define FILTER_SELF 0x5e1f5e1fu
#define FILTER_PEER 0x7ee77ee7u

struct filter_program {
    const struct sock_filter *code;
    uint16_t size; /* instructions, up to FILTER_MAX */
};

/* Generated; empty in builds with sanitizers. The VMM while a guest runs, the thread of its network
 * (net/pump.h), fs/keeper.h and net/connector.h. */
extern const struct filter_program vm_filter, network_filter, keeper_filter, connector_filter;

/*
 * Fit a copy of the program to a run: `lists` has the bits of the optional lists that it uses,
 * `peer` is the process that SANDBOX_PEER stands for; 0: there is none, and entries that name it
 * permit nothing.
 */
void filter_fit(struct sock_filter fitted[FILTER_MAX], const struct filter_program *program,
                uint16_t lists, pid_t self, pid_t peer);

/* The same, then put into force for the calling thread, which must have no_new_privs. Returns 0 or
 * -errno. */
int filter_install(const struct filter_program *program, uint16_t lists, pid_t self, pid_t peer);

#endif
