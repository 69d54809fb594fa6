#include "vm/hermit_input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/checked.h"
#include "util/error.h"
#include "util/text.h"

static int error_memory(struct uhyve_error *error)
{
    return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
}

/* The size for -m that satisfies a requirement. */
static uint64_t usable_size(uint64_t memory)
{
    uint64_t size = memory < UHYVE_MEMORY_MIN ? UHYVE_MEMORY_MIN : memory;
    return checked_align_up(size, UHYVE_MEMORY_ALIGN, &size) ? memory : size;
}

static int check_requirements(const struct hermit_config *config, const struct uhyve_params *params,
                              struct uhyve_error *error)
{
    char wanted[32], got[32];

    if (params->memory_size < config->memory)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOMEM,
                         "image '%s' requires more memory: wanted %s, got %s (use -m %lluM)",
                         params->image, text_format_size(wanted, sizeof wanted, config->memory),
                         text_format_size(got, sizeof got, params->memory_size),
                         (unsigned long long)(usable_size(config->memory) / UHYVE_MIB));
    if (params->cpu_count < config->cpus)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, EINVAL,
                         "image '%s' requires more CPUs: wanted %u, got %u (use -c %u)",
                         params->image, config->cpus, params->cpu_count, config->cpus);
    return 0;
}

/*
 * Together as one command line: the kernel's arguments, and after "--" the application's. Like on
 * the command line the first "--" separates them, which may be one among the kernel's.
 */
static int take_arguments(struct hermit_input *input, const struct hermit_config *config,
                          struct uhyve_params *params, struct uhyve_error *error)
{
    const struct hermit_words *kernel = &config->kernel_args, *app = &config->app_args;
    size_t count = 0, separator = 0;

    if (params->explicit_args || params->kernel_arg_count || params->app_arg_count)
        return 0;
    input->args = calloc(kernel->count + app->count + 1, sizeof *input->args);
    if (!input->args)
        return error_memory(error);
    for (size_t i = 0; i < kernel->count; i++)
        input->args[count++] = kernel->items[i];
    if (app->count)
        input->args[count++] = "--";
    for (size_t i = 0; i < app->count; i++)
        input->args[count++] = app->items[i];
    while (separator < count && strcmp(input->args[separator], "--") != 0)
        separator++;
    params->kernel_args = input->args;
    params->kernel_arg_count = separator;
    if (separator < count) {
        params->app_args = input->args + separator + 1;
        params->app_arg_count = count - separator - 1;
    }
    return 0;
}

/* Add NAME=value, in the place of an earlier value for the same name. */
static size_t set_variable(const char **env, size_t count, const char *variable)
{
    const char *equals = strchr(variable, '=');
    size_t name = equals ? (size_t)(equals - variable) + 1 : strlen(variable);

    for (size_t i = 0; i < count; i++)
        if (strncmp(env[i], variable, name) == 0) {
            env[i] = variable;
            return count;
        }
    env[count] = variable;
    return count + 1;
}

static int take_environment(struct hermit_input *input, const struct hermit_config *config,
                            struct uhyve_params *params, const struct log *log,
                            struct uhyve_error *error)
{
    size_t count = 0;

    if (params->explicit_env || !config->env.count)
        return 0;
    input->env = calloc(config->env.count + params->env_count, sizeof *input->env);
    if (!input->env)
        return error_memory(error);
    for (size_t i = 0; i < config->env.count; i++) {
        const char *variable = config->env.items[i], *equals = strchr(variable, '=');
        if (equals && equals != variable)
            count = set_variable(input->env, count, variable);
        else
            log_warn(log, "image '%s': '%.80s' of its env_vars is not NAME=value and is ignored",
                     params->image, variable);
    }
    for (size_t i = 0; i < params->env_count; i++)
        count = set_variable(input->env, count, params->env[i]);
    params->env = input->env;
    params->env_count = count;
    return 0;
}

int hermit_input_apply(struct hermit_input *input, const struct hermit_config *config,
                       struct uhyve_params *params, const struct log *log,
                       struct uhyve_error *error)
{
    *input = (struct hermit_input){0};
    int err = check_requirements(config, params, error);
    if (!err)
        err = take_arguments(input, config, params, error);
    if (!err)
        err = take_environment(input, config, params, log, error);
    return err;
}

void hermit_input_free(struct hermit_input *input)
{
    free(input->args);
    free(input->env);
    *input = (struct hermit_input){0};
}
