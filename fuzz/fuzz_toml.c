/*
 * Fuzz target: any bytes as a configuration file. A parsed document must be a consistent tree, a
 * refused one must leave nothing behind and say why in one line.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "util/toml.h"

static void check_entry(const struct toml *toml, const struct toml_value *value)
{
    struct uhyve_error error;
    const char *string;
    int64_t integer;
    double number;
    bool boolean;
    char where[64];

    require(strlen(toml_describe(toml, value, where, sizeof where)) < sizeof where);
    int matches = (toml_string(toml, value, &string, &error) == 0) +
                  (toml_integer(toml, value, &integer, &error) == 0) +
                  (toml_float(toml, value, &number, &error) == 0) +
                  (toml_boolean(toml, value, &boolean, &error) == 0) +
                  (toml_container(toml, value, TOML_ARRAY, &error) == 0) +
                  (toml_container(toml, value, TOML_TABLE, &error) == 0);
    require(matches <= 1);
    if (value->type <= TOML_STRING || (value->type >= TOML_DATE_TIME && value->type < TOML_ARRAY))
        require(value->text.data[value->text.size] == '\0');
}

/* How many arrays and inline tables a value is in: reading them takes stack. */
static unsigned depth_of(const struct toml_value *value)
{
    unsigned depth = 0;

    for (value = value->parent; value; value = value->parent)
        depth += value->entries.origin == TOML_IMMUTABLE;
    return depth;
}

/* Dotted keys can nest deeper than a stack likes: go back up through the parents instead. */
static void check_tree(const struct toml *toml)
{
    const struct toml_value *root = toml_root(toml), *value = root;

    for (;;) {
        const struct toml_value *child = NULL;
        check_entry(toml, value);
        if (value->type == TOML_ARRAY || value->type == TOML_TABLE)
            child = value->entries.first;
        require(!child || child->parent == value);
        require(depth_of(value) <= TOML_DEPTH_MAX);
        while (!child && value != root) {
            child = value->next;
            require(child || value->parent->entries.last == value);
            require(!child || child->parent == value->parent);
            value = child ? value : value->parent;
        }
        if (!child)
            return;
        require((child->parent->type == TOML_TABLE) == (child->key != NULL));
        value = child;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct toml *toml;
    struct uhyve_error error = {.message = ""};

    if (toml_parse("fuzz.toml", bytes, size, &toml, &error) == 0) {
        check_tree(toml);
        toml_free(toml);
    } else {
        require(!toml && error.message[0] && !strchr(error.message, '\n'));
    }
    return 0;
}
