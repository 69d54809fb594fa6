#include "cli/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/affinity.h"
#include "cli/arguments.h"
#include "cli/config.h"
#include "cli/environment.h"
#include "cli/files.h"
#include "cli/guest_env.h"
#include "cli/net.h"
#include "util/error.h"
#include "util/toml.h"

void settings_init(struct cli_settings *settings)
{
    *settings = (struct cli_settings){.action = CLI_RUN};
    uhyve_params_init(&settings->params);
    settings->params.isolation = UHYVE_ISOLATION_NORMAL;
    settings->params.filter_calls = true;
}

void settings_free(struct cli_settings *settings)
{
    free(settings->positionals.items);
    free(settings->env_given.items);
    free(settings->env_configured.items);
    free(settings->env.items);
    files_free_mappings(settings);
    toml_free(settings->file);
    *settings = (struct cli_settings){.action = CLI_RUN};
}

struct log settings_log(const struct cli_settings *settings)
{
    return (struct log){
        .message = settings->params.message,
        .context = settings->params.message_context,
        .level = settings->params.message_level,
    };
}

int words_add(struct cli_words *words, const char *word, struct uhyve_error *error)
{
    if (words->count == words->capacity) {
        size_t capacity = words->capacity ? 2 * words->capacity : 16;
        const char **items = reallocarray(words->items, capacity, sizeof *items);
        if (!items)
            return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "not enough memory for settings");
        words->items = items;
        words->capacity = capacity;
    }
    words->items[words->count++] = word;
    return 0;
}

/*
 * The first positional is the image; a "--" among the others separates the kernel's arguments from
 * the application's (spec/cli.md section 1).
 */
static int settings_split_positionals(struct cli_settings *settings, struct uhyve_error *error)
{
    struct uhyve_params *params = &settings->params;
    const char *const *words = settings->positionals.items;
    size_t count = settings->positionals.count, separator = 1;

    if (count == 0)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "no IMAGE was given (usage: uhyve [OPTIONS] IMAGE [ARGUMENTS]..., see "
                         "uhyve --help)");
    params->image = words[0];
    while (separator < count && strcmp(words[separator], "--") != 0)
        separator++;
    params->explicit_args = count > 1;
    params->kernel_args = words + 1;
    params->kernel_arg_count = separator - 1;
    if (separator < count) {
        params->app_args = words + separator + 1;
        params->app_arg_count = count - separator - 1;
    }
    return 0;
}

int settings_load(struct cli_settings *settings, int argc, char *const *argv,
                  struct uhyve_error *error)
{
    int err = arguments_parse(settings, argc, argv, error);
    if (err || settings->action != CLI_RUN)
        return err;
    err = settings_split_positionals(settings, error);
    if (!err)
        err = environment_apply(settings, error);
    if (!err)
        err = config_apply(settings, error);
    if (!err)
        err = affinity_check(settings, error);
    if (!err)
        err = net_check(settings, error);
    if (!err)
        err = guest_env_build(settings, error);
    return err;
}
