/*
 * Tells the kernel's log from everything else in the guest's serial stream.
 *
 * A log line starts with one of
 *
 *     [0][INFO] text
 *     [    0.123456][0][INFO  target] text      (the time may be all blanks)
 *
 * that is: an optional time, the CPU and the level in brackets, with ANSI colour sequences anywhere
 * in between. A line directly after a line of the log belongs to it as well (a continuation) if it
 * starts with a blank or a tab or consists of closing brackets, as in pretty-printed structures;
 * after a PANIC line, whose message goes on over several lines, every line does until the next log
 * line. All else is text of the program.
 *
 * The stream may arrive in pieces of any size. Only bytes at the start of a line that can still
 * become a log prefix are held back, at most LOG_FILTER_HELD of them; everything else passes at
 * once, so a prompt without a newline appears immediately.
 *
 * Pure computation on one caller's structure, which starts as {0}; needs no release.
 */
#ifndef CONSOLE_LOG_FILTER_H
#define CONSOLE_LOG_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#define LOG_FILTER_HELD 64

/* What a piece of the stream is: text of the program, or part of a log line of this level. */
enum log_kind {
    LOG_KIND_PROGRAM,
    LOG_KIND_TRACE,
    LOG_KIND_DEBUG,
    LOG_KIND_INFO,
    LOG_KIND_WARN,
    LOG_KIND_ERROR,
    LOG_KIND_PANIC,
};

struct log_filter {
    enum log_kind line;     /* what the current line is, once decided */
    enum log_kind previous; /* what the line before it was */
    bool decided;
    size_t held_size;
    char held[LOG_FILTER_HELD];
};

struct log_piece {
    enum log_kind kind;
    const char *bytes; /* into the caller's buffer or the filter; valid until its next call */
    size_t size;       /* 0: nothing can be passed on yet */
};

/*
 * Take up to `size` bytes (at least one) of the stream and return how many were taken. *piece is
 * what can be passed on now; it never spans lines.
 */
size_t log_filter_next(struct log_filter *filter, const char *bytes, size_t size,
                       struct log_piece *piece);

/* Give up what is held back (nothing more comes before other output): it becomes program text, or
 * part of a panic message. *piece may be empty. */
void log_filter_release(struct log_filter *filter, struct log_piece *piece);

#endif
