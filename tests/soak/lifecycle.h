/*
 * What happens to one VM of the lifecycle tests: a plan, which the seed and the number of the
 * iteration determine, and the threads that carry it out while the VM lives.
 */
#ifndef SOAK_LIFECYCLE_H
#define SOAK_LIFECYCLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "vm.h"

enum act {
    ACT_STOP,         /* uhyve_stop */
    ACT_STOP_HANDLER, /* uhyve_stop from a signal handler of the thread that runs the guest */
    ACT_SIGNAL,       /* a signal that means nothing, for that thread or the process */
    ACT_KICK,         /* the signal with which the library interrupts its threads */
    ACT_FREEZE,       /* SIGSTOP, then SIGCONT, for an engine */
    ACT_KILL,         /* SIGKILL for an engine */
    ACT_INPUT,        /* a line on standard input */
    ACT_INPUT_END,
    ACT_STATISTICS, /* uhyve_get_stats */
    ACT_ATTACH,     /* a debugger connects; a second one while there is one */
    ACT_PACKETS,    /* the debugger says something */
    ACT_GARBAGE,    /* ... or something that makes no sense */
    ACT_HALF_CLOSE, /* ... or nothing more */
    ACT_RESET,      /* ... or is gone without a word */
    ACT_DETACH,
    ACTS,
};

#define ACTS_MAX 8
#define ACTORS   2

/* Acts of one thread, in order; before each it waits. */
struct script {
    unsigned count;
    struct {
        enum act act;
        unsigned wait_us;
    } step[ACTS_MAX];
};

struct plan {
    uint64_t seed;
    unsigned iteration;
    bool kill_engines, debugged;
    struct script script[ACTORS];
};

/* One VM's threads. */
struct stage {
    struct vm *vm;
    const struct plan *plan;
    pthread_t runner;
    atomic_bool running; /* the runner can be signalled */
    atomic_bool over;    /* uhyve_run has returned */
    /* Frozen engines must be thawed and statistics are one thread's at a time: acts of the first
     * script only. */
};

/* Choose guest, parameters and acts. */
void plan_make(struct plan *plan, struct vm *vm, uint64_t seed, unsigned iteration,
               const char *directory);
/* In a few words. */
void plan_describe(const struct plan *plan, const struct vm *vm, char *text, size_t size);

/* Carry out one script; it ends with uhyve_stop. */
void stage_act(struct stage *stage, unsigned script);

/* Once for the process: handlers of the signals above; and which VM this thread runs, for them. */
void stage_catch_signals(void);
void stage_handle_for(struct uhyve_vm *vm);

#endif
