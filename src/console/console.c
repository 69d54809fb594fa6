#include "console/console.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "console/log_filter.h"
#include "console/log_tail.h"
#include "console/recent.h"
#include "console/sink.h"
#include "util/checked.h"
#include "util/error.h"

/* One destination, and how serial bytes are gathered for it. */
struct stream {
    struct sink sink;
    const char *name; /* for the message about lost output */
    bool by_line;     /* serial bytes may wait for the end of their line */
};

/*
 * Serial bytes pass through the filter into `batch`, which collects neighbouring pieces for one
 * stream. It is written at the end of each call, except that an incomplete line may stay for a
 * stream that takes whole lines, so that a log line which arrives byte by byte is one write.
 */
struct console {
    const struct log *log;
    bool discard, unfiltered, verbose;
    struct stream program, kernel; /* unfiltered: `program` is the one for all */

    /*
     * Guards everything below, also during writes that wait for a reader. That does not hold up the
     * end of the VM: every holder leaves when it stops, one after the other.
     */
    pthread_mutex_t lock;
    struct log_filter filter;
    pthread_t writer; /* who wrote what is held in filter and batch */
    struct stream *batch_stream;
    size_t batch_size;
    char batch[4096];

    struct log_tail tail;
    struct recent recent;
    int error; /* first errno for which output was lost */
    bool error_told;
    const char *error_name;
};

int console_create(struct console **console, const struct uhyve_params *params, int stop_fd,
                   const struct log *log, struct uhyve_error *error)
{
    struct console *made = calloc(1, sizeof *made);
    *console = made;
    if (!made)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM,
                         "cannot set up the guest's console: %s", strerror(ENOMEM));
    pthread_mutex_init(&made->lock, NULL);
    made->log = log;
    made->verbose = params->verbose;
    made->discard = params->discard_output;
    made->unfiltered = params->output_fd >= 0 && !made->discard;

    int program_fd = made->unfiltered ? params->output_fd : params->stdout_fd;
    int kernel_fd = made->unfiltered ? -1 : params->log_fd;
    sink_open(&made->program.sink, made->discard ? -1 : program_fd, stop_fd);
    sink_open(&made->kernel.sink, made->discard ? -1 : kernel_fd, stop_fd);
    made->program.name = made->unfiltered ? "the output file" : "the program's output";
    made->program.by_line = made->unfiltered && made->program.sink.kind == SINK_FILE;
    made->kernel.name = "the kernel's log";
    made->kernel.by_line = true;
    return 0;
}

void console_destroy(struct console *console)
{
    if (!console)
        return;
    sink_close(&console->program.sink);
    sink_close(&console->kernel.sink);
    log_tail_free(&console->tail);
    pthread_mutex_destroy(&console->lock);
    free(console);
}

static int stream_write(struct console *console, struct stream *stream, const struct iovec *iov,
                        size_t count, size_t *written)
{
    int err = sink_write(&stream->sink, iov, count, written);
    if (err && err != -EINTR && !console->error) {
        console->error = -err;
        console->error_name = stream->name;
    }
    return err;
}

/* What cannot be written is lost: after an error so would be everything that follows, and at the
 * stop nobody waits for it. */
static int batch_flush(struct console *console)
{
    struct iovec iov = {console->batch, console->batch_size};
    size_t written;
    console->batch_size = 0;
    return iov.iov_len ? stream_write(console, console->batch_stream, &iov, 1, &written) : 0;
}

static int batch_add(struct console *console, struct stream *stream, const char *bytes, size_t size)
{
    int err = 0;
    if (console->batch_stream != stream)
        err = batch_flush(console);
    console->batch_stream = stream;
    while (size && err != -EINTR) {
        size_t room = sizeof console->batch - console->batch_size;
        size_t part = size < room ? size : room;
        memcpy(console->batch + console->batch_size, bytes, part);
        console->batch_size += part;
        bytes += part;
        size -= part;
        if (part == room) {
            int failed = batch_flush(console);
            err = failed ? failed : err;
        }
    }
    return err;
}

/* Pass a piece of the serial stream on to where its kind belongs. */
static int console_route(struct console *console, const struct log_piece *piece)
{
    if (!piece->size)
        return 0;
    if (piece->kind == LOG_KIND_PROGRAM)
        return batch_add(console, &console->program, piece->bytes, piece->size);
    bool shown = console->verbose || piece->kind >= LOG_KIND_WARN;
    if (shown && console->kernel.sink.kind != SINK_NONE)
        return batch_add(console, &console->kernel, piece->bytes, piece->size);
    log_tail_add(&console->tail, piece->bytes, piece->size);
    return 0;
}

/* Write what serial bytes left behind, so that what follows stays behind it. */
static int console_release(struct console *console)
{
    struct log_piece piece;
    log_filter_release(&console->filter, &piece);
    int err = console_route(console, &piece);
    int failed = batch_flush(console);
    return failed ? failed : err;
}

/* Give the lock back, then tell about the first loss: the message callback is foreign code. */
static void console_leave(struct console *console)
{
    bool tell = console->error && !console->error_told;
    console->error_told |= tell;
    int err = console->error;
    pthread_mutex_unlock(&console->lock);
    if (tell)
        log_warn(console->log, "guest output is lost: writing %s: %s", console->error_name,
                 strerror(err));
}

static ssize_t vectors_size(const struct iovec *iov, size_t count)
{
    ssize_t total = 0;
    for (size_t i = 0; i < count; i++)
        if (checked_add(total, iov[i].iov_len, &total))
            return -EINVAL;
    return total;
}

ssize_t console_program_write(struct console *console, int guest_fd, const struct iovec *iov,
                              size_t count)
{
    ssize_t total = vectors_size(iov, count);
    if (total <= 0 || (console->discard && guest_fd != 2))
        return total;
    pthread_mutex_lock(&console->lock);
    for (size_t i = 0; i < count && guest_fd == 2; i++)
        recent_add(&console->recent, iov[i].iov_base, iov[i].iov_len);
    if (console->discard) {
        pthread_mutex_unlock(&console->lock);
        return total;
    }
    int err = 0;
    if (console->unfiltered || pthread_equal(console->writer, pthread_self()))
        err = console_release(console);
    bool to_kernel = guest_fd == 2 && !console->unfiltered;
    struct stream *stream = to_kernel ? &console->kernel : &console->program;
    size_t written = 0;
    if (err != -EINTR)
        err = stream_write(console, stream, iov, count, &written);
    console_leave(console);
    if (err == -EINTR || !written)
        return err;
    return (ssize_t)written;
}

static int serial_filter(struct console *console, const char *bytes, size_t size)
{
    int err = 0;
    while (size && err != -EINTR) {
        struct log_piece piece;
        size_t taken = log_filter_next(&console->filter, bytes, size, &piece);
        int failed = console_route(console, &piece);
        err = failed ? failed : err;
        bytes += taken;
        size -= taken;
    }
    return err;
}

ssize_t console_serial_write(struct console *console, const void *bytes, size_t size)
{
    if (!size)
        return 0;
    pthread_mutex_lock(&console->lock);
    recent_add(&console->recent, bytes, size);
    if (console->discard) {
        pthread_mutex_unlock(&console->lock);
        return (ssize_t)size;
    }
    console->writer = pthread_self();
    int err = console->unfiltered ? batch_add(console, &console->program, bytes, size)
                                  : serial_filter(console, bytes, size);
    bool line_open = console->batch_size && console->batch[console->batch_size - 1] != '\n';
    if (!line_open || !console->batch_stream->by_line) {
        int failed = batch_flush(console);
        err = failed ? failed : err;
    }
    console_leave(console);
    return err ? err : (ssize_t)size;
}

void console_flush(struct console *console)
{
    pthread_mutex_lock(&console->lock);
    console_release(console);
    console_leave(console);
}

int console_error(const struct console *console)
{
    return console->error;
}

const char *console_kernel_log(struct console *console, size_t *dropped)
{
    return log_tail_text(&console->tail, dropped);
}

size_t console_recent(const struct console *console, char to[RECENT_SIZE + 1])
{
    return recent_copy(&console->recent, to);
}
