/*
 * The last part of the kernel's log lines that were not shown, in bounded memory: kept so that they
 * can be printed when the guest fails.
 *
 * The owner serialises all calls. A tail starts from {0} and log_tail_free releases it.
 */
#ifndef CONSOLE_LOG_TAIL_H
#define CONSOLE_LOG_TAIL_H

#include <stddef.h>
#include <stdint.h>

#include "util/text.h"

#define LOG_TAIL_SIZE (UINT32_C(64) << 10) /* bytes */

struct log_tail {
    uint64_t total; /* bytes ever added; the next one goes to ring[total % LOG_TAIL_SIZE] */
    char *ring;     /* made when first needed */
    struct text text;
};

/* Add a part of a line. When memory runs out the bytes are dropped and counted. */
void log_tail_add(struct log_tail *tail, const char *bytes, size_t size);

/*
 * The lines kept, the first one whole, with NUL bytes shown as '?'. The string belongs to the tail
 * and stays valid until log_tail_text or log_tail_free is called. *dropped: bytes that are not in
 * it.
 */
const char *log_tail_text(struct log_tail *tail, size_t *dropped);

void log_tail_free(struct log_tail *tail);

#endif
