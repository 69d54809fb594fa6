#include "util/log.h"

#include <stdarg.h>
#include <stdio.h>

#include "util/text.h"

static void log_message(const struct log *log, enum uhyve_level level, const char *format,
                        va_list args)
{
    if (!log->message || (level > log->level && level != UHYVE_LEVEL_NOTICE))
        return;
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    text_make_printable(text);
    log->message(log->context, level, text);
}

#define DEFINE_LOG(name, level)                                                                    \
    void name(const struct log *log, const char *format, ...)                                      \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        log_message(log, level, format, args);                                                     \
        va_end(args);                                                                              \
    }

DEFINE_LOG(log_error, UHYVE_LEVEL_ERROR)
DEFINE_LOG(log_warn, UHYVE_LEVEL_WARN)
DEFINE_LOG(log_info, UHYVE_LEVEL_INFO)
DEFINE_LOG(log_debug, UHYVE_LEVEL_DEBUG)
DEFINE_LOG(log_notice, UHYVE_LEVEL_NOTICE)

bool log_limit_pass(struct log_limit *limit, bool *last)
{
    /* Stop counting at the limit, so that the counter can never wrap back to zero. */
    if (atomic_load_explicit(&limit->count, memory_order_relaxed) >= LOG_LIMIT)
        return false;
    unsigned count = atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed);
    *last = count + 1 == LOG_LIMIT;
    return count < LOG_LIMIT;
}
