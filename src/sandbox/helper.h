/*
 * A process beside the VMM that keeps one right which the VMM gives up, and uses it when it is
 * asked to: to open certain files (fs/keeper.h), to connect to one socket (net/connector.h).
 *
 * It is a copy of the VMM that runs nothing but a loop, answers requests on a socket, has the
 * descriptors open that it was told to keep, takes no signals, and ends when the VMM closes its
 * end, by dying if need be. Requests are the user's affair; an answer is a result with or without a
 * descriptor.
 *
 * helper_start and helper_stop: one thread, before there are others, and after. helper_send and
 * helper_receive: any thread, one at a time.
 */
#ifndef SANDBOX_HELPER_H
#define SANDBOX_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct helper {
    pid_t pid;
    int socket;
    bool lost; /* an answer did not come; the next one might be taken for it */
};

/* What the process is to do; borrowed until helper_start returns. */
struct helper_job {
    const char *name; /* at most 15 bytes */
    const int *fds;   /* what it keeps open, in any order; -1: none */
    size_t fd_count;
    /* Called first: give up the rest. Returns 0, or -errno, which helper_start returns then. */
    int (*restrict_itself)(void *context);
    /* Answers requests until the socket is at its end. */
    void (*serve)(int socket, void *context);
    void *context;
};

/* Returns 0, or -errno; helper_stop may be called then, too. */
int helper_start(struct helper *helper, const struct helper_job *job);

/* Waits for its end. */
void helper_stop(struct helper *helper);

/* The process: answer with a result or, if fd is not -1, a descriptor. The result is then what the
 * VMM gets if it has no room for one, or an error if it cannot be sent. Ends the process if nothing
 * can be sent. */
void helper_answer(int socket, int result, int fd);

/* The VMM: send a request, to be followed by helper_receive. Returns 0, or -errno: -EIO if the
 * process is gone. */
int helper_send(const struct helper *helper, const void *request, size_t size);

/* The descriptor that came with an answer, or else its result; -EIO if the process is gone. After
 * an error of the call itself always -EIO. */
int helper_receive(struct helper *helper);

#endif
