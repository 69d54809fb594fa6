/* hermit.toml: its keys, their types, and messages that name the line (spec/files.md 6.2). */
#include "unit.h"

#include "image/hermit_config.h"

static struct uhyve_error error;
static struct hermit_config config;

static int clear(void **state)
{
    hermit_config_free(&config);
    return 0;
}

static int parse(const char *text)
{
    clear(NULL);
    memset(&error, 0, sizeof error);
    return hermit_config_read(&config, "app.hermit", text, strlen(text), &error);
}

static void assert_read(const char *text)
{
    if (parse(text) != 0)
        fail_msg("%s", error.message);
}

static void assert_refused(const char *text, const char *why)
{
    assert_true(parse(text) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    assert_non_null(strstr(error.message, "'app.hermit'"));
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
}

#define START   "version = \"1\"\nkernel = \"/k\"\n"
#define INPUT   "[input]\nkernel_args = []\napp_args = []\n"
#define MINIMAL START INPUT

static void all_keys(void **state)
{
    assert_read("version = '1'\n"
                "kernel = 'boot/kernel'\n"
                "[input]\n"
                "kernel_args = ['-freq', '1000']\n"
                "app_args = ['x']\n"
                "env_vars = ['A=1', 'host']\n"
                "[requirements]\n"
                "memory = '64MiB'\n"
                "cpus = 3\n");
    assert_string_equal(config.kernel, "boot/kernel");
    assert_int_equal(config.kernel_args.count, 2);
    assert_string_equal(config.kernel_args.items[1], "1000");
    assert_int_equal(config.app_args.count, 1);
    assert_string_equal(config.app_args.items[0], "x");
    assert_int_equal(config.env.count, 2);
    assert_string_equal(config.env.items[1], "host");
    assert_int_equal(config.memory, 64 << 20);
    assert_int_equal(config.cpus, 3);
}

static void what_may_be_missing(void **state)
{
    assert_read(MINIMAL);
    assert_int_equal(config.kernel_args.count, 0);
    assert_int_equal(config.env.count, 0);
    assert_int_equal(config.memory, 0);
    assert_int_equal(config.cpus, 0);
    assert_read(MINIMAL "[requirements]\n");
    assert_read(MINIMAL "unknown = 1\n[other]\nx = []\n");
    assert_read(MINIMAL "[requirements]\nmemory = 123456789\n");
    assert_int_equal(config.memory, 123456789);
}

static void what_must_be_there(void **state)
{
    assert_refused("", "'version' is missing");
    assert_refused("version = '1'\n" INPUT, "'kernel' is missing");
    assert_refused(START, "'[input]' is missing");
    assert_refused(START "[input]\napp_args = []\n", "'kernel_args' of '[input]' is missing");
    assert_refused(START "[input]\nkernel_args = []\n", "'app_args' of '[input]' is missing");
}

static void wrong_values_are_named_with_their_line(void **state)
{
    assert_refused("version = 1\nkernel = 'k'\n" INPUT, "hermit.toml:1: version must be a string");
    assert_refused("version = '2'\nkernel = 'k'\n" INPUT, "hermit.toml:1: version must be \"1\"");
    assert_refused("version = '1'\nkernel = 7\n" INPUT, "hermit.toml:2: kernel must be a string");
    assert_refused(START "input = 1\n", "hermit.toml:3: input must be a table");
    assert_refused(START "[input]\nkernel_args = 'x'\n", "hermit.toml:4: kernel_args must be");
    assert_refused(START "[input]\nkernel_args = []\napp_args = ['a',\n1]\n",
                   "hermit.toml:6: an entry of app_args must be a string");
    assert_refused(MINIMAL "env_vars = [true]\n", "hermit.toml:6: an entry of env_vars must be");
    assert_refused(MINIMAL "[requirements]\nmemory = 'much'\n", "hermit.toml:7: memory must be");
    assert_refused(MINIMAL "[requirements]\nmemory = -1\n", "hermit.toml:7: memory must be");
    assert_refused(MINIMAL "[requirements]\nmemory = \"1M\\u0000\"\n", "U+0000");
    assert_refused(MINIMAL "[requirements]\nmemory = true\n", "hermit.toml:7: memory must be");
    assert_refused(MINIMAL "[requirements]\ncpus = -1\n", "hermit.toml:7: cpus must be");
    assert_refused(MINIMAL "[requirements]\ncpus = 4294967296\n", "hermit.toml:7: cpus must be");
    assert_refused(MINIMAL "[requirements]\ncpus = '1'\n", "hermit.toml:7: cpus must be");
    assert_refused(START "requirements = []\n" INPUT, "hermit.toml:3: requirements must be");
}

static void syntax_errors_are_the_images(void **state)
{
    assert_refused("version = \n", "hermit.toml:1:");
    assert_refused("kernel = 'a\xff'\n", "hermit.toml:1:");
    assert_refused("kernel = \"a\\u0000\"\nversion = '1'\n" INPUT, "U+0000");
    char *large = malloc(70001);
    memset(large, '#', 70000);
    large[70000] = '\0';
    assert_refused(large, "hermit.toml");
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(all_keys, clear),
        cmocka_unit_test_teardown(what_may_be_missing, clear),
        cmocka_unit_test_teardown(what_must_be_there, clear),
        cmocka_unit_test_teardown(wrong_values_are_named_with_their_line, clear),
        cmocka_unit_test_teardown(syntax_errors_are_the_images, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
