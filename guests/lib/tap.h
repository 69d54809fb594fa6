/*
 * Results of a test guest in the Test Anything Protocol, on standard output.
 */
#ifndef GUESTS_LIB_TAP_H
#define GUESTS_LIB_TAP_H

#include <stdbool.h>
#include <stdint.h>

/* One test; the arguments name it like print's. Returns `passed`. */
bool tap_ok(bool passed, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One test that compares; a difference is explained. */
bool tap_equal(int64_t got, int64_t expected, const char *name);

void tap_skip(const char *name, const char *reason);

/* Print the plan; returns the number of failures, for main's result. */
int tap_end(void);

#endif
