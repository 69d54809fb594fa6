/* Whose arguments, variables and machine: the image's or the command line's (spec/files.md 6.3). */
#include "unit.h"

#include <stdio.h>

#include "boot/bootargs.h"
#include "vm/hermit_input.h"

static struct uhyve_error error;
static struct hermit_input input;
static struct uhyve_params params;
static struct text bootargs;
static char warning[512];

static void keep_warning(void *context, enum uhyve_level level, const char *text)
{
    snprintf(warning, sizeof warning, "%s", text);
}

static const struct log test_log = {.message = keep_warning, .level = UHYVE_LEVEL_WARN};

static const char *kernel_args[] = {"-ip", "10.0.0.1", "--", "y"};
static const char *app_args[] = {"x 1", "--"};
static const char *env[] = {"A=1", "host", "B=2", "A=3", "=4"};

static struct hermit_config config_of(size_t kernel, size_t app, size_t variables)
{
    return (struct hermit_config){
        .kernel_args = {kernel_args, kernel},
        .app_args = {app_args, app},
        .env = {env, variables},
    };
}

static int start(void **state)
{
    uhyve_params_init(&params);
    params.image = "app.hermit";
    warning[0] = '\0';
    return 0;
}

static int clear(void **state)
{
    hermit_input_free(&input);
    text_free(&bootargs);
    return 0;
}

static void assert_command_line(struct hermit_config config, const char *expected)
{
    clear(NULL);
    assert_int_equal(hermit_input_apply(&input, &config, &params, &test_log, &error), 0);
    bootargs_format(&bootargs, &params);
    assert_string_equal(bootargs.data ? bootargs.data : "", expected);
}

static void arguments_of_the_image_count_without_others(void **state)
{
    assert_command_line(config_of(0, 0, 0), "");
    assert_command_line(config_of(2, 0, 0), "-ip 10.0.0.1");
    start(NULL);
    assert_command_line(config_of(2, 1, 0), "-ip 10.0.0.1 -- 'x 1'");
    start(NULL);
    assert_command_line(config_of(0, 2, 0), "-- 'x 1' --");
    /* The first "--" separates, also one among the kernel's arguments. */
    start(NULL);
    assert_command_line(config_of(4, 1, 0), "-ip 10.0.0.1 -- y -- 'x 1'");
}

static void any_argument_replaces_all_of_them(void **state)
{
    static const char *const own[] = {"own"};

    params.kernel_args = own;
    params.kernel_arg_count = 1;
    assert_command_line(config_of(2, 2, 0), "own");
    start(NULL);
    params.app_args = own;
    params.app_arg_count = 1;
    assert_command_line(config_of(2, 2, 0), "-- own");
    start(NULL);
    params.explicit_args = true;
    assert_command_line(config_of(2, 2, 0), "");
}

static void variables_are_merged_and_ours_win(void **state)
{
    static const char *const own[] = {"B=own", "C=own"};

    assert_command_line(config_of(0, 0, 1), "env=A=1");
    assert_string_equal(warning, "");
    start(NULL);
    assert_command_line(config_of(0, 0, 5), "env=A=3 env=B=2");
    assert_non_null(strstr(warning, "'=4'"));
    start(NULL);
    params.env = own;
    params.env_count = 2;
    assert_command_line(config_of(0, 0, 4), "env=A=3 env=B=own env=C=own");
    assert_non_null(strstr(warning, "'host'"));
    start(NULL);
    params.env = own;
    params.env_count = 2;
    params.explicit_env = true;
    assert_command_line(config_of(0, 0, 4), "env=B=own env=C=own");
    start(NULL);
    params.env = own;
    params.env_count = 2;
    assert_command_line(config_of(0, 0, 0), "env=B=own env=C=own");
}

static void requirements_are_checked_not_applied(void **state)
{
    struct hermit_config config = {.memory = 100 * UHYVE_MIB, .cpus = 2};

    params.memory_size = 64 * UHYVE_MIB;
    params.cpu_count = 2;
    assert_true(hermit_input_apply(&input, &config, &params, &test_log, &error) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    assert_non_null(strstr(error.message, "wanted 100 MiB, got 64 MiB (use -m 100M)"));
    assert_int_equal(params.memory_size, 64 * UHYVE_MIB);

    config.memory = 64 * UHYVE_MIB + 1;
    assert_true(hermit_input_apply(&input, &config, &params, &test_log, &error) < 0);
    assert_non_null(strstr(error.message, "use -m 66M"));
    config.memory = UINT64_MAX;
    assert_true(hermit_input_apply(&input, &config, &params, &test_log, &error) < 0);

    config.memory = 64 * UHYVE_MIB;
    assert_int_equal(hermit_input_apply(&input, &config, &params, &test_log, &error), 0);
    params.cpu_count = 1;
    assert_true(hermit_input_apply(&input, &config, &params, &test_log, &error) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    assert_non_null(strstr(error.message, "wanted 2, got 1 (use -c 2)"));
    assert_int_equal(params.cpu_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arguments_of_the_image_count_without_others, start, clear),
        cmocka_unit_test_setup_teardown(any_argument_replaces_all_of_them, start, clear),
        cmocka_unit_test_setup_teardown(variables_are_merged_and_ours_win, start, clear),
        cmocka_unit_test_setup_teardown(requirements_are_checked_not_applied, start, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
