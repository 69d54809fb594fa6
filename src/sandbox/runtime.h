/*
 * The system calls that a C program makes without asking for them by name: what the C library does
 * for memory, threads, clocks and the end of the process. On the list of every run.
 */
#ifndef SANDBOX_RUNTIME_H
#define SANDBOX_RUNTIME_H

#include "sandbox/calls.h"

extern const struct sandbox_call runtime_calls[];

#endif
