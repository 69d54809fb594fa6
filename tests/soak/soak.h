/*
 * What the soak programs share: numbers from a seed, a clock, and results in the Test Anything
 * Protocol. Everything may be called from any thread; the counters of results are the process's.
 */
#ifndef SOAK_SOAK_H
#define SOAK_SOAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* xorshift64*: the same everywhere for the same seed and stream. */
struct soak_random {
    uint64_t state;
};

void soak_random_start(struct soak_random *random, uint64_t seed, uint64_t stream);
uint64_t soak_random(struct soak_random *random, uint64_t limit); /* 0 ... limit - 1 */
bool soak_chance(struct soak_random *random, unsigned percent);

/* The seed in the environment variable SEED, else one from the clock. */
uint64_t soak_seed(void);

double soak_now(void); /* seconds of a clock that never jumps */
void soak_sleep_us(uint64_t microseconds);

/* One result; `why` (may be NULL or empty) is shown below one that failed. soak_finish prints the
 * plan and returns the exit status of the program. */
void soak_result(bool good, const char *name, const char *why);
void soak_skip(const char *name, const char *why);
void soak_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
int soak_finish(void);

/* What this process has. */
struct soak_resources {
    unsigned descriptors, threads, mappings, children;
    uint64_t resident; /* bytes */
};
struct soak_resources soak_resources(void);

/* Processes whose parent is `parent` and whose name begins with `name` (NULL: any): how many, and
 * the ids of the first `limit`. */
unsigned soak_children(int parent, const char *name, int *pids, unsigned limit);

#endif
