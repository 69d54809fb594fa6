/*
 * The filter on system calls.
 */
#ifndef ENGINE_FILTER_H
#define ENGINE_FILTER_H

/* Install it for all threads of the process. Returns 0 or a negative error. */
long filter_install(int pid);

#endif
