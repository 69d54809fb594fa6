#include "cli/environment.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/options.h"
#include "util/text.h"

/*
 * RUST_LOG, which sets the diagnostics level of the reference: a comma list of LEVEL (for
 * everything) and MODULE=LEVEL (which mean nothing here), then perhaps /FILTER. "off" still lets
 * errors through, because they say why uhyve ends.
 */
static void apply_rust_log(struct cli_settings *settings)
{
    static const struct {
        const char *name;
        enum uhyve_level level;
    } levels[] = {
        {"off", UHYVE_LEVEL_ERROR}, {"error", UHYVE_LEVEL_ERROR}, {"warn", UHYVE_LEVEL_WARN},
        {"info", UHYVE_LEVEL_INFO}, {"debug", UHYVE_LEVEL_DEBUG}, {"trace", UHYVE_LEVEL_DEBUG},
    };
    const char *item = getenv("RUST_LOG");

    while (item && *item && *item != '/') {
        size_t size = strcspn(item, ",/");
        for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
            if (strlen(levels[i].name) == size && strncasecmp(item, levels[i].name, size) == 0)
                settings->params.message_level = levels[i].level;
        item += size + (item[size] == ',');
    }
}

/* A variable for a flag holds a number, and 0 means off. */
static int apply_flag(struct cli_settings *settings, const struct cli_option *option,
                      const struct cli_source *source, const char *value, struct uhyve_error *error)
{
    uint64_t number;

    if (text_parse_unsigned(value, UINT64_MAX, &number) != 0)
        return option_refuse(source, error, "'%.80s' is not a number (0 is off, 1 is on)", value);
    return number ? option_set(settings, option, source, NULL, error) : 0;
}

static int apply_variable(struct cli_settings *settings, const struct cli_option *option,
                          const char *name, const char *value, struct uhyve_error *error)
{
    const struct cli_source source = {CLI_ENVIRONMENT, name};

    if (!option->argument)
        return apply_flag(settings, option, &source, value, error);
    return option_set(settings, option, &source, value, error);
}

int environment_apply(struct cli_settings *settings, struct uhyve_error *error)
{
    if (!settings->verbosity)
        apply_rust_log(settings);
    for (size_t i = 0; i < cli_option_count; i++) {
        const struct cli_option *option = &cli_options[i];
        for (size_t j = 0; j < sizeof option->env / sizeof *option->env; j++) {
            const char *value = option->env[j] ? getenv(option->env[j]) : NULL;
            if (!value || !*value || option_is_given(settings, option))
                continue;
            int err = apply_variable(settings, option, option->env[j], value, error);
            if (err)
                return err;
        }
    }
    return 0;
}
