/*
 * The copying part of the accessor to guest memory. In a file of its own because it is proved
 * (prove/), which host calls beside it would make harder.
 */
#include <errno.h>
#include <string.h>

#include "memory/ram.h"

bool ram_read(const struct ram *ram, gpa_t gpa, void *to, size_t size)
{
    const void *from = ram_at(ram, gpa, size);
    if (!from)
        return false;
    memcpy(to, from, size);
    return true;
}

bool ram_write(const struct ram *ram, gpa_t gpa, const void *from, size_t size)
{
    void *to = ram_at(ram, gpa, size);
    if (!to)
        return false;
    memcpy(to, from, size);
    return true;
}

int ram_read_string(const struct ram *ram, gpa_t gpa, char *to, size_t capacity)
{
    const char *from = ram_at(ram, gpa, 1);
    if (!from)
        return -EFAULT;
    uint64_t available = ram->size - (gpa - ram->base);
    size_t size = available < capacity ? (size_t)available : capacity;
    /* The terminator is searched in the copy: the guest may change the original meanwhile. */
    memcpy(to, from, size);
    const char *end = memchr(to, '\0', size);
    if (end)
        return (int)(end - to);
    return size < capacity ? -EFAULT : -ENAMETOOLONG;
}
