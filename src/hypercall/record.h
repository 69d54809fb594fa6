/*
 * What the last hypercalls of a vCPU looked like: for the call trace and for crash reports.
 *
 * A record is a copy: parameter block before and after the call, and the beginning of the path or
 * of the data it is about. It is made from guest memory apart from what the call itself reads, so a
 * guest that changes its block meanwhile fools its own trace and nothing else. debug/call_text.h
 * turns records into text.
 *
 * A history belongs to one vCPU, whose thread alone writes it; others read it after that thread has
 * ended. It starts as zeros.
 */
#ifndef HYPERCALL_RECORD_H
#define HYPERCALL_RECORD_H

#include "hypercall/hypercall.h"

#define CALL_RECORD_BLOCK 40  /* the largest parameter block but that of Cmdsize */
#define CALL_RECORD_TEXT  240 /* bytes of a path */
#define CALL_RECORD_DATA  32  /* bytes of written or read data */
#define CALL_RECORD_LINE  120 /* bytes that are gathered from byte-by-byte output */
#define CALL_HISTORY      16  /* calls that are kept */

struct call_record {
    uint16_t port;
    bool finished;
    bool refused;   /* not one 32-bit OUT */
    bool has_block; /* the parameter block is in guest memory */
    bool has_text;  /* `text` is what the call is about; else its memory could not be read */
    bool text_cut;  /* there is more of it */
    bool has_attr;
    bool shown; /* for the trace */
    uint32_t text_size;
    uint32_t count; /* calls in this record: bytes of the serial channel are gathered */
    uint64_t payload;
    uint64_t start_ns, duration_ns; /* only when asked for; CLOCK_MONOTONIC */
    uint32_t attr_mode;
    int64_t attr_size;
    uint8_t before[CALL_RECORD_BLOCK], after[CALL_RECORD_BLOCK];
    char text[CALL_RECORD_TEXT];
};

struct call_history {
    uint64_t total;                           /* records ever made */
    struct call_record records[CALL_HISTORY]; /* the next one is total % CALL_HISTORY */
};

/* How much a record is to hold. */
struct call_detail {
    /* Also times, data and attributes, which takes longer. */
    bool full;
    const struct ram *ram;
    const struct hypercall_caller *caller;
};

/* The newest record; NULL if there is none. */
struct call_record *call_history_last(struct call_history *history);

/* True if the call would be gathered in this record rather than get one of its own. */
bool call_record_continues(const struct call_record *record, uint16_t port);

/* Before and after hypercall_run. */
struct call_record *call_record_begin(struct call_history *history, uint16_t port,
                                      const struct hypercall_write *write,
                                      const struct call_detail *detail);
void call_record_end(struct call_record *record, const struct call_detail *detail);

#endif
