#include "sandbox/runtime.h"

#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define NEW_NAMESPACES                                                                             \
    ((uint32_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |      \
                CLONE_NEWPID | CLONE_NEWNET))

/*
 * Written with glibc 2.36 at hand; what newer ones add is marked. Other libraries need no more than
 * this for the same things.
 */
const struct sandbox_call thread_calls[] = {
    /* Locks, and waiting for threads. */
    SANDBOX_CALL(futex),

    /* Memory: malloc, stacks of threads. Nothing becomes executable any more. */
    SANDBOX_CALL(brk),
    SANDBOX_CALL(mmap, SANDBOX_CLEAR(2, PROT_EXEC)),
    SANDBOX_CALL(mprotect, SANDBOX_CLEAR(2, PROT_EXEC)),
    SANDBOX_CALL(mremap),
    SANDBOX_CALL(munmap),
    SANDBOX_CALL(madvise),
    SANDBOX_CALL(prctl, SANDBOX_EQUAL(0, PR_SET_VMA)), /* 2.39 and newer: names for mappings */
    SANDBOX_CALL(getrandom),                           /* a secret of malloc's */
    SANDBOX_CALL(sched_getaffinity), /* how many arenas malloc may have; pthread_getattr_np */
    SANDBOX_CALL(sched_yield),
    SANDBOX_CALL(exit),

    /* Signals. SIGSYS keeps the handler that it has: it is what a violation of the filter raises.
     */
    SANDBOX_CALL(rt_sigreturn),
    SANDBOX_CALL(rt_sigprocmask),
    SANDBOX_CALL(rt_sigaction, SANDBOX_NOT(0, SIGSYS)),
    SANDBOX_CALL(restart_syscall),
    SANDBOX_CALL(getpid),
    SANDBOX_CALL(gettid),
    SANDBOX_CALL(tgkill, SANDBOX_SELF(0)), /* abort, pthread_kill */

    /* Clocks: only where the vDSO cannot tell the time. */
    SANDBOX_CALL(clock_gettime),
    SANDBOX_CALL(clock_nanosleep),
    SANDBOX_CALL(gettimeofday),
    SANDBOX_CALL(time),

    /* Descriptors that are open already. */
    SANDBOX_CALL(read),
    SANDBOX_CALL(write),
    SANDBOX_CALL(writev), /* the C library's last words: "stack smashing detected" */
    SANDBOX_CALL(close),
    SANDBOX_CALL(poll),

    /* malloc with many threads: how many CPUs are there? It can do without the answer. */
    SANDBOX_ERROR(openat, EACCES),

    SANDBOX_CALL(exit_group),
    SANDBOX_END,
};

const struct sandbox_call runtime_calls[] = {
    /* Threads, not processes, and no namespaces. clone3 has its flags in memory, where no filter
     * can see them: the C library then uses clone. */
    SANDBOX_ERROR(clone3, ENOSYS),
    SANDBOX_CALL(clone, SANDBOX_BITS(0, CLONE_THREAD | NEW_NAMESPACES, CLONE_THREAD)),
    SANDBOX_CALL(set_robust_list),
    SANDBOX_CALL(rseq),
    SANDBOX_CALL(prctl, SANDBOX_EQUAL(0, PR_SET_NAME)),

    SANDBOX_CALL(sysinfo),   /* qsort: how much memory is there */
    SANDBOX_CALL(getrusage), /* statistics */
    SANDBOX_END,
};
