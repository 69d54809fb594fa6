/*
 * The other CPUs. They wait in entry.S until they are called up.
 */
#ifndef GUESTS_LIB_SMP_H
#define GUESTS_LIB_SMP_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/cpu.h"

#define SMP_MAX_CPUS 256 /* as many as uhyve gives */

struct spinlock {
    uint32_t taken;
};

/* Number of CPUs of this machine. */
uint32_t smp_cpu_count(void);

/*
 * Run `function` on all CPUs, on this one (CPU 0) too, and return when all have returned. May be
 * called several times, from CPU 0.
 */
void smp_run(void (*function)(uint32_t cpu));

static inline void spinlock_take(struct spinlock *lock)
{
    while (__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE) != 0)
        cpu_pause();
}

static inline void spinlock_release(struct spinlock *lock)
{
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}

#endif
