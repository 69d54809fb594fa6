#include "cli/guest_env.h"

#include <string.h>
#include <unistd.h>

#include "util/text.h"

/* Hermit takes UTF-8 only, so other host variables cannot be passed on. */
static int add_host_variables(struct cli_settings *settings, struct uhyve_error *error)
{
    struct log log = settings_log(settings);

    for (char **variable = environ; variable && *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        if (!equals || equals == *variable)
            continue;
        size_t name = (size_t)(equals - *variable);
        if (!text_is_utf8(*variable, name)) {
            log_warn(&log, "a host variable whose name is not UTF-8 is not passed to the guest");
            continue;
        }
        if (!text_is_utf8(equals, strlen(equals))) {
            log_warn(&log, "the host variable %.*s is not UTF-8 and is not passed to the guest",
                     name < 80 ? (int)name : 80, *variable);
            continue;
        }
        int err = words_add(&settings->env, *variable, error);
        if (err)
            return err;
    }
    return 0;
}

/* Add NAME=value, in the place of an earlier value for the same name. */
static int set_variable(struct cli_words *env, const char *variable, struct uhyve_error *error)
{
    size_t size = (size_t)(strchr(variable, '=') - variable) + 1;

    for (size_t i = 0; i < env->count; i++)
        if (strncmp(env->items[i], variable, size) == 0) {
            env->items[i] = variable;
            return 0;
        }
    return words_add(env, variable, error);
}

/* Bring in what one source asked for; the sources come weakest first. */
static int add_source(struct cli_settings *settings, const struct cli_words *words,
                      struct uhyve_error *error)
{
    int err = 0;

    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->items[i], "host") == 0) {
            bool others = settings->env.count > 0;
            for (size_t j = 0; j < words->count; j++)
                others = others || strcmp(words->items[j], "host") != 0;
            if (others) {
                struct log log = settings_log(settings);
                log_warn(&log, "environment variables besides 'host' are ignored");
            }
            settings->params.explicit_env = true;
            settings->env.count = 0;
            return add_host_variables(settings, error);
        }
    for (size_t i = 0; i < words->count && !err; i++)
        err = set_variable(&settings->env, words->items[i], error);
    return err;
}

int guest_env_build(struct cli_settings *settings, struct uhyve_error *error)
{
    int err = add_source(settings, &settings->env_configured, error);
    if (!err)
        err = add_source(settings, &settings->env_given, error);
    settings->params.env = settings->env.items;
    settings->params.env_count = settings->env.count;
    return err;
}
