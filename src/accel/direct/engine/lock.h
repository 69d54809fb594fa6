/*
 * A lock between the engine's threads for short sections. Waiters spin, then yield the processor in
 * slices: the holder may be a thread that the host has preempted.
 */
#ifndef ENGINE_LOCK_H
#define ENGINE_LOCK_H

#include <stdint.h>

#include "accel/direct/engine/syscalls.h"

#define LOCK_SPINS 2000

static inline void lock_take(uint32_t *lock)
{
    unsigned spins = 0;
    while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(lock, __ATOMIC_RELAXED)) {
            if (++spins % LOCK_SPINS == 0)
                sys_sched_yield();
            __asm__ volatile("pause");
        }
    }
}

static inline void lock_release(uint32_t *lock)
{
    __atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

#endif
