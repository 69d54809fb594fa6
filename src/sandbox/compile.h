/*
 * From lists of system calls to the program of a filter (sandbox/filter.h), with libseccomp. Part
 * of the build and of the tests only, not of uhyve.
 */
#ifndef SANDBOX_COMPILE_H
#define SANDBOX_COMPILE_H

#include <stddef.h>

#include "sandbox/calls.h"
#include "sandbox/filter.h"

struct filter_list {
    const struct sandbox_call *calls; /* ended by SANDBOX_END */
    uint16_t bit;                     /* of an optional list; 0: used in every run */
};

/*
 * Returns the number of instructions, or -errno with *number telling the call whose entries are at
 * fault (-1: none): -E2BIG, too many of them; -EOPNOTSUPP, a combination for which there are no
 * rules. Combinations are
 *
 *  - SANDBOX_NOT: the only entry of its call, with nothing else;
 *  - conditions of lists that are not used by the same runs: no call may meet both;
 *  - SANDBOX_ERROR: not with an entry without conditions of an optional list.
 */
int filter_compile(struct sock_filter program[FILTER_MAX], const struct filter_list *lists,
                   size_t count, int *number);

#endif
