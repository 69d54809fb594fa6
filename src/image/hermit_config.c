#include "image/hermit_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/error.h"
#include "util/text.h"
#include "util/toml.h"

struct reader {
    struct hermit_config *config;
    struct uhyve_error *error; /* without the image's name */
};

static int refuse(struct reader *reader, const struct toml_value *value, const char *must)
{
    char where[512];
    return error_set(reader->error, UHYVE_STATUS_BAD_IMAGE, EINVAL, "%s must be %s",
                     toml_describe(reader->config->toml, value, where, sizeof where), must);
}

/* The value of a key that must be there; `key` names it in the message. */
static int require(struct reader *reader, const struct toml_value *table, const char *key,
                   const char *shown, const struct toml_value **value)
{
    *value = toml_find(table, key);
    if (*value)
        return 0;
    return error_set(reader->error, UHYVE_STATUS_BAD_IMAGE, EINVAL,
                     HERMIT_CONFIG_NAME ": '%s' is missing", shown);
}

static int read_version(struct reader *reader, const struct toml_value *root)
{
    const struct toml_value *value;
    const char *version;

    int err = require(reader, root, "version", "version", &value);
    if (!err)
        err = toml_string(reader->config->toml, value, &version, reader->error);
    if (!err && strcmp(version, "1") != 0)
        err = refuse(reader, value, "\"1\": other versions of images are not known");
    return err;
}

static int read_kernel(struct reader *reader, const struct toml_value *root)
{
    const struct toml_value *value;

    int err = require(reader, root, "kernel", "kernel", &value);
    return err ? err
               : toml_string(reader->config->toml, value, &reader->config->kernel, reader->error);
}

static int read_words(struct reader *reader, const struct toml_value *value,
                      struct hermit_words *words)
{
    size_t count = 0;

    int err = toml_container(reader->config->toml, value, TOML_ARRAY, reader->error);
    if (err)
        return err;
    for (const struct toml_value *entry = value->entries.first; entry; entry = entry->next)
        count++;
    words->items = calloc(count ? count : 1, sizeof *words->items);
    if (!words->items)
        return error_set(reader->error, UHYVE_STATUS_FAILED, ENOMEM, "not enough memory");
    for (const struct toml_value *entry = value->entries.first; entry && !err; entry = entry->next)
        err = toml_string(reader->config->toml, entry, &words->items[words->count++],
                          reader->error);
    return err;
}

static int read_input(struct reader *reader, const struct toml_value *root)
{
    struct hermit_config *config = reader->config;
    const struct toml_value *input, *value;

    int err = require(reader, root, "input", "[input]", &input);
    if (!err)
        err = toml_container(config->toml, input, TOML_TABLE, reader->error);
    if (!err)
        err = require(reader, input, "kernel_args", "kernel_args' of '[input]", &value);
    if (!err)
        err = read_words(reader, value, &config->kernel_args);
    if (!err)
        err = require(reader, input, "app_args", "app_args' of '[input]", &value);
    if (!err)
        err = read_words(reader, value, &config->app_args);
    if (!err && (value = toml_find(input, "env_vars")))
        err = read_words(reader, value, &config->env);
    return err;
}

/* "64MiB", or a number of bytes. */
static int read_memory(struct reader *reader, const struct toml_value *value)
{
    const struct toml *toml = reader->config->toml;
    const char *string;
    int64_t bytes;

    if (value->type == TOML_STRING) {
        int err = toml_string(toml, value, &string, reader->error);
        if (!err && text_parse_size(string, &reader->config->memory) != 0)
            err = refuse(reader, value, "a size such as \"64MiB\"");
        return err;
    }
    int err = toml_integer(toml, value, &bytes, reader->error);
    if (!err && bytes < 0)
        return refuse(reader, value, "a size of at least 0");
    if (!err)
        reader->config->memory = (uint64_t)bytes;
    return err;
}

static int read_requirements(struct reader *reader, const struct toml_value *root)
{
    const struct toml *toml = reader->config->toml;
    const struct toml_value *table = toml_find(root, "requirements"), *value;
    int64_t cpus = 0;

    if (!table)
        return 0;
    int err = toml_container(toml, table, TOML_TABLE, reader->error);
    if (!err && (value = toml_find(table, "memory")))
        err = read_memory(reader, value);
    if (!err && (value = toml_find(table, "cpus"))) {
        err = toml_integer(toml, value, &cpus, reader->error);
        if (!err && (cpus < 0 || cpus > UINT32_MAX))
            err = refuse(reader, value, "a number of CPUs from 0 to 4294967295");
    }
    if (!err)
        reader->config->cpus = (uint32_t)cpus;
    return err;
}

int hermit_config_read(struct hermit_config *config, const char *path, const void *data,
                       size_t size, struct uhyve_error *error)
{
    struct uhyve_error inner;
    struct reader reader = {config, &inner};

    *config = (struct hermit_config){0};
    int err = toml_parse(HERMIT_CONFIG_NAME, data, size, &config->toml, &inner);
    if (!err) {
        const struct toml_value *root = toml_root(config->toml);
        err = read_version(&reader, root);
        if (!err)
            err = read_kernel(&reader, root);
        if (!err)
            err = read_input(&reader, root);
        if (!err)
            err = read_requirements(&reader, root);
    }
    if (err == -ENOMEM)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM,
                         "not enough memory for the configuration of image '%s'", path);
    if (err)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, -err,
                         "image '%s' cannot be used: %.600s (correct it and build the image again)",
                         path, inner.message);
    return 0;
}

void hermit_config_free(struct hermit_config *config)
{
    toml_free(config->toml);
    free(config->kernel_args.items);
    free(config->app_args.items);
    free(config->env.items);
    *config = (struct hermit_config){0};
}
