#include <errno.h>
#include <string.h>

#include "util/toml_parser.h"

bool toml_is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

void toml_skip_blanks(struct toml_parser *parser)
{
    while (parser->p < parser->end && (*parser->p == ' ' || *parser->p == '\t'))
        parser->p++;
}

bool toml_skip_newline(struct toml_parser *parser)
{
    size_t left = (size_t)(parser->end - parser->p);

    if (left >= 2 && parser->p[0] == '\r' && parser->p[1] == '\n')
        parser->p += 2;
    else if (left >= 1 && parser->p[0] == '\n')
        parser->p++;
    else
        return false;
    parser->line++;
    return true;
}

static bool at(const struct toml_parser *parser, char c)
{
    return parser->p < parser->end && *parser->p == c;
}

static bool skip(struct toml_parser *parser, char c)
{
    if (!at(parser, c))
        return false;
    parser->p++;
    return true;
}

static int skip_comment(struct toml_parser *parser)
{
    if (!at(parser, '#'))
        return 0;
    while (parser->p < parser->end && *parser->p != '\n') {
        bool line_end = parser->end - parser->p >= 2 && parser->p[0] == '\r' &&
                        parser->p[1] == '\n';
        if (line_end)
            break;
        if (toml_is_control(*parser->p))
            return toml_fail(parser, "control character 0x%02x in a comment",
                             (unsigned char)*parser->p);
        parser->p++;
    }
    return 0;
}

/* Blanks, line breaks and comments, as they may stand between the entries of an array. */
static int skip_white(struct toml_parser *parser)
{
    do {
        toml_skip_blanks(parser);
        int err = skip_comment(parser);
        if (err)
            return err;
    } while (toml_skip_newline(parser));
    return 0;
}

/* Append an empty entry to a table (with a key) or an array (without). NULL: out of memory. */
static struct toml_value *add_entry(struct toml_parser *parser, struct toml_value *parent,
                                    const char *key, size_t key_size)
{
    struct toml_value *entry = toml_allocate(parser->toml, sizeof *entry);

    if (!entry) {
        toml_fail_memory(parser);
        return NULL;
    }
    *entry = (struct toml_value){
        .line = parser->line, .key = key, .key_size = key_size, .parent = parent};
    if (parent->entries.last)
        parent->entries.last->next = entry;
    else
        parent->entries.first = entry;
    parent->entries.last = entry;
    return entry;
}

static struct toml_value *add_container(struct toml_parser *parser, struct toml_value *parent,
                                        const char *key, size_t key_size, enum toml_type type,
                                        enum toml_origin origin)
{
    struct toml_value *entry = add_entry(parser, parent, key, key_size);

    if (entry) {
        entry->type = type;
        entry->entries.origin = origin;
    }
    return entry;
}

static bool is_bare_key_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* One part of a key, with the blanks around it. */
static int read_key(struct toml_parser *parser, const char **key, size_t *size)
{
    int err;

    toml_skip_blanks(parser);
    if (at(parser, '"') || at(parser, '\'')) {
        err = toml_read_string(parser, false, key, size);
    } else {
        const char *start = parser->p;
        while (parser->p < parser->end && is_bare_key_character(*parser->p))
            parser->p++;
        if (parser->p == start)
            return toml_fail(parser, "a key is missing or contains a character that needs quotes");
        parser->scratch.size = 0;
        text_add_bytes(&parser->scratch, start, (size_t)(parser->p - start));
        err = toml_keep_scratch(parser, key, size);
    }
    toml_skip_blanks(parser);
    return err;
}

static int fail_duplicate(struct toml_parser *parser, const struct toml_value *earlier)
{
    return toml_fail(parser, "'%.100s' was already defined in line %u", earlier->key,
                     earlier->line);
}

/*
 * The table that one leading part of a dotted key stands for. Dotted keys may go on with a table
 * that other dotted keys made, or define one that was only implied, but not reach into a table with
 * a header of its own.
 */
static int enter_dotted(struct toml_parser *parser, struct toml_value **table, const char *key,
                        size_t size)
{
    struct toml_value *entry = toml_find_key(*table, key, size);

    if (!entry) {
        *table = add_container(parser, *table, key, size, TOML_TABLE, TOML_DOTTED);
        return *table ? 0 : -ENOMEM;
    }
    if (entry->type != TOML_TABLE ||
        (entry->entries.origin != TOML_DOTTED && entry->entries.origin != TOML_IMPLIED))
        return fail_duplicate(parser, entry);
    entry->entries.origin = TOML_DOTTED;
    *table = entry;
    return 0;
}

/* The table that one leading part of a [header] stands for: of an array, the last one. */
static int enter_header(struct toml_parser *parser, struct toml_value **table, const char *key,
                        size_t size)
{
    struct toml_value *entry = toml_find_key(*table, key, size);

    if (!entry) {
        *table = add_container(parser, *table, key, size, TOML_TABLE, TOML_IMPLIED);
        return *table ? 0 : -ENOMEM;
    }
    if ((entry->type != TOML_TABLE && entry->type != TOML_ARRAY) ||
        entry->entries.origin == TOML_IMMUTABLE)
        return fail_duplicate(parser, entry);
    *table = entry->type == TOML_ARRAY ? entry->entries.last : entry;
    return 0;
}

static int read_value(struct toml_parser *parser, struct toml_value *value);

/* key = value, where key may be dotted, into `table`. */
static int read_pair(struct toml_parser *parser, struct toml_value *table)
{
    const char *key;
    size_t size;
    int err;

    for (;;) {
        err = read_key(parser, &key, &size);
        if (err)
            return err;
        if (!skip(parser, '.'))
            break;
        err = enter_dotted(parser, &table, key, size);
        if (err)
            return err;
    }
    if (!skip(parser, '='))
        return toml_fail(parser, "a key must be followed by = and a value");
    const struct toml_value *earlier = toml_find_key(table, key, size);
    if (earlier)
        return fail_duplicate(parser, earlier);
    struct toml_value *entry = add_entry(parser, table, key, size);
    if (!entry)
        return -ENOMEM;
    toml_skip_blanks(parser);
    return read_value(parser, entry);
}

static int read_array(struct toml_parser *parser, struct toml_value *array)
{
    parser->p++;
    array->type = TOML_ARRAY;
    array->entries.origin = TOML_IMMUTABLE;
    for (;;) {
        int err = skip_white(parser);
        if (err)
            return err;
        if (skip(parser, ']'))
            return 0;
        struct toml_value *entry = add_entry(parser, array, NULL, 0);
        if (!entry)
            return -ENOMEM;
        err = read_value(parser, entry);
        if (!err)
            err = skip_white(parser);
        if (err)
            return err;
        if (!skip(parser, ',') && !at(parser, ']'))
            return toml_fail(parser, "an array entry must be followed by , or ]");
    }
}

static int read_inline_table(struct toml_parser *parser, struct toml_value *table)
{
    parser->p++;
    table->type = TOML_TABLE;
    table->entries.origin = TOML_IMMUTABLE;
    toml_skip_blanks(parser);
    if (skip(parser, '}'))
        return 0;
    do {
        int err = read_pair(parser, table);
        if (err)
            return err;
        toml_skip_blanks(parser);
    } while (skip(parser, ','));
    if (!skip(parser, '}'))
        return toml_fail(parser, "an inline table must end with } in the same line");
    return 0;
}

static int read_value(struct toml_parser *parser, struct toml_value *value)
{
    if (at(parser, '"') || at(parser, '\'')) {
        value->type = TOML_STRING;
        return toml_read_string(parser, true, &value->text.data, &value->text.size);
    }
    if (!at(parser, '[') && !at(parser, '{'))
        return toml_read_scalar(parser, value);
    if (parser->depth == TOML_DEPTH_MAX)
        return toml_fail(parser, "more than %u arrays and tables inside each other",
                         TOML_DEPTH_MAX);
    parser->depth++;
    int err = at(parser, '[') ? read_array(parser, value) : read_inline_table(parser, value);
    parser->depth--;
    return err;
}

/* [last.part]: a table that has no header yet. */
static int open_table(struct toml_parser *parser, struct toml_value **table, const char *key,
                      size_t size)
{
    struct toml_value *entry = toml_find_key(*table, key, size);

    if (!entry)
        entry = add_container(parser, *table, key, size, TOML_TABLE, TOML_HEADED);
    else if (entry->type != TOML_TABLE || entry->entries.origin != TOML_IMPLIED)
        return fail_duplicate(parser, entry);
    if (!entry)
        return -ENOMEM;
    entry->entries.origin = TOML_HEADED;
    *table = entry;
    return 0;
}

/* [[last.part]]: one more table of an array that consists of such tables. */
static int open_array_table(struct toml_parser *parser, struct toml_value **table, const char *key,
                            size_t size)
{
    struct toml_value *array = toml_find_key(*table, key, size);

    if (!array)
        array = add_container(parser, *table, key, size, TOML_ARRAY, TOML_HEADED);
    else if (array->type != TOML_ARRAY || array->entries.origin != TOML_HEADED)
        return fail_duplicate(parser, array);
    if (!array)
        return -ENOMEM;
    *table = add_container(parser, array, NULL, 0, TOML_TABLE, TOML_HEADED);
    return *table ? 0 : -ENOMEM;
}

/* [a.b] or [[a.b]]; the following pairs belong to *table. */
static int read_header(struct toml_parser *parser, struct toml_value **table)
{
    const char *key;
    size_t size;
    int err;

    parser->p++;
    bool array = skip(parser, '[');
    *table = &parser->toml->root;
    for (;;) {
        err = read_key(parser, &key, &size);
        if (err)
            return err;
        if (!skip(parser, '.'))
            break;
        err = enter_header(parser, table, key, size);
        if (err)
            return err;
    }
    if (!skip(parser, ']') || (array && !skip(parser, ']')))
        return toml_fail(parser, "a table header must end with %s", array ? "]]" : "]");
    return array ? open_array_table(parser, table, key, size)
                 : open_table(parser, table, key, size);
}

int toml_read_document(struct toml_parser *parser)
{
    struct toml_value *table = &parser->toml->root;

    for (;;) {
        int err = skip_white(parser);
        if (err)
            return err;
        if (parser->p == parser->end)
            return 0;
        err = at(parser, '[') ? read_header(parser, &table) : read_pair(parser, table);
        if (err)
            return err;
        toml_skip_blanks(parser);
        err = skip_comment(parser);
        if (err)
            return err;
        if (parser->p < parser->end && !toml_skip_newline(parser))
            return toml_fail(parser, "unexpected text after the %s",
                             parser->p[-1] == ']' ? "closing bracket" : "value");
    }
}
