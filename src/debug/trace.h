/*
 * The call trace (--trace): a line for each hypercall that the filter selects, or a table at the
 * end.
 *
 * trace_call_begin and trace_call_end are called by the thread of the vCPU; a line is written while
 * a lock is held, so lines of several vCPUs do not mix. A reader who has stopped reading blocks the
 * vCPU, but not the end of the VM (console/sink.h). The VM owns the trace.
 */
#ifndef DEBUG_TRACE_H
#define DEBUG_TRACE_H

#include "hypercall/record.h"

struct trace;

/*
 * `filter` is a list of names and groups, separated by commas, each of which may have a ! in front
 * to leave it out; with "summary" in it there is a table instead of lines. "" selects every call.
 * Writes to `fd` until stop_fd becomes readable; `start` is the CLOCK_MONOTONIC time that lines
 * count from. Returns 0 or -errno with *error filled (status 2 if the filter is wrong).
 */
int trace_create(struct trace **trace, const char *filter, int fd, int stop_fd, uint64_t start,
                 unsigned cpu_count, struct uhyve_error *error);
void trace_destroy(struct trace *trace); /* NULL is allowed */

/* Before the record of a call is made: write what is gathered in the history. */
void trace_call_begin(struct trace *trace, unsigned cpu, struct call_history *history,
                      uint16_t port);
/* When it is complete. */
void trace_call_end(struct trace *trace, unsigned cpu, struct call_record *record);

/* The network: a line for `text`, if the filter selects it (the word net). From any thread. */
bool trace_selects_net(const struct trace *trace);
void trace_net(struct trace *trace, const char *text);

/* After the last call: what was still gathered, and the table. All vCPU threads have ended. */
void trace_finish(struct trace *trace);

/* 0, or the errno for which a part of the trace is lost. */
int trace_error(const struct trace *trace);

#endif
