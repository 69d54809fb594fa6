/*
 * A process that connects to one UNIX socket, again and again, for the back end `socket`.
 *
 * A filter of system calls does not see the address that a socket is connected to, and Landlock has
 * no word for sockets that have a path. So a thread that may connect may connect to whatever
 * listens on this machine for this user: a session bus, the socket of a container engine. Therefore
 * the VMM may not, and before it gives that up it starts a process (sandbox/helper.h) that can be
 * asked for one thing: connect to the path it was started with, and pass the descriptor.
 */
#ifndef NET_CONNECTOR_H
#define NET_CONNECTOR_H

#include <stdbool.h>

#include "sandbox/calls.h"
#include "sandbox/helper.h"

/* What the process calls, and what helper_stop does. */
extern const struct sandbox_call connector_own_calls[], connector_calls[];

/*
 * Start it for this path, which fits into an address. `restricted`: it restricts itself, which
 * takes no_new_privs or fails. Returns 0 or -errno; end it with helper_stop, also then.
 */
int connector_start(struct helper *helper, const char *path, bool restricted);

/* A stream socket connected now, without waiting for it: its descriptor, or -errno, of which -EIO
 * means that the process is gone. */
int connector_connect(struct helper *helper);

#endif
