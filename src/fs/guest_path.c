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
    while (size && to[size - 1] != '/')
        size--;
    return size;
}

int guest_path_normalize(const char *path, char *to, size_t capacity)
{
    bool absolute = path[0] == '/';
    size_t size = 0; /* of what is in `to`, without the terminator */

    if (!text_is_utf8(path, strlen(path)))
        return -EINVAL;
    if (capacity < 2)
        return -ENAMETOOLONG;
    while (*path) {
        size_t length = strcspn(path, "/");
        const char *component = path;
        path += length + (path[length] == '/');
        if (length == 0 || is_component(component, length, "."))
            continue;
        if (is_component(component, length, "..")) {
            size_t last = last_component(to, size);
            bool nothing_to_leave = size == 0 || is_component(to + last, size - last, "..");
            if (!nothing_to_leave)
                size = last ? last - 1 : 0;
            if (!nothing_to_leave || absolute)
                continue;
        }
        if (size + (size > 0) + length >= capacity)
            return -ENAMETOOLONG;
        if (size)
            to[size++] = '/';
        memcpy(to + size, component, length);
        size += length;
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
