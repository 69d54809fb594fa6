/*
 * Why a guest that ended in error did so, as far as its own output tells: a panic of the kernel or
 * of the application (Rust's message, old and new form), or an exception that the kernel caught and
 * logged.
 *
 * Pure functions of text that the guest chose: everything found is bounded, and a hint at best.
 */
#ifndef DEBUG_PANIC_H
#define DEBUG_PANIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/text.h"

struct panic {
    bool found;
    bool exception;     /* caught and logged by the kernel; else a panic */
    char location[256]; /* "src/main.rs:6:5"; "" if it is not told */
    char message[512];  /* first line: the panic's message, or the exception's name */
    bool has_rip;       /* an exception's instruction and stack pointer are in the log */
    bool has_address;   /* and the address of a page fault */
    uint64_t rip, rsp, address;
};

/* Look for the last one in the `size` bytes of terminated text. */
void panic_find(struct panic *panic, const char *text, size_t size);

/* Add "the application panicked at src/main.rs:6:5: message". */
void panic_format(const struct panic *panic, struct text *text);

/*
 * How a function (demangled) is concerned with panics: PANIC_MACHINERY carries one out,
 * PANIC_LIBRARY is standard library code which panics on behalf of its caller, PANIC_OTHER is what
 * a developer wants to see.
 */
enum panic_role {
    PANIC_MACHINERY,
    PANIC_LIBRARY,
    PANIC_OTHER,
};
enum panic_role panic_role(const char *function);

#endif
