/*
 * Waiting actively is worth trying where it has worked; where it was in vain, the next times it is
 * left out, and more often each time. Pure; also for programs without a C library.
 */
#ifndef UTIL_ATTEMPTS_H
#define UTIL_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: the next attempt is made. */
struct attempts {
    uint32_t to_skip; /* after an attempt in vain */
    uint32_t skipped;
};

#define ATTEMPTS_SKIP_MAX 63

static inline bool attempts_due(struct attempts *attempts)
{
    if (attempts->skipped < attempts->to_skip) {
        attempts->skipped++;
        return false;
    }
    attempts->skipped = 0;
    return true;
}

static inline void attempts_worked(struct attempts *attempts)
{
    attempts->to_skip = 0;
}

static inline void attempts_failed(struct attempts *attempts)
{
    uint32_t more = 2 * attempts->to_skip + 1;
    attempts->to_skip = more < ATTEMPTS_SKIP_MAX ? more : ATTEMPTS_SKIP_MAX;
}

#endif
