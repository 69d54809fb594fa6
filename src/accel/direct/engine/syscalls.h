/*
 * The system calls of the engine. Those of the first group are all that filter.c lets through once
 * guest code runs; each says why it is needed and what the filter checks. Those of the second group
 * are only for start.c.
 *
 * Results are as the kernel gives them: negative values are errors.
 */
#ifndef ENGINE_SYSCALLS_H
#define ENGINE_SYSCALLS_H

#include <asm/unistd.h>
#include <stdint.h>

#ifdef ENGINE_FAULTS
/* Fault injection (tests/faults/engine.c): an error for this call to end with, or 0. */
long engine_fault(long number, uint64_t a, uint64_t b);
#endif

static inline long sys_call(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                            uint64_t f)
{
    long result;
#ifdef ENGINE_FAULTS
    if ((result = engine_fault(number, a, b)) != 0)
        return result;
#endif
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* rt_sigreturn: leaving a signal handler, in entry.S. No arguments. */

/* restart_syscall: how the kernel goes on with a wait that a stop signal (Ctrl-Z) interrupted. */

/* mmap: guest RAM (shared, from its descriptor) or zeros (private, anonymous, read only) at a fixed
 * address below the engine's window, less than 4 GiB at a time. */
static inline long sys_mmap(uint64_t address, uint64_t size, int prot, int flags, int fd,
                            uint64_t offset)
{
    return sys_call(__NR_mmap, address, size, (uint64_t)prot, (uint64_t)flags, (uint64_t)fd,
                    offset);
}

/* munmap: below the window: less than 4 GiB, or exactly everything. */
static inline long sys_munmap(uint64_t address, uint64_t size)
{
    return sys_call(__NR_munmap, address, size, 0, 0, 0, 0);
}

/* futex: WAIT with a relative time-out, WAKE; on words of the control memory. */
static inline long sys_futex(uint32_t *word, int op, uint32_t value, const void *timeout)
{
    return sys_call(__NR_futex, (uint64_t)word, (uint64_t)op, value, (uint64_t)timeout, 0, 0);
}

/* tgkill: DIRECT_KICK_SIGNAL to another thread of this process. */
static inline long sys_tgkill(int pid, int tid, int signal)
{
    return sys_call(__NR_tgkill, (uint64_t)pid, (uint64_t)tid, (uint64_t)signal, 0, 0, 0);
}

/* sched_yield: waiting for a lock. */
static inline long sys_sched_yield(void)
{
    return sys_call(__NR_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* timer_settime: the thread's own timer, relative time. */
static inline long sys_timer_settime(int timer, const void *value)
{
    return sys_call(__NR_timer_settime, (uint64_t)timer, 0, (uint64_t)value, 0, 0, 0);
}

/* arch_prctl: FS and GS bases, where the instructions for them do not work at CPL 3. */
static inline long sys_arch_prctl(int code, uint64_t value)
{
    return sys_call(__NR_arch_prctl, (uint64_t)code, value, 0, 0, 0, 0);
}

/* read: from the descriptor that tells that the VMM is gone. */
static inline long sys_read(int fd, void *to, uint64_t size)
{
    return sys_call(__NR_read, (uint64_t)fd, (uint64_t)to, size, 0, 0, 0);
}

/* exit_group: the end. */
static inline void __attribute__((noreturn)) sys_exit_group(int status)
{
    for (;;)
        sys_call(__NR_exit_group, (uint64_t)status, 0, 0, 0, 0, 0);
}

/* Set-up only. */

static inline long sys_set_up(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return sys_call(number, a, b, c, d, 0, 0);
}

#endif
