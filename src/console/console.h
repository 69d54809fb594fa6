/*
 * Where guest output goes.
 *
 * Two inputs: what the program writes to its descriptors 1 and 2, and the serial channel, which
 * carries the kernel's log and, with kernels and programs that print through the kernel, program
 * text. Three outputs, from struct uhyve_params: program text goes to stdout_fd, the program's
 * descriptor 2 and log lines to log_fd (lines below WARN only with `verbose`; the last of those not
 * shown are kept for struct uhyve_result), or else everything, unfiltered and in order, to
 * output_fd, or nowhere.
 *
 * Text that one thread hands over is written in the order it was handed over. Each call's bytes are
 * written contiguously. A partial line of the log, or what may become one, is held back until the
 * line goes on, or until the same thread writes something else: a vCPU thread that writes between
 * two bytes of another vCPU's log line does not tear it.
 *
 * A reader who has stopped reading blocks the writing vCPU, as it should, but not the end of the
 * VM: once stop_fd is readable all calls return promptly with -EINTR (see console/sink.h for the
 * one case in which that takes a signal). stop_fd is never read here.
 *
 * The VM owns the console; console_program_write and console_serial_write may be called from any
 * thread, the rest where it says so.
 */
#ifndef CONSOLE_CONSOLE_H
#define CONSOLE_CONSOLE_H

#include <sys/types.h>
#include <sys/uio.h>

#include "console/recent.h"
#include "util/log.h"

struct console;

/*
 * Borrows the parameters' descriptors, stop_fd (-1: never stops) and `log` until console_destroy.
 * Call it before privileges are dropped. Returns 0 or -errno with *error filled.
 */
int console_create(struct console **console, const struct uhyve_params *params, int stop_fd,
                   const struct log *log, struct uhyve_error *error);

/* NULL is allowed. No other call may be running. */
void console_destroy(struct console *console);

/*
 * The guest writes to its descriptor guest_fd, 1 or 2 (spec/hypercalls.md section 4.4). Returns the
 * number of bytes written, all of them unless an error came in between; -EINTR if the VM stopped
 * before everything was written; else the -errno of the first write. Discarded bytes count as
 * written.
 */
ssize_t console_program_write(struct console *console, int guest_fd, const struct iovec *iov,
                              size_t count);

/*
 * Bytes of the serial channel (spec/hypercalls.md section 4.10), single or many. Returns `size`,
 * -EINTR if the VM stopped before everything was written, or the -errno of a write that failed.
 */
ssize_t console_serial_write(struct console *console, const void *bytes, size_t size);

/*
 * Write what is held back. For the end of the run; called while stop_fd is not yet readable it
 * waits for slow readers, later it writes only what can be written without waiting.
 */
void console_flush(struct console *console);

/* 0, or the errno for which output was lost first. For the end of the run. */
int console_error(const struct console *console);

/*
 * The last log lines that were not shown, "" if none; *dropped is the number of bytes that were
 * neither shown nor kept. Belongs to the console. After the vCPU threads have ended.
 */
const char *console_kernel_log(struct console *console, size_t *dropped);

/* What the kernel and the program said last, see console/recent.h. After the vCPU threads have
 * ended. */
size_t console_recent(const struct console *console, char to[RECENT_SIZE + 1]);

#endif
