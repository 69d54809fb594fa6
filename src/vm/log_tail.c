#include "vm/log_tail.h"

#include <stdlib.h>
#include <string.h>

void log_tail_add(struct log_tail *tail, const char *bytes, size_t size)
{
    if (!tail->ring && !tail->total)
        tail->ring = malloc(LOG_TAIL_SIZE);
    while (size) {
        size_t at = tail->total % LOG_TAIL_SIZE, part = LOG_TAIL_SIZE - at;
        part = size < part ? size : part;
        if (tail->ring)
            memcpy(tail->ring + at, bytes, part);
        tail->total += part;
        bytes += part;
        size -= part;
    }
}

/* Where the first whole line starts among `size` bytes whose beginning is lost. One line without an
 * end is better than nothing. */
static size_t first_line(const char *bytes, size_t size)
{
    const char *newline = memchr(bytes, '\n', size);
    size_t start = newline ? (size_t)(newline - bytes) + 1 : 0;
    return start < size ? start : 0;
}

const char *log_tail_text(struct log_tail *tail, size_t *dropped)
{
    *dropped = tail->total;
    text_free(&tail->text);
    if (!tail->ring)
        return "";
    if (tail->total > LOG_TAIL_SIZE) {
        size_t oldest = tail->total % LOG_TAIL_SIZE;
        text_add_bytes(&tail->text, tail->ring + oldest, LOG_TAIL_SIZE - oldest);
        text_add_bytes(&tail->text, tail->ring, oldest);
    } else {
        text_add_bytes(&tail->text, tail->ring, tail->total);
    }
    if (tail->text.failed)
        return "";
    for (size_t i = 0; i < tail->text.size; i++)
        if (!tail->text.data[i])
            tail->text.data[i] = '?';
    size_t start = tail->total > LOG_TAIL_SIZE ? first_line(tail->text.data, tail->text.size) : 0;
    *dropped = tail->total - (tail->text.size - start);
    return tail->text.data + start;
}

void log_tail_free(struct log_tail *tail)
{
    text_free(&tail->text);
    free(tail->ring);
    *tail = (struct log_tail){0};
}
