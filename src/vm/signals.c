/*
 * Signals of the caller's thread. A pipe without reader or a limit on the size of files
 * (RLIMIT_FSIZE) must not end the program that uses the library: these are write errors like any
 * other. Threads of the library's own have all signals blocked anyway (util/thread.h).
 */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "sandbox/calls.h"
#include "vm/vm.h"

static const int write_signals[] = {SIGPIPE, SIGXFSZ};

#define WRITE_SIGNALS (sizeof write_signals / sizeof *write_signals)

const struct sandbox_call signals_calls[] = {
    SANDBOX_CALL(rt_sigpending),   /* is there a SIGPIPE of somebody else's, and where did ... */
    SANDBOX_CALL(rt_sigtimedwait), /* ... ours go */
    SANDBOX_END,
};

void signals_enter(struct vm_signals *signals)
{
    sigset_t set;

    sigpending(&signals->pending);
    sigemptyset(&set);
    for (size_t i = 0; i < WRITE_SIGNALS; i++)
        sigaddset(&set, write_signals[i]);
    pthread_sigmask(SIG_BLOCK, &set, &signals->old);
}

void signals_leave(const struct vm_signals *signals)
{
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < WRITE_SIGNALS; i++)
        if (!sigismember(&signals->pending, write_signals[i]))
            sigaddset(&set, write_signals[i]);
    /* Until there is no more. */
    while (sigtimedwait(&set, NULL, &(struct timespec){0}) > 0 || errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &signals->old, NULL);
}
