/* Environment and configuration file, and the guest's environment that they are sources of. */
#include "unit.h"

#include <sys/stat.h>

#include "cli_fixture.h"

static void environment_variables(void **state)
{
    setenv("HERMIT_MEM", "32M", 1);
    setenv("HERMIT_CPUS", "2", 1);
    setenv("UHYVE_ACCEL", "kvm", 1);
    MUST_LOAD("k");
    assert_int_equal(settings.params.memory_size, 32 * UHYVE_MIB);
    assert_int_equal(settings.params.cpu_count, 2);
    assert_int_equal(settings.params.accel, UHYVE_ACCEL_KVM);

    setenv("HERMIT_MEMORY_SIZE", "64MiB", 1);
    setenv("HERMIT_CPU_COUNT", "3", 1);
    MUST_LOAD("k");
    assert_int_equal(settings.params.memory_size, 64 * UHYVE_MIB);
    assert_int_equal(settings.params.cpu_count, 3);

    setenv("HERMIT_MEMORY_SIZE", "", 1);
    MUST_LOAD("k", "-c", "4");
    assert_int_equal(settings.params.memory_size, 32 * UHYVE_MIB);
    assert_int_equal(settings.params.cpu_count, 4);

    setenv("HERMIT_MEM", "much", 1);
    REFUSE(WORDS("k"), WORDS("HERMIT_MEM: ", "much"));
    setenv("HERMIT_MEM", "8M", 1);
    REFUSE(WORDS("k"), WORDS("HERMIT_MEM: ", "16 MiB"));
    MUST_LOAD("k", "-m64M");
    unsetenv("HERMIT_MEM");
    setenv("HERMIT_CPU_COUNT", "x", 1);
    REFUSE(WORDS("k"), WORDS("HERMIT_CPU_COUNT: "));
}

static void expect_level(enum uhyve_level level, bool verbose, const char *flag)
{
    MUST_LOAD("k", flag);
    assert_int_equal(settings.params.message_level, level);
    assert_int_equal(settings.params.verbose, verbose);
}

static void message_levels(void **state)
{
    expect_level(UHYVE_LEVEL_INFO, true, "-v");
    expect_level(UHYVE_LEVEL_DEBUG, true, "-vv");
    expect_level(UHYVE_LEVEL_DEBUG, true, "-vvvv");

    static const struct {
        const char *value;
        enum uhyve_level level;
    } levels[] = {
        {"off", UHYVE_LEVEL_ERROR},
        {"error", UHYVE_LEVEL_ERROR},
        {"warn", UHYVE_LEVEL_WARN},
        {"INFO", UHYVE_LEVEL_INFO},
        {"debug", UHYVE_LEVEL_DEBUG},
        {"trace", UHYVE_LEVEL_DEBUG},
        {"", UHYVE_LEVEL_WARN},
        {"uhyvelib=debug", UHYVE_LEVEL_WARN},
        {"a=warn,info,b=trace/x,debug", UHYVE_LEVEL_INFO},
        {",,", UHYVE_LEVEL_WARN},
    };
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        setenv("RUST_LOG", levels[i].value, 1);
        expect_level(levels[i].level, false, NULL);
        expect_level(UHYVE_LEVEL_INFO, true, "--verbose");
    }
    unsetenv("RUST_LOG");
    setenv("HERMIT_VERBOSE", "1", 1);
    expect_level(UHYVE_LEVEL_INFO, true, NULL);
    expect_level(UHYVE_LEVEL_DEBUG, true, "-vv");
    setenv("HERMIT_VERBOSE", "0", 1);
    expect_level(UHYVE_LEVEL_WARN, false, NULL);
    setenv("HERMIT_VERBOSE", "yes", 1);
    REFUSE(WORDS("k"), WORDS("HERMIT_VERBOSE", "yes"));
}

static void configuration_file(void **state)
{
    write_file("uhyve.toml", "[uhyve]\noutput = 'o.txt'\nstats = true\naccel = 'kvm'\n"
                             "[memory]\nmemory_size = '100MiB'\nno_aslr = true\nthp = true\n"
                             "ksm = true\n"
                             "[cpu]\ncpu_count = 2\ncpu_pm = true\npit = true\n"
                             "[guest]\nenv_vars = ['foo=bar']\n"
                             "[unknown]\nx = 1\n");
    MUST_LOAD("k");
    const struct uhyve_params *params = &settings.params;
    assert_string_equal(settings.output, "o.txt");
    assert_int_equal(settings.stats, CLI_STATS_TEXT);
    assert_int_equal(params->accel, UHYVE_ACCEL_KVM);
    assert_int_equal(params->memory_size, 100 * UHYVE_MIB);
    assert_true(!params->aslr && params->thp && params->ksm && params->cpu_pm && params->pit);
    assert_int_equal(params->cpu_count, 2);
    assert_int_equal(params->env_count, 1);
    assert_string_equal(params->env[0], "foo=bar");
    assert_int_equal(messages.size, 0);

    setenv("HERMIT_CPUS", "3", 1);
    MUST_LOAD("k", "-m64M", "-o", "none", "--stats=json");
    assert_int_equal(settings.params.memory_size, 64 * UHYVE_MIB);
    assert_int_equal(settings.params.cpu_count, 3);
    assert_null(settings.output);
    assert_int_equal(settings.stats, CLI_STATS_JSON);

    write_file("uhyve.toml", "[memory]\nmemory_size = 67108864\nthp = false\n");
    MUST_LOAD("k", "--thp");
    assert_int_equal(settings.params.memory_size, 64 * UHYVE_MIB);
    assert_true(settings.params.thp);
}

static void configuration_file_lookup(void **state)
{
    char path[256];

    assert_int_equal(mkdir("xdg", 0777) + mkdir("xdg/uhyve", 0777), 0);
    snprintf(path, sizeof path, "%s/xdg", (char *)*state);
    write_file("xdg/uhyve/uhyve.toml", "cpu.cpu_count = 5\n");
    write_file("named.toml", "cpu.cpu_count = 7\n");
    MUST_LOAD("k");
    assert_int_equal(settings.params.cpu_count, 1);
    setenv("XDG_CONFIG_HOME", "", 1);
    MUST_LOAD("k");
    assert_int_equal(settings.params.cpu_count, 1);
    setenv("XDG_CONFIG_HOME", path, 1);
    MUST_LOAD("k");
    assert_int_equal(settings.params.cpu_count, 5);
    write_file("uhyve.toml", "memory.memory_size = '32M'\n");
    MUST_LOAD("k");
    assert_int_equal(settings.params.cpu_count, 1);
    assert_int_equal(settings.params.memory_size, 32 * UHYVE_MIB);
    setenv("HERMIT_CONFIG", "named.toml", 1);
    MUST_LOAD("k");
    assert_int_equal(settings.params.cpu_count, 7);
    MUST_LOAD("k", "--config", "xdg/uhyve/uhyve.toml");
    assert_int_equal(settings.params.cpu_count, 5);
    assert_int_equal(settings.params.memory_size, UHYVE_MEMORY_DEFAULT);

    REFUSE(WORDS("k", "--config", "absent.toml"), WORDS("absent.toml", "No such file"));
    REFUSE(WORDS("k", "--config", "xdg"), WORDS("xdg", "directory"));
    setenv("HERMIT_CONFIG", "gone.toml", 1);
    REFUSE(WORDS("k"), WORDS("gone.toml"));
    unsetenv("HERMIT_CONFIG");
    unlink("uhyve.toml");
    assert_int_equal(symlink("loop.toml", "loop.toml"), 0);
    REFUSE(WORDS("k", "--config", "loop.toml"), WORDS("loop.toml", "Too many levels"));
    assert_int_equal(symlink("uhyve.toml", "uhyve.toml"), 0);
    REFUSE(WORDS("k"), WORDS("'uhyve.toml'", "Too many levels"));
    unlink("uhyve.toml");
    unlink("xdg/uhyve/uhyve.toml");
    assert_int_equal(symlink("uhyve.toml", "xdg/uhyve/uhyve.toml"), 0);
    REFUSE(WORDS("k"), WORDS("xdg/uhyve/uhyve.toml'", "Too many levels"));
    setenv("XDG_CONFIG_HOME", "named.toml", 1); /* not a directory: as if it did not exist */
    MUST_LOAD("k");
}

static void bad_configuration_files(void **state)
{
    static const struct {
        const char *text, *where, *what;
    } bad[] = {
        {"[cpu]\ncpu_count = 'x'\n", "uhyve.toml:2: cpu_count", "must be an integer"},
        {"[cpu]\ncpu_count = 0\n", "uhyve.toml:2: cpu_count: ", "1 to 256"},
        {"[cpu]\ncpu_count = -4\n", "uhyve.toml:2: cpu_count: ", "-4"},
        {"cpu = 4\n", "uhyve.toml:1: cpu ", "must be a table"},
        {"[cpu]\n\npit = 1\n", "uhyve.toml:3: pit", "must be a boolean"},
        {"[cpu]\naffinity = [0,\n 'a']\n", "uhyve.toml:3: an entry of affinity", "integer"},
        {"[cpu]\naffinity = 3\n", "uhyve.toml:2: affinity", "array"},
        {"[cpu]\naffinity = [-1]\n", "uhyve.toml:2: affinity: ", "-1"},
        {"[memory]\nmemory_size = true\n", "uhyve.toml:2: memory_size", "must be a string"},
        {"[memory]\nmemory_size = '8M'\n", "uhyve.toml:2: memory_size: ", "16 MiB"},
        {"[memory]\nmemory_size = 16777217\n", "uhyve.toml:2: memory_size: ", "2 MiB"},
        {"[guest]\nenv_vars = 'A=1'\n", "uhyve.toml:2: env_vars", "array"},
        {"[guest]\nenv_vars = [1]\n", "uhyve.toml:2: an entry of env_vars", "string"},
        {"[guest]\nenv_vars = [\n'A=1',\n'A']\n", "uhyve.toml:4: an entry of env_vars: ", "'A'"},
        {"[uhyve]\noutput = \"a\\u0000b\"\n", "uhyve.toml:2: output", "U+0000"},
        {"[uhyve]\naccel = 'x'\n", "uhyve.toml:2: accel: ", "kvm"},
        {"[uhyve]\ntempdir = 1\n", "uhyve.toml:2: tempdir", "string"},
        {"[uhyve]\ngdb_port = 'x'\n", "uhyve.toml:2: gdb_port", "slash"},
        {"[uhyve]\ngdb_port = 65536\n", "uhyve.toml:2: gdb_port", "65535"},
        {"[uhyve\n", "uhyve.toml:1: ", "]"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_file("uhyve.toml", bad[i].text);
        REFUSE(WORDS("k"), WORDS(bad[i].where, bad[i].what));
    }
    static char large[70000];
    memset(large, '\n', sizeof large - 1);
    write_file("uhyve.toml", large);
    REFUSE(WORDS("k"), WORDS("uhyve.toml: ", "larger than 64 KiB"));
    write_file("uhyve.toml", "[cpu]\ncpu_count = 'x'\n");
    REFUSE(WORDS("k", "-c1"), WORDS("uhyve.toml:2: cpu_count"));
    write_file("uhyve.toml", "[cpu]\ncpu_count = 0\n");
    MUST_LOAD("k", "-c1");
}

/* What other versions know is no mistake. */
static void unknown_configuration(void **state)
{
    write_file("uhyve.toml", "net = 3\nkernel = 4\n[uhyve]\nnet = 3\nfile_mapping = 4\n");
    MUST_LOAD("k");
    assert_int_equal(messages.size, 0);
}

static void expect_env(const char *expected)
{
    char text[1000] = "";
    for (size_t i = 0; i < settings.params.env_count; i++)
        if (strncmp(settings.params.env[i], "CMOCKA_", 7) != 0)
            strcat(strcat(text, settings.params.env[i]), " ");
    assert_string_equal(text, expected);
}

static void guest_environment(void **state)
{
    MUST_LOAD("k", "-e", "B=1", "-eA=x=y", "--env-vars=B=2", "-e=C=", "-e", "BB=3");
    expect_env("B=2 A=x=y C= BB=3 ");
    assert_int_equal(messages.size, 0);

    write_file("uhyve.toml", "[guest]\nenv_vars = ['A=file', 'F=1', 'F=2']\n");
    MUST_LOAD("k", "-e", "A=cli");
    expect_env("A=cli F=2 ");

    setenv("HOST1", "one", 1);
    setenv("HOST2", "two", 1);
    setenv("BAD", "\xff", 1);
    setenv("\xfe", "x", 1);
    MUST_LOAD("k", "-e", "host", "-e", "A=cli");
    expect_env("HOST1=one HOST2=two ");
    assert_non_null(strstr(messages.data, "1:environment variables besides 'host' are ignored\n"));
    assert_non_null(strstr(messages.data, "BAD is not UTF-8"));
    assert_non_null(strstr(messages.data, "name is not UTF-8"));
    char name[128] = "";
    memset(name, 'N', 100);
    setenv(name, "\xff", 1);
    MUST_LOAD("k", "-e", "host");
    assert_non_null(strstr(messages.data, " NNNN"));
    name[81] = '\0';
    assert_null(strstr(messages.data, name));
    name[80] = '\0';
    assert_non_null(strstr(messages.data, name));
    name[80] = 'N', name[81] = 'N';
    unsetenv(name);

    write_file("uhyve.toml", "[guest]\nenv_vars = ['host']\n");
    unsetenv("BAD");
    unsetenv("\xfe");
    MUST_LOAD("k", "-e", "HOST1=cli");
    expect_env("HOST1=cli HOST2=two ");
    assert_int_equal(messages.size, 0);
}

/* What no shell makes, but a program can. */
static void strange_host_environments(void **state)
{
    char *strange[] = {(char[]){"NONE"}, (char[]){"=x"}, (char[]){"A=1"}, (char[]){"E="}, NULL};
    char **usual = environ;

    environ = strange;
    MUST_LOAD("k", "-e", "host");
    environ = usual;
    expect_env("A=1 E= ");
    assert_int_equal(messages.size, 0);
    environ = NULL;
    MUST_LOAD("k", "-e", "host");
    environ = usual;
    assert_int_equal(settings.params.env_count, 0);
    assert_true(settings.params.explicit_env);
}

int main(void)
{
    unit_keep_output_format();
    const struct CMUnitTest tests[] = {
        CLI_TEST(environment_variables),   CLI_TEST(message_levels),
        CLI_TEST(configuration_file),      CLI_TEST(configuration_file_lookup),
        CLI_TEST(bad_configuration_files), CLI_TEST(unknown_configuration),
        CLI_TEST(guest_environment),       CLI_TEST(strange_host_environments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
