/*
 * Names of functions as their source has them: Rust (both manglings) and C++.
 *
 * Thread-safe. The names come from images, which are not trusted: work and output are bounded.
 */
#ifndef DEBUG_DEMANGLE_H
#define DEBUG_DEMANGLE_H

#include <stddef.h>

/* Longest name that is demangled, and longest result, terminator included; what is longer stays as
 * it is, or is cut. */
#define DEMANGLE_MAX 1024

/* Write the terminated source name to `to`, or `name` itself if it is not mangled. Returns `to`. */
const char *demangle(const char *name, char to[DEMANGLE_MAX]);

#endif
