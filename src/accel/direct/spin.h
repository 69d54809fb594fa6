/*
 * How long a side waits for its turn before it sleeps.
 *
 * Waking a thread on an idle host CPU costs far more than a hypercall takes, so waiting actively
 * for a while is worth it: but only if the other side can run meanwhile. It cannot if it was last
 * seen on this very CPU, and probably not if the last waits were in vain: then the machine is busy.
 * The limit adapts to both.
 */
#ifndef ACCEL_DIRECT_SPIN_H
#define ACCEL_DIRECT_SPIN_H

#include <stdint.h>

struct spin {
    uint32_t most;    /* TSC ticks; 0: never */
    uint32_t current; /* at most `most` */
    uint32_t slept;   /* times in sequence that the other side was not fast enough */
};

/* After that many sleeps in sequence it is tried again whether spinning helps. */
#define SPIN_RETRY 32

/* Time stamp counter and the number of the host CPU it was read on. */
static inline uint64_t spin_now(uint32_t *cpu)
{
    uint32_t low, high;
    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(*cpu));
    return (uint64_t)high << 32 | low;
}

static inline uint32_t spin_limit(const struct spin *spin, uint32_t my_cpu, uint32_t other_cpu)
{
    return my_cpu == other_cpu ? 0 : spin->current;
}

static inline void spin_succeeded(struct spin *spin)
{
    spin->slept = 0;
    spin->current = spin->most;
}

static inline void spin_failed(struct spin *spin)
{
    spin->current = ++spin->slept % SPIN_RETRY ? spin->current / 2 : spin->most;
}

#endif
