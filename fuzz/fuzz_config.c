/*
 * Fuzz target: one start of uhyve, from all of its sources at once: command line, environment and
 * configuration file. The stronger source must win, whatever the others say, and what is refused is
 * refused in one line.
 *
 * Input: three parts, separated by a line "%": words of the command line, one a line; variables
 * NAME=value, one a line; the file.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/options.h"
#include "cli/settings.h"
#include "fuzz.h"
#include "input.h"

#define WORDS_MAX 48

static const char *const variables[] = {
    "HERMIT_MEMORY_SIZE", "HERMIT_MEM",      "HERMIT_CPU_COUNT", "HERMIT_CPUS",
    "UHYVE_ACCEL",        "HERMIT_GDB_PORT", "HERMIT_VERBOSE",   "RUST_LOG",
};

/* Cut the text at the next line that is just "%"; returns what follows it. */
static char *cut(char *text)
{
    char *mark = strstr(text, "\n%\n");

    if (!mark)
        return text + strlen(text);
    *mark = '\0';
    return mark + 3;
}

static void set_environment(char *text)
{
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    unsetenv("XDG_CONFIG_HOME");
    for (char *line; (line = strsep(&text, "\n"));) {
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value++ = '\0';
        for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
            if (strcmp(line, variables[i]) == 0)
                setenv(line, value, 1);
    }
}

static void check_limits(const struct uhyve_params *params)
{
    require(params->memory_size >= UHYVE_MEMORY_MIN);
    require(params->memory_size % UHYVE_MEMORY_ALIGN == 0);
    require(params->cpu_count >= 1 && params->cpu_count <= UHYVE_CPUS_MAX);
    require(!params->affinity_count || params->affinity_count == params->cpu_count);
    require(params->limit_files >= 1 && params->limit_files <= UHYVE_LIMIT_FILES_MAX);
    require(params->profile_rate >= 1 && params->profile_rate <= 10000);
    require(params->image != NULL);
    require((params->net.kind == UHYVE_NET_NONE) <= !params->net.dump);
    require(params->net.forward_count <= CLI_FORWARDS_MAX);
    require(!params->net.forward_count || params->net.kind == UHYVE_NET_USER);
    for (size_t i = 0; i < params->net.forward_count; i++)
        require(params->net.forwards[i].guest_port && params->net.forwards[i].host_port);
    for (size_t i = 0; i < params->file_mapping_count; i++)
        require(params->file_mappings[i].host[0] && params->file_mappings[i].guest[0]);
    for (size_t i = 0; i < params->env_count; i++)
        require(strchr(params->env[i], '=') > params->env[i]);
}

/* What the command line alone, or together with the environment, has decided is not changed by the
 * rest: `weaker` has a source less than `settings`. */
static void check_precedence(const struct cli_settings *settings, const struct cli_settings *weaker)
{
    const struct uhyve_params *all = &settings->params, *some = &weaker->params;

    require((settings->given & weaker->given) == weaker->given);
    for (size_t i = 0; i < cli_option_count; i++) {
        const char *name = cli_options[i].name;
        if (!option_is_given(weaker, &cli_options[i]))
            continue;
        if (strcmp(name, "memory-size") == 0)
            require(all->memory_size == some->memory_size);
        if (strcmp(name, "cpu-count") == 0)
            require(all->cpu_count == some->cpu_count);
        if (strcmp(name, "accel") == 0)
            require(all->accel == some->accel);
        if (strcmp(name, "limit-files") == 0)
            require(all->limit_files == some->limit_files);
        if (strcmp(name, "gdb-port") == 0)
            require(all->gdb && all->gdb_port == some->gdb_port);
        if (strcmp(name, "file-isolation") == 0)
            require(all->isolation == some->isolation);
        if (strcmp(name, "hermit-image-mode") == 0)
            require(all->image_mode == some->image_mode);
    }
}

/* Returns whether it was accepted, and is a run. */
static bool load(struct cli_settings *settings, int count, char **words)
{
    struct uhyve_error error = {.message = ""};

    settings_init(settings);
    int err = settings_load(settings, count, words, &error);
    if (err)
        require(err < 0 && error.status && error.message[0] && !strchr(error.message, '\n'));
    else if (settings->action == CLI_RUN)
        check_limits(&settings->params);
    return !err && settings->action == CLI_RUN;
}

static void run(char *text)
{
    char name[] = "uhyve", option[] = "--config", file[40];
    char *words[WORDS_MAX + 4] = {name, option, file};
    int count = 3, fd = memfd_create("config", MFD_CLOEXEC);
    char *environment = cut(text), *content = cut(environment);
    struct cli_settings one, two, three;

    require(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
    for (char *word; (word = strsep(&text, "\n")) && count < WORDS_MAX;)
        words[count++] = word;
    words[count] = NULL;

    set_environment((char[]){""});
    strcpy(file, "/dev/null");
    bool first = load(&one, count, words);
    set_environment(environment);
    bool second = load(&two, count, words);
    snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
    bool third = load(&three, count, words);
    if (first && second)
        check_precedence(&two, &one);
    if (second && third)
        check_precedence(&three, &two);
    settings_free(&one);
    settings_free(&two);
    settings_free(&three);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1);

    require(text != NULL);
    if (size)
        memcpy(text, bytes, size);
    text[size] = '\0';
    run(text);
    free(text);
    return 0;
}
