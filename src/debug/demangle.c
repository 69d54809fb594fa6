/*
 * The work is libiberty's, through its functions that hand over the result in pieces: they allocate
 * nothing, so that a result without end can be left by a jump. A short mangled name can stand for
 * an exponentially long one.
 */
#include "debug/demangle.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#ifdef HAVE_LIBIBERTY

#include <libiberty/demangle.h>

struct result {
    char *to;
    size_t size;
    jmp_buf full;
};

static void take(const char *piece, size_t size, void *opaque)
{
    struct result *result = opaque;
    size_t room = DEMANGLE_MAX - 1 - result->size;

    if (!size)
        return; /* and `piece` may be NULL */
    memcpy(result->to + result->size, piece, size < room ? size : room);
    result->size += size < room ? size : room;
    if (size > room)
        longjmp(result->full, 1);
}

/* A function of its own: what the jump leaves behind is in no register of its caller. */
static bool run(const char *name, struct result *result)
{
    if (setjmp(result->full))
        return true;
    return rust_demangle_callback(name, 0, take, result) ||
           (result->size = 0,
            cplus_demangle_v3_callback(name, DMGL_PARAMS | DMGL_ANSI, take, result));
}

const char *demangle(const char *name, char to[DEMANGLE_MAX])
{
    struct result result = {.to = to};

    if (strlen(name) < DEMANGLE_MAX && name[0] == '_' && run(name, &result))
        to[result.size] = '\0';
    else
        snprintf(to, DEMANGLE_MAX, "%s", name);
    return to;
}

#else

const char *demangle(const char *name, char to[DEMANGLE_MAX])
{
    snprintf(to, DEMANGLE_MAX, "%s", name);
    return to;
}

#endif
