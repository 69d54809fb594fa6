#include "util/toml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/error.h"
#include "util/toml_parser.h"

/* Values and strings are carved out of large blocks, which are released together. */
struct toml_block {
    struct toml_block *next;
    size_t used, size;
    _Alignas(16) char data[];
};

void *toml_allocate(struct toml *toml, size_t size)
{
    struct toml_block *block = toml->blocks;

    size = (size + 15) & ~(size_t)15;
    if (!block || block->size - block->used < size) {
        size_t capacity = size > 4000 ? size : 4000;
        block = malloc(sizeof *block + capacity);
        if (!block)
            return NULL;
        *block = (struct toml_block){.next = toml->blocks, .size = capacity};
        toml->blocks = block;
    }
    void *memory = block->data + block->used;
    block->used += size;
    return memory;
}

void toml_free(struct toml *toml)
{
    if (!toml)
        return;
    while (toml->blocks) {
        struct toml_block *block = toml->blocks;
        toml->blocks = block->next;
        free(block);
    }
    free(toml->name);
    free(toml);
}

int toml_fail(struct toml_parser *parser, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(parser->error, UHYVE_STATUS_USAGE, EINVAL, "%s:%u: %s", parser->toml->name,
                     parser->line, text);
}

int toml_fail_memory(struct toml_parser *parser)
{
    return error_set(parser->error, UHYVE_STATUS_FAILED, ENOMEM,
                     "not enough memory for reading '%s'", parser->toml->name);
}

int toml_keep_scratch(struct toml_parser *parser, const char **data, size_t *size)
{
    struct text *scratch = &parser->scratch;
    char *copy = scratch->failed ? NULL : toml_allocate(parser->toml, scratch->size + 1);

    if (!copy)
        return toml_fail_memory(parser);
    if (scratch->size)
        memcpy(copy, scratch->data, scratch->size);
    copy[scratch->size] = '\0';
    *data = copy;
    *size = scratch->size;
    return 0;
}

/* A line break is never part of a longer character, so lines can be checked one by one. */
static int check_utf8(struct toml_parser *parser)
{
    const char *line = parser->p;

    while (line < parser->end) {
        const char *next = memchr(line, '\n', (size_t)(parser->end - line));
        next = next ? next + 1 : parser->end;
        if (!text_is_utf8(line, (size_t)(next - line)))
            return toml_fail(parser, "the line is not valid UTF-8");
        line = next;
        parser->line++;
    }
    parser->line = 1;
    return 0;
}

static int parse_bytes(struct toml_parser *parser, size_t size)
{
    if (size > TOML_SIZE_MAX)
        return error_set(parser->error, UHYVE_STATUS_USAGE, EINVAL,
                         "%s: the file is larger than %u KiB, the limit for a configuration file",
                         parser->toml->name, TOML_SIZE_MAX / 1024);
    int err = check_utf8(parser);
    if (err)
        return err;
    if (size >= 3 && memcmp(parser->p, "\xef\xbb\xbf", 3) == 0)
        parser->p += 3;
    err = toml_read_document(parser);
    text_free(&parser->scratch);
    return err;
}

int toml_parse(const char *name, const void *bytes, size_t size, struct toml **toml,
               struct uhyve_error *error)
{
    const char *start = size ? bytes : "";
    struct toml *new = calloc(1, sizeof *new);

    *toml = NULL;
    if (!new || !(new->name = strdup(name))) {
        toml_free(new);
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "not enough memory for reading '%s'",
                         name);
    }
    new->root = (struct toml_value){.type = TOML_TABLE, .line = 1};
    new->root.entries.origin = TOML_HEADED;
    struct toml_parser parser = {
        .toml = new, .p = start, .end = start + size, .line = 1, .error = error};
    int err = parse_bytes(&parser, size);
    if (err)
        toml_free(new);
    else
        *toml = new;
    return err;
}

const struct toml_value *toml_root(const struct toml *toml)
{
    return &toml->root;
}

struct toml_value *toml_find_key(const struct toml_value *table, const char *key, size_t size)
{
    for (struct toml_value *entry = table->entries.first; entry; entry = entry->next)
        if (entry->key_size == size && memcmp(entry->key, key, size) == 0)
            return entry;
    return NULL;
}

const struct toml_value *toml_find(const struct toml_value *table, const char *key)
{
    return table ? toml_find_key(table, key, strlen(key)) : NULL;
}

const char *toml_describe(const struct toml *toml, const struct toml_value *value, char *buffer,
                          size_t size)
{
    const struct toml_value *named = value;

    while (!named->key && named->parent)
        named = named->parent;
    snprintf(buffer, size, "%s:%u: %s%s", toml->name, value->line,
             named == value ? "" : "an entry of ", named->key ? named->key : "the document");
    return buffer;
}

static int refuse_type(const struct toml *toml, const struct toml_value *value, const char *wanted,
                       struct uhyve_error *error)
{
    static const char *const names[] = {
        [TOML_STRING] = "a string",   [TOML_INTEGER] = "an integer",
        [TOML_FLOAT] = "a float",     [TOML_BOOLEAN] = "a boolean",
        [TOML_DATE_TIME] = "a time",  [TOML_LOCAL_DATE_TIME] = "a time",
        [TOML_LOCAL_DATE] = "a date", [TOML_LOCAL_TIME] = "a time",
        [TOML_ARRAY] = "an array",    [TOML_TABLE] = "a table",
    };
    char where[512];

    return error_set(error, UHYVE_STATUS_USAGE, EINVAL, "%s must be %s, not %s",
                     toml_describe(toml, value, where, sizeof where), wanted, names[value->type]);
}

int toml_string(const struct toml *toml, const struct toml_value *value, const char **string,
                struct uhyve_error *error)
{
    char where[512];

    if (value->type != TOML_STRING)
        return refuse_type(toml, value, "a string", error);
    if (memchr(value->text.data, '\0', value->text.size))
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "%s must not contain the character U+0000",
                         toml_describe(toml, value, where, sizeof where));
    *string = value->text.data;
    return 0;
}

int toml_integer(const struct toml *toml, const struct toml_value *value, int64_t *integer,
                 struct uhyve_error *error)
{
    if (value->type != TOML_INTEGER)
        return refuse_type(toml, value, "an integer", error);
    *integer = value->integer;
    return 0;
}

int toml_float(const struct toml *toml, const struct toml_value *value, double *number,
               struct uhyve_error *error)
{
    if (value->type != TOML_FLOAT)
        return refuse_type(toml, value, "a float", error);
    *number = value->number;
    return 0;
}

int toml_boolean(const struct toml *toml, const struct toml_value *value, bool *boolean,
                 struct uhyve_error *error)
{
    if (value->type != TOML_BOOLEAN)
        return refuse_type(toml, value, "a boolean (true or false)", error);
    *boolean = value->boolean;
    return 0;
}

int toml_container(const struct toml *toml, const struct toml_value *value, enum toml_type type,
                   struct uhyve_error *error)
{
    if (value->type != type)
        return refuse_type(toml, value, type == TOML_ARRAY ? "an array" : "a table", error);
    return 0;
}
