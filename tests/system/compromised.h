/*
 * The attempts of compromised.c: what a thread does that a guest has taken over. Each makes its
 * system calls directly and returns what the last one did: 0 or more, or -errno.
 */
#ifndef SYSTEM_COMPROMISED_H
#define SYSTEM_COMPROMISED_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

enum layer {
    LANDLOCK = 1, /* every version */
    LANDLOCK_3 = 2,
    LANDLOCK_4 = 4,
    LANDLOCK_6 = 8,
    FILTER = 16,
    LANDLOCK_SIGNALS = 32, /* version 6, where the accelerator needs no signals to others */
    CAPABILITIES = 64,
};

/* What the attempts aim at. */
struct target {
    char directory[256];
    char outside[300], outside_new[300], readonly[300], mapped[300], mapped_new[300];
    char neighbour[300];
    char socket_path[100], abstract_name[40];
    int listener_port;
    int victim; /* the process that started this one */
};

struct attempt {
    const char *name;
    long (*make)(void);
    unsigned covered; /* by any of these layers */
    bool uncertain;   /* what happens without them depends on the machine */
    bool tcp;         /* what the network's thread is there for, in user mode */
};

extern struct target target;
extern unsigned layers; /* those in force */

/* Whether the filter has refused a call since this was set to 0. */
extern __thread volatile sig_atomic_t trapped;

extern const struct attempt file_attempts[], system_attempts[];
extern const size_t file_attempt_count, system_attempt_count;
/* Further ones of the network's thread. */
extern const struct attempt network_attempts[];
extern const size_t network_attempt_count;

static inline long call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#define CALL(name, ...) CALL_(SYS_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, ...)                                                       \
    call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline long close_if_open(long fd)
{
    if (fd >= 0)
        CALL(close, fd);
    return fd;
}

/* Whether a file can be opened; it is created with mode 0600. */
long open_path(const char *path, int flags);

#endif
