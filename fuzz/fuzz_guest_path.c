/*
 * Fuzz target: names of files as a guest writes them (fs/guest_path.h), and what they lead to.
 *
 * Input: a path. Its normal form must be one, and must agree with a second opinion: the path walked
 * component by component with a stack.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fs/guest_path.h"
#include "fuzz.h"
#include "input.h"
#include "util/text.h"

#define PATH_SIZE 4096

/* The same by other means: components on a stack. */
static void normalize_slowly(const char *path, char *to)
{
    char copy[PATH_SIZE];
    const char *stack[PATH_SIZE];
    size_t depth = 0;
    bool absolute = path[0] == '/';
    char *rest = strcpy(copy, path);

    for (char *name; (name = strsep(&rest, "/"));) {
        if (!*name || strcmp(name, ".") == 0)
            continue;
        bool up = strcmp(name, "..") == 0;
        if (up && depth && strcmp(stack[depth - 1], "..") != 0)
            depth--;
        else if (!up || !absolute)
            stack[depth++] = name;
    }
    strcpy(to, depth || absolute ? "" : ".");
    for (size_t i = 0; i < depth; i++)
        strcat(strcat(to, i ? "/" : ""), stack[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char path[PATH_SIZE], normal[PATH_SIZE], expected[PATH_SIZE], again[PATH_SIZE];

    if (size >= sizeof path)
        return 0;
    if (size)
        memcpy(path, bytes, size);
    path[size] = '\0';
    int err = guest_path_normalize(path, normal, sizeof normal);
    if (!text_is_utf8(path, strlen(path))) {
        require(err == -EINVAL);
        return 0;
    }
    require(err == 0);
    normalize_slowly(path, expected);
    require(strcmp(normal, expected) == 0);
    /* A name has no way out of what it is resolved in, and is its own normal form. */
    if (guest_path_is_name(normal)) {
        require(normal[0] != '/' && !strstr(normal, "//"));
        require(strncmp(normal, "../", 3) != 0 && !strstr(normal, "/../"));
        require(guest_path_normalize(normal, again, sizeof again) == 0);
        require(strcmp(normal, again) == 0);
    }
    /* Memory that is too small is not overrun. */
    for (size_t capacity = 0; capacity < 8; capacity++) {
        char small[8] = {0};
        err = guest_path_normalize(path, small, capacity);
        require(err == -ENAMETOOLONG || strlen(small) < capacity);
        for (size_t i = capacity; i < sizeof small; i++)
            require(small[i] == '\0');
    }
    return 0;
}
