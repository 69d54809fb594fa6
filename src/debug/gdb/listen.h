/*
 * The socket on which debuggers are waited for (spec/debug.md section 1): TCP on a loopback
 * address, or a UNIX socket that only its owner may use. Set up before privileges are dropped.
 */
#ifndef DEBUG_GDB_LISTEN_H
#define DEBUG_GDB_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include "sandbox/calls.h"
#include "uhyve.h"

extern const struct sandbox_call gdb_listen_calls[];

struct gdb_listener {
    int fd;           /* -1: none */
    uint16_t port;    /* TCP */
    const char *path; /* UNIX socket, borrowed */
};

/*
 * `path` NULL: TCP on `port` of 127.0.0.1 or, on a machine without it, of ::1; port 0 is any that
 * is free. Returns 0, or -errno with *error filled. A socket that nobody listens on any more is
 * replaced; that of this listener stays when it is closed, since the right to remove a file is more
 * than the VMM should keep.
 */
int gdb_listen(struct gdb_listener *listener, uint16_t port, const char *path,
               struct uhyve_error *error);
void gdb_listen_close(struct gdb_listener *listener);

/* The next connection, non-blocking and close-on-exec, or -errno (-EAGAIN: nobody is there). */
int gdb_accept(const struct gdb_listener *listener);

#endif
