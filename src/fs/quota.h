/*
 * How much of something a guest may still use: a limit and what is taken of it. Any thread.
 */
#ifndef FS_QUOTA_H
#define FS_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct quota {
    uint64_t limit;
    atomic_uint_least64_t used;
};

/* All of `amount`, or false and nothing. */
static inline bool quota_take(struct quota *quota, uint64_t amount)
{
    uint64_t used = atomic_load(&quota->used);
    do {
        if (used > quota->limit || amount > quota->limit - used)
            return false;
    } while (!atomic_compare_exchange_weak(&quota->used, &used, used + amount));
    return true;
}

/* As much of `amount` as there is; returns it. */
static inline uint64_t quota_take_some(struct quota *quota, uint64_t amount)
{
    uint64_t used = atomic_load(&quota->used), part;
    do {
        uint64_t left = used < quota->limit ? quota->limit - used : 0;
        part = amount < left ? amount : left;
    } while (!atomic_compare_exchange_weak(&quota->used, &used, used + part));
    return part;
}

static inline void quota_give(struct quota *quota, uint64_t amount)
{
    atomic_fetch_sub(&quota->used, amount);
}

#endif
