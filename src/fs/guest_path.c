#include "fs/guest_path.h"

#include <errno.h>
#include <string.h>

#include "util/text.h"

static bool is_component(const char *component, size_t size, const char *name)
{
    return strlen(name) == size && memcmp(component, name, size) == 0;
}

/* Where the last component of to[0, size) starts. */
static size_t last_component(const char *to, size_t size)
{
    //@ loop invariant size <= \at(size, Pre); loop assigns size; loop variant size;
    while (size && to[size - 1] != '/')
        size--;
    return size;
}

/* How much of path[0, size) is before the first slash. */
static size_t component_size(const char *path, size_t size)
{
    const char *slash = memchr(path, '/', size);
    return slash ? (size_t)(slash - path) : size;
}

/* Size of to[0, size) without its last component, which a ".." leaves; `size` if there is none to
 * leave. */
static size_t parent(const char *to, size_t size)
{
    size_t last = last_component(to, size);

    if (is_component(to + last, size - last, ".."))
        return size;
    return last ? last - 1 : 0;
}

/* Add a component to to[0, size). Returns the new size, or 0 if there is no room. */
static size_t append(char *to, size_t capacity, size_t size, const char *component, size_t length)
{
    if (size + (size > 0) + length >= capacity)
        return 0;
    if (size)
        to[size++] = '/';
    memcpy(to + size, component, length);
    return size + length;
}

int guest_path_normalize(const char *path, char *to, size_t capacity)
{
    bool absolute = path[0] == '/';
    size_t total = strlen(path);
    size_t size = 0; /* of what is in `to`, without the terminator */

    if (!text_is_utf8(path, total))
        return -EINVAL;
    if (capacity < 2)
        return -ENAMETOOLONG;
    /*@ loop invariant size < capacity;
        loop assigns at, size, to[0 .. capacity - 1];
        loop variant total - at; */
    for (size_t at = 0; at < total;) {
        const char *component = path + at;
        size_t length = component_size(component, total - at);
        at += length + 1; /* with its slash, or beyond the end */
        if (length == 0 || is_component(component, length, "."))
            continue;
        if (is_component(component, length, "..")) {
            size_t left = parent(to, size);
            bool nothing_to_leave = left == size;
            size = left;
            if (!nothing_to_leave || absolute)
                continue;
        }
        size = append(to, capacity, size, component, length);
        if (!size)
            return -ENAMETOOLONG;
    }
    if (size == 0 && !absolute)
        to[size++] = '.';
    to[size] = '\0';
    return 0;
}

bool guest_path_is_name(const char *normalized)
{
    if (normalized[0] == '\0' || strcmp(normalized, ".") == 0)
        return false;
    return strncmp(normalized, "..", 2) != 0 || (normalized[2] != '/' && normalized[2] != '\0');
}
