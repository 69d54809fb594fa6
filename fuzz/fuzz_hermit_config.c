/*
 * Fuzz target: any bytes as hermit.toml. What is accepted is complete, and what it asks for can be
 * merged with parameters; what is refused says why in one line.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "vm/hermit_input.h"

static void check_input(const struct hermit_config *config)
{
    static const struct log silent;
    static const char *const env[] = {"A=1", "B=2"};
    struct uhyve_error error = {.message = ""};
    struct hermit_input input;
    struct uhyve_params params;

    uhyve_params_init(&params);
    params.image = "fuzz.hermit";
    params.env = env;
    params.env_count = 2;
    int err = hermit_input_apply(&input, config, &params, &silent, &error);
    require(!err || error.message[0]);
    if (!err) {
        require(params.memory_size >= config->memory && params.cpu_count >= config->cpus);
        require(params.env_count >= 2);
        for (size_t i = 0; i < params.env_count; i++)
            require(strchr(params.env[i], '=') != NULL);
        for (size_t i = 0; i < params.kernel_arg_count; i++)
            require(strcmp(params.kernel_args[i], "--") != 0);
    }
    hermit_input_free(&input);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct uhyve_error error = {.message = ""};
    struct hermit_config config;

    int err = hermit_config_read(&config, "fuzz.hermit", bytes, size, &error);
    if (err) {
        require(error.message[0] && !strchr(error.message, '\n'));
    } else {
        require(config.kernel != NULL);
        check_input(&config);
    }
    hermit_config_free(&config);
    return 0;
}
