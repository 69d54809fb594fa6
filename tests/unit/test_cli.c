/* Command line options. */
#include "unit.h"

#include <sched.h>

#include "cli/help.h"
#include "cli_fixture.h"

static void defaults(void **state)
{
    MUST_LOAD("k");
    const struct uhyve_params *params = &settings.params;
    assert_string_equal(params->image, "k");
    assert_int_equal(params->memory_size, 512 * UHYVE_MIB);
    assert_int_equal(params->cpu_count, 1);
    assert_int_equal(params->accel, UHYVE_ACCEL_AUTO);
    assert_true(params->aslr);
    assert_false(params->thp || params->ksm || params->cpu_pm || params->pit || params->verbose);
    assert_int_equal(params->message_level, UHYVE_LEVEL_WARN);
    assert_int_equal(params->kernel_arg_count + params->app_arg_count + params->env_count, 0);
    assert_int_equal(params->affinity_count, 0);
    assert_int_equal(settings.stats, CLI_STATS_OFF);
    assert_null(settings.output);
    assert_false(params->discard_output);
}

static void expect_split(const char *const *words, const char *kernel, const char *app)
{
    char text[100] = "";
    assert_int_equal(load(words), 0);
    assert_string_equal(settings.params.image, "k");
    for (size_t i = 0; i < settings.params.kernel_arg_count; i++)
        strcat(strcat(text, settings.params.kernel_args[i]), " ");
    assert_string_equal(text, kernel);
    *text = '\0';
    for (size_t i = 0; i < settings.params.app_arg_count; i++)
        strcat(strcat(text, settings.params.app_args[i]), " ");
    assert_string_equal(text, app);
}

/* The table of spec/cli.md section 1. */
static void arguments_are_split(void **state)
{
    expect_split(WORDS("k", "a", "b"), "a b ", "");
    expect_split(WORDS("k", "--", "-ip", "10.0.5.3"), "-ip 10.0.5.3 ", "");
    expect_split(WORDS("k", "--", "--", "x", "y"), "", "x y ");
    expect_split(WORDS("k", "--", "-ip", "1.2.3.4", "--", "x"), "-ip 1.2.3.4 ", "x ");
    expect_split(WORDS("k", "--", "x"), "x ", "");
    expect_split(WORDS("--", "k", "--", "-c", "--", "-m"), "", "-c -- -m ");
    expect_split(WORDS("k", "a", "-c", "2", "b", "--thp", "--", "-c"), "a b -c ", "");
    assert_int_equal(settings.params.cpu_count, 2);
    assert_true(settings.params.thp);
    expect_split(WORDS("-v", "k", "-"), "- ", "");
}

static void forms_of_options(void **state)
{
    static const char *const forms[][3] = {
        {"-m64M"},
        {"-m=64M"},
        {"-m", "64M"},
        {"--memory-size=64M"},
        {"--memory-size", "64M"},
        {"-vm64M"},
        {"-vvm", "64M"},
        {"-vm=64M"},
        {"-m", " 64 MiB"},
        {"-m", "67108864"},
        {"-m1G", "-m64M"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        MUST_LOAD("k", forms[i][0], forms[i][1]);
        assert_int_equal(settings.params.memory_size, 64 * UHYVE_MIB);
        assert_int_equal(settings.params.kernel_arg_count, 0);
    }
    MUST_LOAD("-c=4", "--no-aslr", "--thp", "--ksm", "--cpu-pm", "--pit", "--accel", "kvm", "k");
    const struct uhyve_params *params = &settings.params;
    assert_int_equal(params->cpu_count, 4);
    assert_int_equal(params->accel, UHYVE_ACCEL_KVM);
    assert_true(!params->aslr && params->thp && params->ksm && params->cpu_pm && params->pit);

    MUST_LOAD("k", "--stats");
    assert_int_equal(settings.stats, CLI_STATS_TEXT);
    MUST_LOAD("--stats", "k");
    assert_int_equal(settings.stats, CLI_STATS_TEXT);
    MUST_LOAD("k", "--stats=json");
    assert_int_equal(settings.stats, CLI_STATS_JSON);

    MUST_LOAD("k", "-o", "file");
    assert_string_equal(settings.output, "file");
    MUST_LOAD("k", "-o", "file", "--output=none");
    assert_null(settings.output);
    assert_true(settings.params.discard_output);
    MUST_LOAD("k", "-o", "None", "-ofile");
    assert_string_equal(settings.output, "file");
    assert_false(settings.params.discard_output);
}

static void help_and_version_come_first(void **state)
{
    MUST_LOAD("--help", "--nonsense");
    assert_int_equal(settings.action, CLI_HELP);
    MUST_LOAD("k", "-vhx");
    assert_int_equal(settings.action, CLI_HELP);
    MUST_LOAD("-V");
    assert_int_equal(settings.action, CLI_VERSION);
    setenv("HERMIT_CPUS", "nonsense", 1);
    MUST_LOAD("-h");
    MUST_LOAD("k", "-c1", "--", "--help");
    assert_int_equal(settings.action, CLI_RUN);
}

static void bad_command_lines_are_refused(void **state)
{
    REFUSE(WORDS("-v"), WORDS("IMAGE", "uhyve --help"));
    REFUSE(WORDS("k", "--memroy-size", "1G"), WORDS("--memroy-size", "did you mean --memory-size"));
    REFUSE(WORDS("k", "--env_vars=A=1"), WORDS("'--env_vars'", "--env-vars"));
    REFUSE(WORDS("k", "--zzzzzzzz"), WORDS("--zzzzzzzz", "(see uhyve --help)"));
    char word[128] = "--";
    memset(word + 2, 'x', 100);
    REFUSE(WORDS("k", word), WORDS("unknown option '--xxx", "x' (see uhyve --help)"));
    memcpy(word, "--memory-size-for-my-good-old-machine", 37);
    word[37] = '\0';
    REFUSE(WORDS("k", word), WORDS("unknown option '--memory-size-for-my", "' (see uhyve --help)"));
    REFUSE(WORDS("k", "-ip", "10.0.5.3"), WORDS("-ip", "after --"));
    REFUSE(WORDS("k", "---"), WORDS("'---'"));
    REFUSE(WORDS("k", "-m"), WORDS("-m SIZE"));
    REFUSE(WORDS("k", "-m", "--thp"), WORDS("-m SIZE"));
    REFUSE(WORDS("k", "-m", "--"), WORDS("-m SIZE"));
    REFUSE(WORDS("k", "--config="), WORDS("--config FILE"));
    REFUSE(WORDS("k", "--stats="), WORDS("--stats json"));
    REFUSE(WORDS("k", "--stats=xml"), WORDS("--stats", "xml"));
    REFUSE(WORDS("k", "--thp=1"), WORDS("--thp", "no value"));
    REFUSE(WORDS("k", "-v=1"), WORDS("-v", "no value"));
    REFUSE(WORDS("k", "-vv=1"), WORDS("-v", "no value"));
    REFUSE(WORDS("k", "-m", "-"), WORDS("-m: ", "'-' is not a memory size"));
    REFUSE(WORDS("k", "-m15M"), WORDS("-m: ", "15 MiB", "16 MiB"));
    REFUSE(WORDS("k", "-m17M"), WORDS("-m: ", "17M", "2 MiB"));
    REFUSE(WORDS("k", "-m", "lots"), WORDS("-m: ", "lots"));
    REFUSE(WORDS("k", "-c0"), WORDS("-c: ", "1 to 256"));
    REFUSE(WORDS("k", "--cpu-count=257"), WORDS("--cpu-count: ", "257"));
    REFUSE(WORDS("k", "-c=-1"), WORDS("-c: ", "-1"));
    REFUSE(WORDS("k", "--accel=tcg"), WORDS("--accel", "tcg", "kvm"));
    REFUSE(WORDS("k", "-eNAME"), WORDS("-e", "NAME=VALUE"));
    REFUSE(WORDS("k", "-e", "=x"), WORDS("-e", "NAME=VALUE"));
    REFUSE(WORDS("k", "\xff"), WORDS("argument 2", "UTF-8"));
    REFUSE(WORDS("k", "--", "x\xc3"), WORDS("argument 3", "UTF-8"));
}

/* A program can be started without even a name. */
static void no_words_at_all(void **state)
{
    char *argv[] = {NULL};

    settings_free(&settings);
    settings_init(&settings);
    assert_true(settings_load(&settings, 0, argv, &failure) < 0);
    assert_non_null(strstr(failure.message, "no IMAGE was given"));
    assert_int_equal(failure.status, UHYVE_STATUS_USAGE);
}

static void traces_and_profiles(void **state)
{
    static const struct {
        const char *file;
        enum uhyve_profile profile;
    } forms[] = {
        {"x.svg", UHYVE_PROFILE_SVG},        {"x.folded", UHYVE_PROFILE_FOLDED},
        {"x.txt", UHYVE_PROFILE_TABLE},      {".svg", UHYVE_PROFILE_TABLE},
        {"svg", UHYVE_PROFILE_TABLE},        {"x.svg.old", UHYVE_PROFILE_TABLE},
        {"a.folded.svg", UHYVE_PROFILE_SVG},
    };

    MUST_LOAD("k");
    assert_null(settings.params.trace);
    assert_int_equal(settings.params.profile, UHYVE_PROFILE_OFF);
    MUST_LOAD("k", "--trace");
    assert_string_equal(settings.params.trace, "");
    MUST_LOAD("k", "--trace-file=t", "--trace=file,!read");
    assert_string_equal(settings.params.trace, "file,!read");
    assert_string_equal(settings.trace_file, "t");
    MUST_LOAD("k", "--trace=file", "--trace-file", "t");
    assert_string_equal(settings.params.trace, "file");
    MUST_LOAD("k", "--trace-file", "t");
    assert_string_equal(settings.params.trace, "");
    MUST_LOAD("k", "--crash-dump", "core");
    assert_string_equal(settings.crash_dump, "core");

    MUST_LOAD("k", "--profile", "--profile-rate=10000");
    assert_null(settings.profile_file);
    assert_int_equal(settings.params.profile, UHYVE_PROFILE_TABLE);
    assert_int_equal(settings.params.profile_rate, 10000);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char word[32];
        snprintf(word, sizeof word, "--profile=%s", forms[i].file);
        MUST_LOAD("k", word);
        assert_string_equal(settings.profile_file, forms[i].file);
        assert_int_equal(settings.params.profile, forms[i].profile);
    }
    REFUSE(WORDS("k", "--profile-rate=0"), WORDS("--profile-rate: ", "'0'", "1 to 10000"));
    REFUSE(WORDS("k", "--profile-rate=10001"), WORDS("--profile-rate: ", "10001"));
    REFUSE(WORDS("k", "--profile-rate=fast"), WORDS("--profile-rate: ", "fast"));
}

static void isolation(void **state)
{
    MUST_LOAD("k");
    assert_int_equal(settings.params.isolation, UHYVE_ISOLATION_NORMAL);
    assert_true(settings.params.filter_calls);
    assert_false(settings.params.change_user);
    MUST_LOAD("k", "--file-isolation", "none");
    assert_int_equal(settings.params.isolation, UHYVE_ISOLATION_NONE);
    assert_true(settings.params.filter_calls);
    MUST_LOAD("k", "--file-isolation=Strict", "--no-seccomp");
    assert_int_equal(settings.params.isolation, UHYVE_ISOLATION_STRICT);
    assert_false(settings.params.filter_calls);
    REFUSE(WORDS("k", "--file-isolation=some"),
           WORDS("--file-isolation", "none, normal or strict"));

    write_file("uhyve.toml", "[uhyve]\nfile_isolation = 'STRICT'\nno_seccomp = true\n");
    MUST_LOAD("k");
    assert_int_equal(settings.params.isolation, UHYVE_ISOLATION_STRICT);
    assert_false(settings.params.filter_calls);
    MUST_LOAD("k", "--file-isolation=normal");
    assert_int_equal(settings.params.isolation, UHYVE_ISOLATION_NORMAL);
}

static void another_user(void **state)
{
    if (geteuid() != 0) {
        REFUSE(WORDS("k", "--user=nobody"), WORDS("--user", "only root"));
        return;
    }
    MUST_LOAD("k", "--user=root");
    assert_true(settings.params.change_user);
    assert_int_equal(settings.params.uid, 0);
    assert_int_equal(settings.params.gid, 0);
    MUST_LOAD("k", "--user=4711:4712");
    assert_int_equal(settings.params.uid, 4711);
    assert_int_equal(settings.params.gid, 4712);
    MUST_LOAD("k", "--user=0");
    assert_int_equal(settings.params.gid, 0);
    MUST_LOAD("k", "--user=4711:root");
    assert_int_equal(settings.params.gid, 0);
    REFUSE(WORDS("k", "--user=no-such-user"), WORDS("no user 'no-such-user'"));
    REFUSE(WORDS("k", "--user=root:no-such-group"), WORDS("no group 'no-such-group'"));
    REFUSE(WORDS("k", "--user=4294967294"), WORDS("write 4294967294:GROUP"));
    REFUSE(WORDS("k", "--user=4294967295:0"), WORDS("no user '4294967295'"));
    REFUSE(WORDS("k", "--user=:0"), WORDS("USER:GROUP"));
    REFUSE(WORDS("k", "--user=root:"), WORDS("USER:GROUP"));
}

static void file_mappings(void **state)
{
    MUST_LOAD("k");
    assert_int_equal(settings.params.file_mapping_count, 0);
    assert_int_equal(settings.params.limit_files, UHYVE_LIMIT_FILES_DEFAULT);
    assert_int_equal(settings.params.limit_temp, UHYVE_LIMIT_TEMP_DEFAULT);
    assert_null(settings.params.tempdir);

    MUST_LOAD("k", "--file-mapping", "a:/b", "--file-mapping=c d:/e:ro",
              "--file-mapping=x\\:y\\z:/\\:g\\::ro");
    static const struct uhyve_file_mapping expected[] = {
        {"a", "/b", false}, {"c d", "/e", true}, {"x:y\\z", "/:g:", true}};
    assert_int_equal(settings.params.file_mapping_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(settings.params.file_mappings[i].host, expected[i].host);
        assert_string_equal(settings.params.file_mappings[i].guest, expected[i].guest);
        assert_int_equal(settings.params.file_mappings[i].read_only, expected[i].read_only);
    }
    static const char *const bad[] = {"a", ":", "a:", ":b", "a\\:b", "a:b:", "a:b:rw", "a:b:ro:x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        REFUSE(WORDS("k", "--file-mapping", bad[i]), WORDS("--file-mapping: ", bad[i]));
}

static void options_for_files(void **state)
{
    static const struct {
        const char *mode;
        bool direct, sync;
    } modes[] = {
        {"host=direct", true, false},     {"host=sync", false, true},
        {"HOST=Direct,SYNC", true, true}, {"host=", false, false},
        {"host=x", false, false},         {"default", false, false},
        {"direct", false, false},         {"host=,sync,", false, true},
        {"host=sinc,", false, false},     {"host=direkt", false, false},
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        MUST_LOAD("k", "--io-mode", modes[i].mode);
        assert_int_equal(settings.params.io_direct, modes[i].direct);
        assert_int_equal(settings.params.io_sync, modes[i].sync);
    }
    REFUSE(WORDS("k", "--io-mode=guest=sync"), WORDS("--io-mode: ", "guest=sync", "host=sync"));
    REFUSE(WORDS("k", "--io-mode==sync"), WORDS("--io-mode: "));
    REFUSE(WORDS("k", "--io-mode=best=sync"), WORDS("--io-mode: ", "best=sync"));

    MUST_LOAD("k", "--tempdir=/var/tmp", "--limit-files=7", "--limit-temp=3K");
    assert_string_equal(settings.params.tempdir, "/var/tmp");
    assert_int_equal(settings.params.limit_files, 7);
    assert_int_equal(settings.params.limit_temp, 3072);
    REFUSE(WORDS("k", "--limit-files=0"), WORDS("--limit-files: ", "'0'"));
    REFUSE(WORDS("k", "--limit-files=1000001"), WORDS("--limit-files: ", "1000000"));
    REFUSE(WORDS("k", "--limit-temp=x"), WORDS("--limit-temp: ", "'x'"));

    write_file("uhyve.toml", "[uhyve]\ntempdir = '/t'\nio_mode = 'host=sync'\nlimit_files = 9\n"
                             "limit_temp = '2M'\n");
    MUST_LOAD("k", "--limit-files=8");
    assert_string_equal(settings.params.tempdir, "/t");
    assert_true(settings.params.io_sync);
    assert_int_equal(settings.params.limit_files, 8);
    assert_int_equal(settings.params.limit_temp, 2 << 20);
    unlink("uhyve.toml");
}

static void image_options(void **state)
{
    MUST_LOAD("k");
    assert_int_equal(settings.params.image_mode, UHYVE_IMAGE_EXTERNAL);
    assert_int_equal(settings.params.image_limit, UHYVE_IMAGE_LIMIT);
    assert_false(settings.params.explicit_args);
    assert_false(settings.params.explicit_env);
    MUST_LOAD("k", "--hermit-image-mode=Internal", "--limit-image", "4G", "-eA=1");
    assert_int_equal(settings.params.image_mode, UHYVE_IMAGE_INTERNAL);
    assert_int_equal(settings.params.image_limit, UINT64_C(4) << 30);
    assert_false(settings.params.explicit_env);
    MUST_LOAD("k", "--hermit-image-mode", "EXTERNAL");
    assert_int_equal(settings.params.image_mode, UHYVE_IMAGE_EXTERNAL);
    REFUSE(WORDS("k", "--hermit-image-mode=inside"), WORDS("--hermit-image-mode", "'inside'"));
    REFUSE(WORDS("k", "--limit-image=-1"), WORDS("--limit-image", "'-1'"));

    /* Even no arguments can be meant: those of the image are not wanted then. */
    MUST_LOAD("k", "--", "--");
    assert_true(settings.params.explicit_args);
    MUST_LOAD("k", "x");
    assert_true(settings.params.explicit_args);
    MUST_LOAD("k", "-ehost");
    assert_true(settings.params.explicit_env);

    write_file("uhyve.toml", "[uhyve]\nhermit_image_mode = 'INTERNAL'\n");
    MUST_LOAD("k");
    assert_int_equal(settings.params.image_mode, UHYVE_IMAGE_INTERNAL);
    MUST_LOAD("k", "--hermit-image-mode=external");
    assert_int_equal(settings.params.image_mode, UHYVE_IMAGE_EXTERNAL);
    unlink("uhyve.toml");
}

static void options_of_later_versions(void **state)
{
    static const char *const forms[] = {
        "--trace-dir",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char name[32];
        snprintf(name, sizeof name, "%.*s is not available", (int)strcspn(forms[i], "="), forms[i]);
        REFUSE(WORDS("k", forms[i]), WORDS(name));
    }
}

static void expect_debugger(unsigned port)
{
    assert_true(settings.params.gdb);
    assert_null(settings.params.gdb_socket);
    assert_int_equal(settings.params.gdb_port, port);
    assert_string_equal(settings.params.image, "k");
}

/* The value may be left out, may follow "=", and is the next word if that is a number. */
static void debugger_port(void **state)
{
    MUST_LOAD("k");
    assert_false(settings.params.gdb);
    MUST_LOAD("-s", "k");
    expect_debugger(6677);
    MUST_LOAD("k", "-s");
    expect_debugger(6677);
    MUST_LOAD("--gdb-port", "k");
    expect_debugger(6677);
    MUST_LOAD("-s", "1234", "k");
    expect_debugger(1234);
    MUST_LOAD("-vs", "1234", "k");
    expect_debugger(1234);
    MUST_LOAD("--gdb-port", "0", "k");
    expect_debugger(0);
    MUST_LOAD("-s=1234", "k");
    expect_debugger(1234);
    MUST_LOAD("-s1234", "k");
    expect_debugger(1234);
    MUST_LOAD("--gdb-port=1234", "k", "5");
    expect_debugger(1234);
    MUST_LOAD("-s=./socket", "k");
    assert_string_equal(settings.params.gdb_socket, "./socket");
    REFUSE(WORDS("-s", "65536", "k"), WORDS("-s: ", "65536"));
    REFUSE(WORDS("-s=socket", "k"), WORDS("-s: ", "socket", "slash"));

    setenv("HERMIT_GDB_PORT", "4321", 1);
    MUST_LOAD("k");
    expect_debugger(4321);
    MUST_LOAD("-s", "k");
    expect_debugger(6677);
    setenv("HERMIT_GDB_PORT", "65536", 1);
    REFUSE(WORDS("k"), WORDS("HERMIT_GDB_PORT", "65536"));
}

static void affinity(void **state)
{
    cpu_set_t all, one;
    int core = 0;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    while (!CPU_ISSET(core, &all))
        core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);

    char number[16], list[64], available[64];
    snprintf(number, sizeof number, "%d", core);
    MUST_LOAD("k", "-a", number);
    assert_int_equal(settings.params.affinity_count, 1);
    assert_int_equal(settings.params.affinity[0], core);

    snprintf(list, sizeof list, ", %d-%d ,,9-8 %d", core, core, core);
    MUST_LOAD("k", "-c2", "-a", list);
    assert_int_equal(settings.params.affinity_count, 2);

    REFUSE(WORDS("k", "-c3", "-a", list), WORDS("3 cores are needed", "2 were given"));
    REFUSE(WORDS("k", "-c2", "-a", number), WORDS("2 cores are needed", "1 was given"));
    snprintf(available, sizeof available, "may use the cores %d,", core);
    REFUSE(WORDS("k", "-a8000-8002,8190"), WORDS(available, "the cores 8000-8002,8190"));
    REFUSE(WORDS("k", "-a8190-8191"), WORDS(available, "the cores 8190-8191 were"));
    snprintf(list, sizeof list, "[cpu]\naffinity = [%d]\n", core);
    write_file("uhyve.toml", list);
    MUST_LOAD("k");
    assert_int_equal(settings.params.affinity_count, 1);
    snprintf(list, sizeof list, "[cpu]\naffinity = '%d'\n", core);
    write_file("uhyve.toml", list);
    MUST_LOAD("k");
    assert_int_equal(settings.params.affinity_count, 1);
    write_file("uhyve.toml", "[cpu]\naffinity = []\n");
    REFUSE(WORDS("k"), WORDS("1 core is needed", "0 were given"));
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);

    static const char *const bad[] = {"x",  "1-",   "-1",  "1--2", "1-2-3",
                                      "1x", "8192", "0x1", "1;2",  "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(list, sizeof list, "--affinity=%s", bad[i]);
        REFUSE(WORDS("k", list), WORDS("--affinity", bad[i]));
    }
    REFUSE(WORDS("k", "-a", "0-8191"), WORDS("256"));
}

static void help_is_complete_and_narrow(void **state)
{
    struct text text = {0};
    help_format(&text);
    assert_false(text.failed);
    for (const char *line = text.data; *line; line = strchr(line, '\n') + 1)
        if (strcspn(line, "\n") > 80)
            fail_msg("wider than 80 columns: %.*s", (int)strcspn(line, "\n"), line);
    for (size_t i = 0; i < cli_option_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "--%s", cli_options[i].name);
        assert_int_equal(strstr(text.data, name) == NULL, cli_options[i].later);
        assert_true(cli_options[i].later || cli_options[i].help);
    }
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLI_TEST(defaults),
        CLI_TEST(arguments_are_split),
        CLI_TEST(forms_of_options),
        CLI_TEST(help_and_version_come_first),
        CLI_TEST(bad_command_lines_are_refused),
        CLI_TEST(no_words_at_all),
        CLI_TEST(traces_and_profiles),
        CLI_TEST(isolation),
        CLI_TEST(another_user),
        CLI_TEST(file_mappings),
        CLI_TEST(options_for_files),
        CLI_TEST(image_options),
        CLI_TEST(options_of_later_versions),
        CLI_TEST(debugger_port),
        CLI_TEST(affinity),
        CLI_TEST(help_is_complete_and_narrow),
    };
    unit_keep_output_format();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
