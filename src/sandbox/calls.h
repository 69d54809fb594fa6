/*
 * How a module says which system calls it makes while a guest runs. The list stands in the module's
 * own source file, beside the code that needs it, and vm/isolation.c names it: what is on no list
 * of a run ends the program (sandbox/filter.h). The build reads the lists: uhyve holds only the
 * filter that was made of them.
 *
 *     const struct sandbox_call example_calls[] = {
 *         SANDBOX_CALL(poll),
 *         SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, KVM_RUN)),
 *         SANDBOX_CALL(mmap, SANDBOX_CLEAR(2, PROT_EXEC)),
 *         SANDBOX_END,
 *     };
 *
 * A call that is listed several times is permitted if one of its entries holds. What the C library
 * needs for memory, threads, clocks and the end of the process is always permitted
 * (sandbox/runtime.c).
 */
#ifndef SANDBOX_CALLS_H
#define SANDBOX_CALLS_H

#include <stdint.h>
#include <sys/syscall.h>

enum sandbox_condition {
    SANDBOX_WHATEVER,
    SANDBOX_MASKED,  /* (argument & mask) == value */
    SANDBOX_DIFFERS, /* argument != value */
    SANDBOX_IS_SELF, /* this process */
    SANDBOX_IS_PEER, /* the process of the accelerator, if it has one */
};

/* A condition on one argument. Filters see its lower 32 bits, and no memory behind pointers. */
struct sandbox_check {
    uint8_t condition; /* enum sandbox_condition */
    uint8_t argument;  /* 0 to 5 */
    uint32_t mask, value;
};

struct sandbox_call {
    int16_t number;                /* SYS_...; -1: end of the list */
    uint16_t error;                /* not permitted, but answered with this error */
    struct sandbox_check check[2]; /* all must hold; none with an error */
};

/* clang-format off */
#define SANDBOX_CALL(name, ...) {.number = SYS_##name, .check = {__VA_ARGS__}}
/* What the C library tries and does without. Any entry that permits the call is stronger. */
#define SANDBOX_ERROR(name, errno_value) {.number = SYS_##name, .error = errno_value}
#define SANDBOX_END {.number = -1}

#define SANDBOX_EQUAL(argument, value) {SANDBOX_MASKED, argument, UINT32_MAX, value}
#define SANDBOX_BITS(argument, mask, value) {SANDBOX_MASKED, argument, mask, value}
#define SANDBOX_CLEAR(argument, mask) {SANDBOX_MASKED, argument, mask, 0}
/* Alone: the only entry of its call, with no other condition. */
#define SANDBOX_NOT(argument, value) {SANDBOX_DIFFERS, argument, 0, value}
#define SANDBOX_SELF(argument) {SANDBOX_IS_SELF, argument, 0, 0}
#define SANDBOX_PEER(argument) {SANDBOX_IS_PEER, argument, 0, 0}
/* clang-format on */

#endif
