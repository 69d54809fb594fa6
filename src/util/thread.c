#include "util/thread.h"

#include <signal.h>

/* SIGSYS: what a violation of the system call filter raises (sandbox/filter.h). */
static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};

int thread_start(pthread_t *thread, void *(*run)(void *), void *argument, int open_signal)
{
    sigset_t set, old;

    sigfillset(&set);
    for (unsigned i = 0; i < sizeof fault_signals / sizeof *fault_signals; i++)
        sigdelset(&set, fault_signals[i]);
    if (open_signal)
        sigdelset(&set, open_signal);
    pthread_sigmask(SIG_SETMASK, &set, &old);
    int err = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return -err;
}
