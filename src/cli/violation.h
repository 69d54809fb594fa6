/*
 * A system call that the filter of a running VM does not permit (sandbox/filter.h) ends the
 * program: with one line that names it, and the status of a VM that could not be run. Main thread.
 */
#ifndef CLI_VIOLATION_H
#define CLI_VIOLATION_H

/* From now on; before the filter is in force, which keeps it from being changed. */
void violation_report(void);

#endif
