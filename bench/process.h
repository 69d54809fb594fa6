/*
 * Programs that the benchmarks start and time.
 *
 * A program runs with an empty environment, so that no setting of the caller changes a figure, and
 * with its standard output and error in pipes. Nothing here waits longer than
 * PROCESS_DEADLINE_SECONDS: a program that hangs is killed. One thread.
 */
#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROCESS_DEADLINE_SECONDS 60

struct process {
    pid_t pid;
    int pidfd;
    int in; /* write end of its standard input, -1 if that is /dev/null */
    int out;
    int err;
    uint64_t start_ns; /* just before it was created */
};

/* How a program ran. Times are counted from just before the process was created. */
struct process_run {
    uint64_t first_ns; /* its first byte of output arrived; 0 if there was none */
    uint64_t wall_ns;  /* it had ended */
    int status;        /* exit status; 128 + signal if a signal ended it */
    char output[256];  /* beginning of its output, terminated */
    char errors[256];  /* beginning of its error output, without the last newline */
};

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t process_clock(void);

/*
 * Start argv[0] (searched in PATH if it has no slash); argv ends with NULL. With `with_input` its
 * standard input is a pipe that stays open. Returns 0 or -errno. process_collect or process_kill
 * must follow.
 */
int process_start(struct process *process, const char *const *argv, bool with_input);

/* Wait for the end of the program. Returns 0, -ETIMEDOUT after killing it, or -errno. */
int process_collect(struct process *process, struct process_run *run);

/* Kill the program and reap it. */
void process_kill(struct process *process);

/* process_start without input, and process_collect. */
int process_run(const char *const *argv, struct process_run *run);

/* Wait until output of the program is there and read it. Returns the number of bytes, 0 at end of
 * file, -ETIMEDOUT or -errno. */
ssize_t process_read(const struct process *process, void *to, size_t size);

#endif
