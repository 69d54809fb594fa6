/* Arguments and environment as a VM freezes them for its guest (spec/hypercalls.md sections 4.11
 * and 8). */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "hermit/hypercall.h"
#include "vm/vm.h"

static struct uhyve_vm vm;
static unsigned warnings;
static char last_warning[256];

static void take_warning(void *context, enum uhyve_level level, const char *text)
{
    assert_int_equal(level, UHYVE_LEVEL_WARN);
    warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", text);
}

static int start(void **state)
{
    memset(&vm, 0, sizeof vm);
    uhyve_params_init(&vm.params);
    vm.params.image = "dir/kernel";
    vm.elf.interface = 1;
    vm.log = (struct log){take_warning, NULL, UHYVE_LEVEL_WARN};
    warnings = 0;
    return 0;
}

static int finish(void **state)
{
    vm_args_free(&vm);
    return 0;
}

static void init(void)
{
    struct uhyve_error error;
    assert_int_equal(vm_args_init(&vm, &error), 0);
}

static void arguments_are_the_command_line(void **state)
{
    static const char *const kernel[] = {"-freq", "100"}, *const app[] = {"a b", ""};
    static const char *const expected[] = {"dir/kernel", "-freq", "100", "--", "a b", ""};
    vm.params.kernel_args = kernel;
    vm.params.kernel_arg_count = 2;
    vm.params.app_args = app;
    vm.params.app_arg_count = 2;
    init();
    assert_int_equal(vm.hypercalls.arguments.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(vm.hypercalls.arguments.items[i], expected[i]);
    assert_string_equal(vm.bootargs.data, "-freq 100 -- 'a b' ''");
    assert_int_equal(warnings, 0);
}

static void image_is_the_first_argument(void **state)
{
    init();
    assert_int_equal(vm.hypercalls.arguments.count, 1);
    assert_string_equal(vm.hypercalls.arguments.items[0], "dir/kernel");
    assert_string_equal(vm.bootargs.data, "");
}

/* With fewer than four variables old kernels crash. */
static void environment_is_padded(void **state)
{
    static const char *const env[] = {"A=1", "B=2", "C=3", "D=4", "E=5", "F=6"};
    for (size_t count = 0; count <= 6; count++) {
        start(state);
        vm.params.env = env;
        vm.params.env_count = count;
        init();
        struct string_list *list = &vm.hypercalls.environment;
        assert_true(list->count >= 4 && list->count >= count);
        for (size_t i = 0; i < count; i++)
            assert_string_equal(list->items[i], env[i]);
        for (size_t i = count; i < list->count; i++) {
            assert_true(strncmp(list->items[i], "HERMIT_VMM", 10) == 0);
            assert_non_null(strchr(list->items[i], '='));
            for (size_t j = count; j < i; j++)
                assert_string_not_equal(list->items[i], list->items[j]);
        }
        /* Padding is for the old interface only. */
        assert_null(strstr(vm.bootargs.data, "HERMIT_VMM"));
        if (count < 6)
            vm_args_free(&vm);
    }
}

static void excess_strings_are_dropped_with_a_warning(void **state)
{
    static const char *many[200];
    static const size_t most = HERMIT_V1_MAX_STRINGS;
    for (size_t i = 0; i < 200; i++)
        many[i] = "X=y";
    vm.params.kernel_args = many;
    vm.params.kernel_arg_count = most - 1;
    vm.params.env = many;
    vm.params.env_count = most;
    init();
    assert_int_equal(vm.hypercalls.arguments.count, most);
    assert_int_equal(vm.hypercalls.environment.count, most);
    assert_int_equal(warnings, 0);
    vm_args_free(&vm);

    start(state);
    vm.params.kernel_args = vm.params.app_args = many;
    vm.params.kernel_arg_count = most - 1;
    vm.params.app_arg_count = 10;
    init();
    assert_int_equal(vm.hypercalls.arguments.count, most);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "11 arguments")); /* with the separator */
    vm_args_free(&vm);

    start(state);
    vm.params.env = many;
    vm.params.env_count = 200;
    init();
    assert_int_equal(vm.hypercalls.environment.count, most);
    assert_int_equal(warnings, 1);
    assert_non_null(strstr(last_warning, "72 environment variables"));
    /* The command line has no such limit. */
    assert_int_equal(vm.bootargs.size, 200 * strlen(" env=X=y") - 1);
}

/* They use the command line, which has no limit: nothing is lost, whatever the lists hold. */
static void later_kernels_are_not_warned_about(void **state)
{
    static const char *many[200];
    for (size_t i = 0; i < 200; i++)
        many[i] = "X=y";
    vm.elf.interface = 2;
    vm.elf.version = (struct elf_version){true, 0, 13, 0};
    vm.params.env = many;
    vm.params.env_count = 200;
    init();
    assert_int_equal(vm.hypercalls.arguments.count, 1);
    assert_int_equal(vm.hypercalls.environment.count, HERMIT_V1_MAX_STRINGS);
    assert_int_equal(vm.bootargs.size, 200 * strlen(" env=X=y") - 1);
    assert_int_equal(warnings, 0);
}

static void every_hypercall_has_a_counter(void **state)
{
    assert_true(hypercall_count() <= COUNT_HYPERCALLS_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(arguments_are_the_command_line),
        TEST(image_is_the_first_argument),
        TEST(environment_is_padded),
        TEST(excess_strings_are_dropped_with_a_warning),
        TEST(later_kernels_are_not_warned_about),
        TEST(every_hypercall_has_a_counter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
