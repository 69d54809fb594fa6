/*
 * A host descriptor that guest output is written to, such that a reader who has stopped reading
 * cannot keep the VM from stopping.
 *
 * The descriptor stays the caller's and its flags are left alone, because other processes share
 * them: a pipe or a terminal is opened a second time, without blocking, where the host permits it;
 * sockets are written to with a flag; regular files never make a writer wait for a reader. What
 * remains (no /proc, a terminal of another user) is polled before each write of at most PIPE_BUF
 * bytes. Such a write can still block when somebody else fills the same pipe in between; then the
 * signal that the VM kicks its vCPU threads with ends it, so the kick must be repeated until the
 * thread has left.
 *
 * One thread at a time on one sink.
 */
#ifndef CONSOLE_SINK_H
#define CONSOLE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "sandbox/calls.h"

extern const struct sandbox_call sink_calls[];

enum sink_kind {
    SINK_NONE,   /* discards everything */
    SINK_FILE,   /* regular file */
    SINK_SOCKET, /* written with MSG_DONTWAIT */
    SINK_DIRECT, /* our own non-blocking descriptor */
    SINK_POLLED, /* possibly blocking, polled before each write */
};

struct sink {
    enum sink_kind kind;
    int fd;      /* what is written to; ours if kind is SINK_DIRECT */
    int stop_fd; /* readable once the VM stops; -1: never */
};

/* fd -1 makes a sink that discards. Cannot fail: a bad descriptor shows at the first write. */
void sink_open(struct sink *sink, int fd, int stop_fd);
void sink_close(struct sink *sink);

/*
 * Write all buffers in order. Returns 0 when everything was written, -EINTR when the VM stopped and
 * writing on would have to wait, or the -errno of the failed write. *written is the number of bytes
 * that went out in any case.
 */
int sink_write(const struct sink *sink, const struct iovec *iov, size_t count, size_t *written);

#endif
