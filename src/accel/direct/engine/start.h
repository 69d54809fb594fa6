/*
 * Start of the engine: taking over the process, locking it down, starting the threads.
 */
#ifndef ENGINE_START_H
#define ENGINE_START_H

#include "accel/direct/engine/engine.h"

/* A thread's memory: struct cpu, struct ahead and the stack it starts on, the stack of its signal
 * handler. */
#define ENGINE_STACK_SIZE 0x80000 /* a power of two: the start is found from any address inside */
#define ENGINE_START_SIZE 0x40000
#define ENGINE_AHEAD      0x2000

/* The vCPU of the running thread. */
static inline struct cpu *start_this_cpu(void)
{
    uint64_t here = (uint64_t)__builtin_frame_address(0);
    return (struct cpu *)(here & ~(uint64_t)(ENGINE_STACK_SIZE - 1));
}

/* Called by entry.S with the initial stack: argument count, arguments, environment, auxiliary
 * vector. */
void __attribute__((noreturn)) start(const uint64_t *stack);

/* First function of a vCPU's thread. */
void __attribute__((noreturn)) start_thread(void);

/* entry.S. Hidden, as everything in a program without dynamic linking. */
#pragma GCC visibility push(hidden)
long entry_clone(uint64_t flags, void *stack, int32_t *parent_tid);
void entry_signal(void);
void entry_signal_return(void);
#pragma GCC visibility pop

#endif
