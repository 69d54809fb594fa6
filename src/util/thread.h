/*
 * Threads of the library. The program's signals are for the program's own threads, so these block
 * all but the ones that a fault in the thread itself raises, which are to be seen.
 */
#ifndef UTIL_THREAD_H
#define UTIL_THREAD_H

#include <pthread.h>

/* Start a thread that blocks all signals but those of its own faults, and `open_signal` (0: no
 * other). Returns 0 or -errno. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *argument, int open_signal);

/* What to do when a thread or a process cannot be started, for a message. */
#define THREAD_REMEDY "raise the limits on processes and memory: ulimit -u, -v"

#endif
