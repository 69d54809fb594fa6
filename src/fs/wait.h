/*
 * Waiting for a host file, but not beyond the end of the VM. Any thread.
 */
#ifndef FS_WAIT_H
#define FS_WAIT_H

#include <stdbool.h>

/* Wait for poll's `events` on `fd`: 0, -EINTR if `stop_fd` is readable, or another -errno. The wait
 * is a poll of both, so that the stop is never missed. */
int wait_ready(int fd, short events, int stop_fd);

/* Is `stop_fd` readable? For calls that a signal interrupted. */
bool wait_is_over(int stop_fd);

#endif
