#include "cli/config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "util/error.h"
#include "util/text.h"
#include "util/toml.h"

#define CONFIG_NAME "uhyve.toml"

/*
 * Open the file to use and say which it is. Returns a descriptor, -ENOENT with *error untouched if
 * there is none, or another -errno.
 */
static int config_open(const struct cli_settings *settings, struct text *path,
                       struct uhyve_error *error)
{
    const char *home = getenv("XDG_CONFIG_HOME");

    text_add(path, settings->config ? settings->config : CONFIG_NAME);
    int fd = path->failed ? -1 : open(path->data, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && !path->failed && errno == ENOENT && !settings->config) {
        if (!home || !*home)
            return -ENOENT;
        path->size = 0;
        text_printf(path, "%s/uhyve/" CONFIG_NAME, home);
        fd = path->failed ? -1 : open(path->data, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 && !path->failed && (errno == ENOENT || errno == ENOTDIR))
            return -ENOENT;
    }
    if (path->failed)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "not enough memory for a path");
    if (fd >= 0)
        return fd;
    return error_set(error, error_status(UHYVE_STATUS_USAGE, errno),
                     errno == ENOENT ? EINVAL : errno,
                     "cannot open the configuration file '%.500s': %s (%s)", path->data,
                     strerror(errno), error_remedy(errno, "check the path and its permissions"));
}

/* Read all of `fd`, but not much more than the parser takes. */
static int config_read(int fd, const char *path, struct text *text, struct uhyve_error *error)
{
    char buffer[4096];

    while (text->size <= TOML_SIZE_MAX) {
        ssize_t size = read(fd, buffer, sizeof buffer);
        if (size == 0)
            break;
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return error_set(error, errno == EISDIR ? UHYVE_STATUS_USAGE : UHYVE_STATUS_FAILED,
                             errno,
                             "cannot read the configuration file '%.500s': %s (name another one "
                             "with --config)",
                             path, strerror(errno));
        text_add_bytes(text, buffer, (size_t)size);
    }
    if (text->failed)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM,
                         "not enough memory for reading '%.500s'", path);
    return 0;
}

/*
 * One value of the file on its way to an option's setter. Every value is converted, and so checked
 * for its type; it is stored only if `apply` is set.
 */
struct config_value {
    struct cli_settings *settings;
    const struct cli_option *option;
    const struct toml_value *toml;
    bool apply;
    struct uhyve_error *error;
};

static int config_set(const struct config_value *value, const struct toml_value *entry,
                      const char *text)
{
    char where[512];
    const struct cli_source source = {
        CLI_FILE, toml_describe(value->settings->file, entry, where, sizeof where)};

    return value->apply ? option_set(value->settings, value->option, &source, text, value->error)
                        : 0;
}

static int config_set_boolean(const struct config_value *value)
{
    bool on;
    int err = toml_boolean(value->settings->file, value->toml, &on, value->error);
    return err || !on ? err : config_set(value, value->toml, NULL);
}

static int config_set_integer(const struct config_value *value)
{
    int64_t integer;
    char text[32];
    int err = toml_integer(value->settings->file, value->toml, &integer, value->error);
    snprintf(text, sizeof text, "%" PRId64, err ? 0 : integer);
    return err ? err : config_set(value, value->toml, text);
}

static int config_set_string(const struct config_value *value)
{
    const char *string;
    int err = toml_string(value->settings->file, value->toml, &string, value->error);
    return err ? err : config_set(value, value->toml, string);
}

static int config_set_cores(const struct config_value *value)
{
    struct text list = {0};
    int err = toml_container(value->settings->file, value->toml, TOML_ARRAY, value->error);
    if (err)
        return err;
    for (const struct toml_value *entry = value->toml->entries.first; entry && !err;
         entry = entry->next) {
        int64_t core;
        err = toml_integer(value->settings->file, entry, &core, value->error);
        if (!err)
            text_printf(&list, "%" PRId64 ",", core);
    }
    if (!err && list.failed)
        err = error_set(value->error, UHYVE_STATUS_FAILED, ENOMEM,
                        "not enough memory for the affinity list");
    if (!err)
        err = config_set(value, value->toml, list.data ? list.data : "");
    text_free(&list);
    return err;
}

static int config_set_strings(const struct config_value *value)
{
    int err = toml_container(value->settings->file, value->toml, TOML_ARRAY, value->error);
    if (err)
        return err;
    for (const struct toml_value *entry = value->toml->entries.first; entry && !err;
         entry = entry->next) {
        const char *string;
        err = toml_string(value->settings->file, entry, &string, value->error);
        if (!err)
            err = config_set(value, entry, string);
    }
    return err;
}

static int config_set_value(const struct config_value *value)
{
    switch (value->option->toml) {
    case CLI_TOML_BOOLEAN:
        return config_set_boolean(value);
    case CLI_TOML_INTEGER:
        return config_set_integer(value);
    case CLI_TOML_STRING:
        return config_set_string(value);
    case CLI_TOML_SIZE:
    case CLI_TOML_PORT:
        return value->toml->type == TOML_INTEGER ? config_set_integer(value)
                                                 : config_set_string(value);
    case CLI_TOML_CORES:
        return value->toml->type == TOML_STRING ? config_set_string(value)
                                                : config_set_cores(value);
    case CLI_TOML_STRINGS:
        return config_set_strings(value);
    case CLI_TOML_NONE:
        break;
    }
    return 0;
}

static int config_set_all(struct cli_settings *settings, struct uhyve_error *error)
{
    int err = 0;

    for (size_t i = 0; i < cli_option_count && !err; i++) {
        const struct cli_option *option = &cli_options[i];
        if (option->toml == CLI_TOML_NONE)
            continue;
        const struct toml_value *section = toml_find(toml_root(settings->file), option->section);
        if (section)
            err = toml_container(settings->file, section, TOML_TABLE, error);
        const struct toml_value *toml = err ? NULL : toml_find(section, option->key);
        if (!toml)
            continue;
        const struct config_value value = {
            .settings = settings,
            .option = option,
            .toml = toml,
            .apply = option->cumulative || !option_is_given(settings, option),
            .error = error,
        };
        err = config_set_value(&value);
    }
    return err;
}

int config_apply(struct cli_settings *settings, struct uhyve_error *error)
{
    struct text path = {0}, text = {0};

    int fd = config_open(settings, &path, error);
    int err = fd < 0 ? fd : config_read(fd, path.data, &text, error);
    if (fd >= 0)
        close(fd);
    if (!err)
        err = toml_parse(path.data, text.data, text.size, &settings->file, error);
    if (!err)
        err = config_set_all(settings, error);
    text_free(&text);
    text_free(&path);
    return fd == -ENOENT ? 0 : err;
}
