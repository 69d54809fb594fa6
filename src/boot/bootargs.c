#include "boot/bootargs.h"

#include <string.h>

static void add_word(struct text *text, const char *word)
{
    if (text->size)
        text_add(text, " ");
    text_add_quoted(text, word, strlen(word));
}

static void add_variable(struct text *text, const char *variable)
{
    const char *value = strchr(variable, '=');
    size_t name_size = value ? (size_t)(value - variable) : strlen(variable);

    if (text->size)
        text_add(text, " ");
    text_add(text, "env=");
    text_add_quoted(text, variable, name_size);
    text_add(text, "=");
    text_add_quoted(text, value ? value + 1 : "", value ? strlen(value + 1) : 0);
}

void bootargs_format(struct text *text, const struct uhyve_params *params)
{
    for (size_t i = 0; i < params->kernel_arg_count; i++)
        add_word(text, params->kernel_args[i]);
    for (size_t i = 0; i < params->env_count; i++)
        add_variable(text, params->env[i]);
    if (!params->app_arg_count)
        return;
    text_add(text, text->size ? " --" : "--");
    for (size_t i = 0; i < params->app_arg_count; i++)
        add_word(text, params->app_args[i]);
}
