/*
 * One run of the program under test: its command line, its streams, what it is to end with. A run
 * belongs to the thread that makes it; any number of threads make runs at the same time.
 */
#ifndef SOAK_PROGRAM_H
#define SOAK_PROGRAM_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "soak.h"

#define RUN_WORDS 24
#define RUN_LIMIT 120.0 /* seconds in which a run must have ended: less is a hang */

struct run_kind;

struct run {
    const struct run_kind *kind;
    struct soak_random random;
    const char *accel; /* "kvm" or "direct" */
    unsigned cpus;
    char directory[200]; /* an empty one for its files */

    /* The command line. */
    char words[RUN_WORDS][320];
    unsigned count;
    bool with_input; /* standard input is a pipe, else at its end */

    /* What is expected. */
    int status;
    char text[40000]; /* on standard output */
    bool any_text;    /* whatever it is */
    bool any_errors;  /* there may be something on standard error */

    /* The process. */
    pid_t pid;
    int pidfd, in, out, err;
    bool hung;
    int wait_status; /* as of waitpid */

    char why[2000]; /* it is not as it should be */
};

/* Where the program and its guests are: the environment variables UHYVE and GUESTS. */
const char *program_path(void);

void run_word(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A guest, in the build that the accelerator can run. */
void run_guest(struct run *run, const char *name);

/* run->directory, below `work`. False, with the reason in `why`, if there can be none. */
bool run_make_directory(struct run *run, const char *work);
void run_remove_directory(const struct run *run);

/* False, with the reason in `why`, if it cannot be started. */
bool run_start(struct run *run);
bool run_has_ended(struct run *run, double wait); /* within so many seconds */
void run_wait(struct run *run);                   /* kills it after RUN_LIMIT */
void run_release(struct run *run);

/* What is in out or err, terminated; to be freed. Lines about a kernel without Landlock are left
 * out: they come with every run. */
char *run_output(int fd, size_t *size);

/* Wait until a stream holds this text (NULL: anything). False if the process ends before. */
bool run_wait_for(struct run *run, int fd, const char *text);

/* The port on which it waits for a debugger, once it says so; 0 if it ends before. */
int run_port(struct run *run);

/* As a shell counts: exit status, or 128 + signal. */
int run_status(const struct run *run);

#endif
