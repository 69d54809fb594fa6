#include "console/recent.h"

#include <string.h>

void recent_add(struct recent *recent, const void *bytes, size_t size)
{
    const char *from = bytes;
    if (size > RECENT_SIZE) {
        recent->total += size - RECENT_SIZE;
        from += size - RECENT_SIZE;
        size = RECENT_SIZE;
    }
    while (size) {
        size_t at = recent->total % RECENT_SIZE;
        size_t part = size < RECENT_SIZE - at ? size : RECENT_SIZE - at;
        memcpy(recent->ring + at, from, part);
        recent->total += part;
        from += part;
        size -= part;
    }
}

/* The length of a control sequence ESC [ ... letter at the start of `text`; 0: there is none. */
static size_t control_sequence(const char *text, size_t size)
{
    if (size < 2 || text[0] != '\033' || text[1] != '[')
        return 0;
    for (size_t i = 2; i < size && i < 32; i++)
        if (text[i] >= '@' && text[i] <= '~')
            return i + 1;
    return 0;
}

size_t recent_copy(const struct recent *recent, char to[RECENT_SIZE + 1])
{
    size_t size = recent->total < RECENT_SIZE ? (size_t)recent->total : RECENT_SIZE, kept = 0;
    size_t start = recent->total < RECENT_SIZE ? 0 : recent->total % RECENT_SIZE;

    memcpy(to, recent->ring + start, size - start);
    memcpy(to + size - start, recent->ring, start);
    for (size_t i = 0; i < size;) {
        size_t skip = control_sequence(to + i, size - i);
        if (!skip && to[i])
            to[kept++] = to[i];
        i += skip ? skip : 1;
    }
    to[kept] = '\0';
    return kept;
}
