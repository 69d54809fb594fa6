/*
 * Hypercalls for people: names, groups, and one call as a line of text in the manner of strace(1).
 *
 * Pure functions. Whatever a guest put into a record comes out as printable ASCII of bounded
 * length.
 */
#ifndef DEBUG_CALL_TEXT_H
#define DEBUG_CALL_TEXT_H

#include "hypercall/record.h"
#include "util/text.h"

enum call_group {
    CALL_GROUP_FILE = 1, /* everything about files */
    CALL_GROUP_PATH = 2, /* what takes a path */
    CALL_GROUP_DESC = 4, /* what takes a descriptor */
    CALL_GROUP_SERIAL = 8,
    CALL_GROUP_PROCESS = 16, /* arguments and exit */
};

/* Calls of both generations that do the same share one entry. */
struct call_name {
    const char *name; /* "open" */
    unsigned groups;
};

#define CALL_NAMES_MAX 24

/* The calls there are, in a fixed order. */
extern const struct call_name call_names[];
extern const size_t call_name_count;

/* Index into call_names; -1 if there is no such call. */
int call_name_find(uint16_t port);

/* The group of this name; 0 if there is none. "all" is every group. */
unsigned call_group_find(const char *name, size_t size);

/* True if the call came back and reported an error. */
bool call_failed(const struct call_record *record);

/* Add `open("/etc/passwd", O_RDONLY) = -1 ENOENT (No such file or directory)`, without a newline.
 */
void call_format(const struct call_record *record, struct text *text);

#endif
