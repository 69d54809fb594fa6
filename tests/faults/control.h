/*
 * Fault injection: the memory that the programs under test share with the driver.
 *
 * The driver maps a file that starts with a struct fault_control, names it in the environment
 * variable UHYVE_FAULTS and starts a program that is linked with calls.c. There each call that may
 * fail is counted and noted, in every process and thread, and the one that is asked for fails. The
 * engine of the accelerator 'direct' (engine.c) has a count of its own, since it runs beside the
 * VMM. Plain types only: the engine has no C library.
 */
#ifndef FAULTS_CONTROL_H
#define FAULTS_CONTROL_H

#include <stdint.h>

#define FAULT_RECORDS        16384
#define FAULT_ENGINE_RECORDS 2048
#define FAULT_SHORT          (-1) /* as a fault: fewer bytes than asked for */
#define FAULT_SILENT         (-2) /* a failure that has no errno */

/* The detail of a futex call: with its operation, since only waiting fails. */
#define FAULT_FUTEX(number, operation) ((number) | (int64_t)((operation)&0x7f) << 32)

/* One call that was made: `function` is an index into the list of calls.txt, or the number of the
 * engine's system call. */
struct fault_record {
    uint64_t site;    /* hash of where it was called */
    uint64_t address; /* of its caller in the program, without randomisation */
    uint32_t function;
    uint32_t process;
    int64_t detail; /* descriptor, request, number of a system call, or size */
};

/* The calls of the programs with a C library, or of the engine. */
struct fault_stream {
    uint32_t count;  /* calls so far */
    uint32_t at;     /* the call that fails, from 1; 0: none */
    int32_t fault;   /* errno, or FAULT_... */
    uint32_t sticky; /* later calls of the same function fail, too */
    uint32_t hits;   /* calls that failed */
    uint32_t hit_function;
};

/* What the engine maps. */
struct fault_engine {
    struct fault_stream stream;
    struct fault_record records[FAULT_ENGINE_RECORDS];
};

struct fault_control {
    struct fault_engine engine;
    struct fault_stream program;
    struct fault_record records[FAULT_RECORDS];
    /* What the program still had when it ended. */
    int32_t looked, open_files, threads;
    char open_name[128];
};

#endif
