/*
 * The last bytes of what the kernel and the program said, shown or not: for crash reports, which
 * look for a panic in it. The kernel's log and the program's standard error, in the order in which
 * they came.
 *
 * The owner serialises all calls. Starts from {0}; holds no memory of its own.
 */
#ifndef CONSOLE_RECENT_H
#define CONSOLE_RECENT_H

#include <stddef.h>
#include <stdint.h>

#define RECENT_SIZE 8192 /* bytes */

struct recent {
    uint64_t total; /* bytes ever added; the next one goes to ring[total % RECENT_SIZE] */
    char ring[RECENT_SIZE];
};

void recent_add(struct recent *recent, const void *bytes, size_t size);

/* Copy them to `to`, terminated, without NUL bytes and terminal control sequences. Returns the
 * number of characters. */
size_t recent_copy(const struct recent *recent, char to[RECENT_SIZE + 1]);

#endif
