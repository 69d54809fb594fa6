/*
 * Settings made from words, for the tests of command line, environment and configuration file. Each
 * test is in an empty directory of its own, with an empty environment.
 */
#ifndef CLI_FIXTURE_H
#define CLI_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/settings.h"
#include "fake_vm.h"
#include "util/text.h"

static struct cli_settings settings;
static struct uhyve_error failure;
static struct text messages;

static inline void keep_message(void *context, enum uhyve_level level, const char *text)
{
    text_printf(&messages, "%d:%s\n", level, text);
}

/* Load the settings from words after "uhyve", up to NULL. */
static inline int load(const char *const *words)
{
    static char storage[20][256];
    char *argv[21] = {storage[0]};
    int argc = 1;

    strcpy(storage[0], "uhyve");
    for (; words[argc - 1]; argc++) {
        assert_true(argc < 20 && strlen(words[argc - 1]) < sizeof *storage);
        argv[argc] = strcpy(storage[argc], words[argc - 1]);
    }
    settings_free(&settings);
    settings_init(&settings);
    settings.params.message = keep_message;
    messages.size = 0;
    failure = (struct uhyve_error){0};
    return settings_load(&settings, argc, argv, &failure);
}

#define LOAD(...)      load((const char *const[]){__VA_ARGS__, NULL})
#define MUST_LOAD(...) must_load((const char *const[]){__VA_ARGS__, NULL})

static inline void must_load(const char *const *words)
{
    if (load(words) != 0)
        fail_msg("refused: %s", failure.message);
}

/* Refused as a usage error, in a sentence that has all of `parts`. */
static inline void must_refuse(const char *const *words, const char *const *parts)
{
    assert_true(load(words) < 0);
    assert_int_equal(failure.status, UHYVE_STATUS_USAGE);
    for (; *parts; parts++)
        if (!strstr(failure.message, *parts))
            fail_msg("'%s' does not mention '%s'", failure.message, *parts);
}

#define WORDS(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define REFUSE(...) must_refuse(__VA_ARGS__)

static inline void write_file(const char *path, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

/* Every test starts in an empty directory and with an empty environment. */
static inline int enter_directory(void **state)
{
    char path[] = "/tmp/test_cli.XXXXXX";
    if (!mkdtemp(path) || chdir(path) != 0)
        return -1;
    clear_environment();
    *state = strdup(path);
    return 0;
}

static inline int leave_directory(void **state)
{
    char command[64];
    settings_free(&settings);
    text_free(&messages);
    snprintf(command, sizeof command, "rm -r %s", (char *)*state);
    free(*state);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

#define CLI_TEST(name) cmocka_unit_test_setup_teardown(name, enter_directory, leave_directory)

#endif
