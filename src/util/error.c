#include "util/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "util/text.h"

int error_set(struct uhyve_error *error, int status, int err, const char *format, ...)
{
    if (error) {
        va_list args;
        error->status = status;
        va_start(args, format);
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
        text_make_printable(error->message);
    }
    return -err;
}
