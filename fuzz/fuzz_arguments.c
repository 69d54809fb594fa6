/*
 * Fuzz target: the lines of the input as the words of a command line, which reaches every option's
 * own parser (sizes, numbers, core lists, variables). What is accepted must be within the limits
 * that the library promises to its callers.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/arguments.h"
#include "cli/guest_env.h"
#include "fuzz.h"
#include "input.h"

#define WORDS_MAX 64

static void check(const struct cli_settings *settings)
{
    const struct uhyve_params *params = &settings->params;

    require(params->memory_size >= UHYVE_MEMORY_MIN);
    require(params->memory_size % UHYVE_MEMORY_ALIGN == 0);
    require(params->cpu_count >= 1 && params->cpu_count <= UHYVE_CPUS_MAX);
    require(settings->affinity_count <= UHYVE_CPUS_MAX);
    require(!(settings->output && params->discard_output));
    for (size_t i = 0; i < params->env_count; i++) {
        const char *equals = strchr(params->env[i], '=');
        require(equals && equals > params->env[i]);
        for (size_t j = 0; j < i; j++)
            require(strncmp(params->env[i], params->env[j],
                            (size_t)(equals - params->env[i]) + 1) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[] = "uhyve", *words[WORDS_MAX + 1] = {name}, *save;
    int count = 1;
    struct cli_settings settings;
    struct uhyve_error error = {.message = ""};

    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *word = strtok_r(text, "\n", &save); word && count < WORDS_MAX;
         word = strtok_r(NULL, "\n", &save))
        words[count++] = word;

    settings_init(&settings);
    int err = arguments_parse(&settings, count, words, &error);
    if (!err && settings.action == CLI_RUN)
        err = guest_env_build(&settings, &error);
    if (err)
        require(err < 0 && error.status && error.message[0] && !strchr(error.message, '\n'));
    else
        check(&settings);
    settings_free(&settings);
    free(text);
    return 0;
}
