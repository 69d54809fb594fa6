/*
 * Filling a struct uhyve_error: set-up functions return 0 or -errno, and the sentence for people
 * goes here.
 */
#ifndef UTIL_ERROR_H
#define UTIL_ERROR_H

#include <stdbool.h>

#include "uhyve.h"

/*
 * Store `status` (UHYVE_STATUS_...) and the formatted sentence, return -err. `err` is a positive
 * errno. A NULL error is allowed. The text is cut to fit and control characters in it (file names
 * come from outside) become '?'. Where it does not end in parentheses, error_remedy's advice is
 * added.
 */
int error_set(struct uhyve_error *error, int status, int err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/*
 * The status for something that could not be used because of `err`: `status`, which says what is
 * wrong with it, or UHYVE_STATUS_FAILED if memory or descriptors ran out or a disk is broken.
 */
int error_status(int status, int err);

/*
 * What to do about a positive errno that says by itself what is exhausted (descriptors, room on a
 * disk, ...), wherever it comes from; `otherwise` for any other. For the end of a sentence, in
 * parentheses.
 */
const char *error_remedy(int err, const char *otherwise);

/* The same for a call that an old kernel lacks, and that a container may forbid. */
const char *error_remedy_of_call(int err, const char *otherwise);

/* Does this message of dlerror's tell that descriptors or memory ran out, rather than that a
 * library is missing? */
bool error_is_of_limit(const char *message);

#endif
