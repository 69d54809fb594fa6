/*
 * Messages of the library to the person who runs it: one line each, through the callback the VM was
 * created with. Any thread may log; the callback is called without a lock held.
 */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

#include <stdatomic.h>

#include "uhyve.h"

struct log {
    void (*message)(void *context, enum uhyve_level level, const char *text);
    void *context;
    enum uhyve_level level;
};

void log_error(const struct log *log, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_warn(const struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_info(const struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What the user waits for or must know to go on; whatever the level is. */
void log_notice(const struct log *log, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void log_debug(const struct log *log, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * For messages that a guest can cause at will: a limit on how many of one kind are shown.
 * log_limit_pass returns true for the first LOG_LIMIT calls; the caller says "(further ones are not
 * shown)" when `last` comes back true.
 */
#define LOG_LIMIT 8

struct log_limit {
    atomic_uint count;
};

bool log_limit_pass(struct log_limit *limit, bool *last);

#endif
