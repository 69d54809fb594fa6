/*
 * The driver of fault injection: what its files share.
 *
 *   driver.c    command line, what is to be tried, workers, report
 *   cases.c     the runs that are tried
 *   session.c   one run of a program in a directory of its own
 *   faults.c    which calls fail how
 *   check.c     does a run count as handled?
 *   symbols.c   where in the source is a call?
 *   peer.c      GDB's user, and the other end of a network
 *   tap.c       a tap interface for each worker
 */
#ifndef FAULTS_DRIVER_H
#define FAULTS_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"

#define CASE_WORDS 24
#define FILES_MAX  64

enum accelerator { NO_ACCELERATOR, ACCELERATOR_KVM, ACCELERATOR_DIRECT };
enum peer { NO_PEER, PEER_GDB, PEER_NETWORK };

/* One kind of run. Words: "@NAME" is the path of a guest, "%IMAGE" of a Hermit
 * image, and "&" stands for a port that is free. */
struct fault_case {
    const char *name;
    bool image_tool; /* uhyve-image, else uhyve */
    bool tap;        /* with the interface tap10 */
    enum peer peer;
    const char *words[CASE_WORDS];
    const char *input; /* standard input */
    int status;        /* without a fault */
    int told;          /* of a guest that was told of the fault; 0: it shows "CALL = -ERRNO" */
    /* What differs from run to run: then these parts have to be there, and files not empty. */
    const char *output_has[4], *errors_have[4];
    bool varies;
    bool keeps_output;    /* --file-isolation=strict keeps files from being removed */
    bool any_accelerator; /* the accelerator makes no difference: run once */
};

extern const struct fault_case cases[];
extern const size_t case_count;

/* What is asked for on the command line; paths are absolute. */
enum level {
    EACH_SITE, /* each place that calls, once */
    EACH_CALL, /* every call with the first of its faults, interrupted, and short */
    EVERYTHING /* every call with all its faults, and those after it failing too */
};

enum mode { RUN_ALL, RUN_ONE, LIST_CASES, MISTAKEN };

struct settings {
    const char *uhyve, *image_tool, *engine, *guests, *work, *tolerated;
    bool kvm, general_registers; /* KVM: usable; without SSE */
    bool tap;                    /* tap interfaces can be made */
    bool sanitized;
    unsigned limit_ms;
    unsigned workers;
    enum level level;
    const char *only; /* cases that match this pattern; NULL: all */
};

/* What is to fail: the n-th call of this stream, 0 for none. */
struct plan {
    bool engine, sticky;
    uint32_t at;
    int32_t fault;
};

/* A file below the directory of a run, after it. */
struct seen_file {
    char *path;
    uint64_t size, hash;
};

/* One run, and what came of it. */
struct session {
    const struct settings *settings;
    const struct fault_case *kind;
    enum accelerator accelerator;
    char directory[256]; /* of the worker: control, out, err and run/ */
    struct fault_control *control;

    int status; /* exit status, or 256 + signal */
    bool timed_out;
    unsigned left_processes;
    char *output, *errors; /* NUL-terminated */
    size_t output_size, errors_size;
    struct seen_file files[FILES_MAX];
    size_t file_count;
};

/* options.c: the command line, with a message if there is a mistake. What is to be done; the words
 * after the options are from optind on. */
enum mode options_read(int argc, char **argv, struct settings *settings);

/* session.c */
int session_open(struct session *session, const struct settings *settings, const char *directory);
void session_run(struct session *session, const struct fault_case *kind,
                 enum accelerator accelerator, const struct plan *plan);
bool session_is_input(const char *path);      /* there before it started */
void session_forget(struct session *session); /* the results */

/* tap.c: leave the network for a new one that has its loopback interface and tap10 only. False
 * where that is not permitted. */
bool tap_make(void);

/* peer.c: a process beside the program; peer_prepare before, in the run's directory. */
int peer_prepare(enum peer peer);
pid_t peer_start(enum peer peer, int prepared);

/* Whose calls a run counts. */
const char *session_program(const struct settings *settings, const struct fault_case *kind,
                            bool engine);

/* symbols.c: FUNCTION at FILE:LINE of an address in a program, "?" for those that were not among
 * the records loaded before. */
struct place {
    char function[64], file[48];
    unsigned line;
};
void symbols_load(const char *program, const struct fault_record *records, size_t count);
void symbols_find(const char *program, uint64_t address, struct place *place);

/* faults.c: the list of calls.txt, and what it means. */
struct fault_function {
    const char *name;
    int32_t faults[8]; /* 0 ends it */
};
extern const struct fault_function fault_functions[];
const char *fault_name(int32_t fault, char *text, size_t size);
int32_t fault_parse(const char *name); /* 0: none */
/* What a record's call is, for people; and the faults that its arguments make realistic. */
void fault_describe(bool engine, const struct fault_record *record, char *text, size_t size);
const int32_t *fault_choices(bool engine, const struct fault_record *record);

/* check.c */

/* Which calls may fail without anybody noticing: tolerated.txt, see there. */
void check_load_tolerated(const char *path);
bool check_is_impossible(const char *call, const char *function, int32_t fault);
/* What is wrong with a run in comparison with one that had no fault; "" if nothing is. */
void check_run(const struct session *good, const struct session *run, const struct plan *plan,
               char *text, size_t size);

#endif
