#include "util/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

const char *error_remedy(int err, const char *otherwise)
{
    switch (err) {
    case EMFILE:
        return "raise the limit on open files: ulimit -n";
    case ENFILE:
        return "too many files are open on this machine: end other programs";
    case EFBIG:
        return "raise the limit on the size of files: ulimit -f";
    case ENOSPC:
    case EDQUOT:
        return "make room on that file system";
    default:
        return otherwise;
    }
}

bool error_is_of_limit(const char *message)
{
    static const int limits[] = {EMFILE, ENFILE, ENOMEM};

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (strstr(message, strerror(limits[i])))
            return true;
    return strstr(message, "failed to map segment") != NULL; /* it does not say why */
}
