/* The public interface as far as it needs no guest: parameters and refusals. */
#include "unit.h"

#include <string.h>

#include "uhyve.h"

static struct uhyve_params good_params(void)
{
    struct uhyve_params params;
    uhyve_params_init(&params);
    params.image = "/nonexistent/kernel";
    return params;
}

static void assert_refused(const struct uhyve_params *params, int status, const char *why)
{
    struct uhyve_error error = {0};
    struct uhyve_vm *vm = (struct uhyve_vm *)(void *)&error; /* must become NULL */
    assert_true(uhyve_create(params, &vm, &error) < 0);
    assert_null(vm);
    assert_int_equal(error.status, status);
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
    assert_null(strchr(error.message, '\n'));
    assert_true(uhyve_create(params, &vm, NULL) < 0); /* reasons are optional */
}

static void defaults_are_as_documented(void **state)
{
    struct uhyve_params params;
    memset(&params, 0x5a, sizeof params);
    uhyve_params_init(&params);
    assert_null(params.image);
    assert_int_equal(params.memory_size, UHYVE_MEMORY_DEFAULT);
    assert_int_equal(params.cpu_count, 1);
    assert_int_equal(params.accel, UHYVE_ACCEL_AUTO);
    assert_true(params.aslr);
    assert_false(params.thp || params.ksm || params.cpu_pm || params.pit || params.verbose);
    assert_int_equal(params.stdin_fd, -1);
    assert_int_equal(params.stdout_fd, -1);
    assert_int_equal(params.log_fd, -1);
    assert_int_equal(params.output_fd, -1);
    assert_int_equal(params.message_level, UHYVE_LEVEL_WARN);
    assert_int_equal(params.kernel_arg_count + params.app_arg_count + params.env_count, 0);
    assert_true(strlen(uhyve_version()) > 0);
}

static void impossible_parameters_are_usage_errors(void **state)
{
    static const unsigned cpus[] = {0, 1};
    struct uhyve_params params = good_params();
    params.image = NULL;
    assert_refused(&params, UHYVE_STATUS_USAGE, "no image");
    static const uint64_t too_small[] = {0, 1, UHYVE_MEMORY_MIN - 1,
                                         UHYVE_MEMORY_MIN - UHYVE_MEMORY_ALIGN};
    for (size_t i = 0; i < 4; i++) {
        params = good_params();
        params.memory_size = too_small[i];
        assert_refused(&params, UHYVE_STATUS_USAGE, "at least 16 MiB");
    }
    params.memory_size = UHYVE_MEMORY_MIN + 4096;
    assert_refused(&params, UHYVE_STATUS_USAGE, "multiple of 2 MiB");
    params.memory_size = UINT64_MAX;
    assert_refused(&params, UHYVE_STATUS_USAGE, "multiple of 2 MiB");
    params = good_params();
    params.cpu_count = 0;
    assert_refused(&params, UHYVE_STATUS_USAGE, "number of CPUs");
    params.cpu_count = UHYVE_CPUS_MAX + 1;
    assert_refused(&params, UHYVE_STATUS_USAGE, "number of CPUs");
    params.cpu_count = UINT32_MAX;
    assert_refused(&params, UHYVE_STATUS_USAGE, "number of CPUs");
    params = good_params();
    params.affinity = cpus;
    params.affinity_count = 2;
    assert_refused(&params, UHYVE_STATUS_USAGE, "affinity");
    params.affinity = (const unsigned[]){65536};
    params.affinity_count = 1;
    assert_refused(&params, UHYVE_STATUS_USAGE, "host CPU 65536");
}

static void unusable_images_are_told_apart(void **state)
{
    struct uhyve_params params = good_params();
    assert_refused(&params, UHYVE_STATUS_NO_IMAGE, "'/nonexistent/kernel' was not found");
    params.image = "/";
    assert_refused(&params, UHYVE_STATUS_BAD_IMAGE, "is a directory");
    params.image = "/proc/self/exe"; /* a program for this system */
    assert_refused(&params, UHYVE_STATUS_BAD_IMAGE, "cannot be booted");
    params.image = "/proc/self/cmdline";
    assert_refused(&params, UHYVE_STATUS_BAD_IMAGE, "cannot be booted");
}

static void destroying_nothing_is_allowed(void **state)
{
    uhyve_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_as_documented),
        cmocka_unit_test(impossible_parameters_are_usage_errors),
        cmocka_unit_test(unusable_images_are_told_apart),
        cmocka_unit_test(destroying_nothing_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
