/*
 * What uhyve itself says on standard error, and the exit status that goes with it.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "uhyve.h"

/* For uhyve_params.message: one line, in one write, so lines of several threads do not mix. */
void report_message(void *context, enum uhyve_level level, const char *text);

/* Print an error. Returns its exit status. */
int report_error(const struct uhyve_error *error);

/*
 * Print what the user has to know about the guest's end: the log that was withheld if it failed,
 * the report of a crash, lost output. `signal` is the one that stopped it, or 0. Returns the exit
 * status.
 */
int report_result(const struct uhyve_result *result, int signal);

#endif
