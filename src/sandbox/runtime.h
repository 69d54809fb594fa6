/*
 * The system calls that a C program makes without asking for them by name: what the C library does
 * for memory, threads, clocks and the end of the process. On the list of every run; a thread with a
 * filter of its own needs only a part.
 */
#ifndef SANDBOX_RUNTIME_H
#define SANDBOX_RUNTIME_H

#include "sandbox/calls.h"

/* Of any thread, once it is there; and what starts and counts threads. */
extern const struct sandbox_call thread_calls[], runtime_calls[];

#endif
