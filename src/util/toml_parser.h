/*
 * Inside of the TOML parser: what toml.c (documents), toml_parse.c (keys, tables, arrays) and
 * toml_scalar.c (strings, numbers, date-times) share. Nobody else includes this.
 */
#ifndef UTIL_TOML_PARSER_H
#define UTIL_TOML_PARSER_H

#include "util/text.h"
#include "util/toml.h"

struct toml {
    char *name;
    struct toml_value root;
    struct toml_block *blocks;
};

struct toml_parser {
    struct toml *toml;
    const char *p, *end; /* what is left to read; well-formed UTF-8 */
    unsigned line;       /* of p, from 1 */
    unsigned depth;      /* of nested values around p */
    struct text scratch; /* a string or number while it is being put together */
    struct uhyve_error *error;
};

/* Memory that lives as long as the document. NULL: out of memory. */
void *toml_allocate(struct toml *toml, size_t size);

/* Fail at the current line. Returns -EINVAL. */
int toml_fail(struct toml_parser *parser, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fail for want of memory. Returns -ENOMEM. */
int toml_fail_memory(struct toml_parser *parser);

/* Move the scratch text into the document. Returns 0 or -ENOMEM. */
int toml_keep_scratch(struct toml_parser *parser, const char **data, size_t *size);

/* Skip one line break, LF or CR LF, and count it. Returns false if there is none. */
bool toml_skip_newline(struct toml_parser *parser);

/* Skip blanks and tabs. */
void toml_skip_blanks(struct toml_parser *parser);

/* True for the control characters that TOML allows nowhere: all but the tab. */
bool toml_is_control(char c);

/* The entry of a table with this key, or NULL. */
struct toml_value *toml_find_key(const struct toml_value *table, const char *key, size_t size);

/*
 * Read a quoted string; the current character is its first quote. `multiline` says whether three
 * quotes start a multi-line string here. The result belongs to the document.
 */
int toml_read_string(struct toml_parser *parser, bool multiline, const char **data, size_t *size);

/* Read a boolean, number or date-time into `value`: type and content. */
int toml_read_scalar(struct toml_parser *parser, struct toml_value *value);

/* Read everything from p to end into the root table. */
int toml_read_document(struct toml_parser *parser);

#endif
