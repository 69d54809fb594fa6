/*
 * TOML 1.0 documents: a parser for bytes from outside, and typed access to what it found.
 *
 * A document owns all its values and strings; they live until toml_free. Nothing refers to the
 * bytes it was parsed from. A parsed document does not change, so any thread may read it. All
 * errors name the document and the line: "uhyve.toml:12: cpu_count must be an integer".
 *
 * Specification: toml.io/en/v1.0.0. Two choices it leaves open: a line break in a multi-line string
 * is always one line feed, whatever the file uses, and a byte order mark at the start is skipped.
 */
#ifndef UTIL_TOML_H
#define UTIL_TOML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uhyve.h"

/*
 * A configuration file is small. The first limit bounds memory and the time for finding duplicate
 * keys, the second the recursion over nested arrays and inline tables.
 */
#define TOML_SIZE_MAX  (64u * 1024)
#define TOML_DEPTH_MAX 32u

enum toml_type {
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOLEAN,
    TOML_DATE_TIME,       /* with an offset from UTC */
    TOML_LOCAL_DATE_TIME, /* this and the next two: without one */
    TOML_LOCAL_DATE,
    TOML_LOCAL_TIME,
    TOML_ARRAY,
    TOML_TABLE,
};

/* How a table or array came to be, which decides what the rest of the document may add to it. */
enum toml_origin {
    TOML_IMPLIED,   /* table: only named on the way to a [deeper.one] */
    TOML_HEADED,    /* table: has its own [header]; array: of tables with [[headers]] */
    TOML_DOTTED,    /* table: made by dotted keys */
    TOML_IMMUTABLE, /* inline table, array value: complete where it stands */
};

struct toml_value {
    enum toml_type type;
    unsigned line;
    const char *key; /* NULL for the root and for entries of an array */
    size_t key_size;
    const struct toml_value *parent;
    struct toml_value *next; /* next entry of the same table or array, in file order */
    union {
        struct {
            const char *data; /* terminated; a string may also contain NUL */
            size_t size;
        } text; /* TOML_STRING, and the date-times as they were written */
        int64_t integer;
        double number;
        bool boolean;
        struct {
            enum toml_origin origin;
            struct toml_value *first, *last;
        } entries; /* TOML_ARRAY, TOML_TABLE */
    };
};

struct toml;

/*
 * Parse `size` bytes. `name` is what messages call the document. Returns 0 and the document, or
 * -EINVAL (not TOML, or beyond a limit) or -ENOMEM with *error filled.
 */
int toml_parse(const char *name, const void *bytes, size_t size, struct toml **toml,
               struct uhyve_error *error);

/* NULL is allowed. */
void toml_free(struct toml *toml);

const struct toml_value *toml_root(const struct toml *toml);

/* The value of `key` in `table`, or NULL if there is none. `table` must be a table or NULL. */
const struct toml_value *toml_find(const struct toml_value *table, const char *key);

/*
 * Typed access. Each returns 0, or -EINVAL with *error filled if the value has another type. A
 * string that contains NUL is refused too, since the caller gets a C string.
 */
int toml_string(const struct toml *toml, const struct toml_value *value, const char **string,
                struct uhyve_error *error);
int toml_integer(const struct toml *toml, const struct toml_value *value, int64_t *integer,
                 struct uhyve_error *error);
int toml_float(const struct toml *toml, const struct toml_value *value, double *number,
               struct uhyve_error *error);
int toml_boolean(const struct toml *toml, const struct toml_value *value, bool *boolean,
                 struct uhyve_error *error);
/* Checks the type only; go through the entries with value->entries.first and next. */
int toml_container(const struct toml *toml, const struct toml_value *value, enum toml_type type,
                   struct uhyve_error *error);

/*
 * Where `value` stands, for messages: "uhyve.toml:12: cpu_count", or "...: an entry of affinity".
 * Returns the buffer.
 */
const char *toml_describe(const struct toml *toml, const struct toml_value *value, char *buffer,
                          size_t size);

#endif
