#include "util/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util/text.h"

/* A sentence that ends without one says what to do about what has run out. */
static void add_remedy(struct uhyve_error *error, int err)
{
    const char *remedy = error_remedy(err, NULL);
    size_t size = strlen(error->message);

    if (remedy && size && error->message[size - 1] != ')')
        snprintf(error->message + size, sizeof error->message - size, " (%s)", remedy);
}

int error_set(struct uhyve_error *error, int status, int err, const char *format, ...)
{
    if (error) {
        va_list args;
        error->status = status;
        va_start(args, format);
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
        add_remedy(error, err);
        text_make_printable(error->message);
    }
    return -err;
}

int error_status(int status, int err)
{
    switch (err) {
    case ENOMEM:
    case EMFILE:
    case ENFILE:
    case EIO:
        return UHYVE_STATUS_FAILED;
    default:
        return status;
    }
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
    case ENOMEM:
        return "free memory, or raise the limits on it: ulimit -v, -d";
    default:
        return otherwise;
    }
}

const char *error_remedy_of_call(int err, const char *otherwise)
{
    switch (err) {
    case ENOSYS:
        return "use a newer kernel; in a container, let its seccomp profile allow it";
    case EPERM:
        return "in a container, let its seccomp profile allow it";
    default:
        return error_remedy(err, otherwise);
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
