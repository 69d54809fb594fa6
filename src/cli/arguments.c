#include "cli/arguments.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "util/error.h"
#include "util/text.h"

struct arguments {
    struct cli_settings *settings;
    char *const *next, *const *end; /* words that were not looked at */
    struct uhyve_error *error;
};

/* How many single-character edits lead from `a` to `b`; at least `limit` if there are more. */
static unsigned edit_distance(const char *a, size_t a_size, const char *b, unsigned limit)
{
    unsigned row[32];
    size_t b_size = strlen(b);

    if (b_size >= sizeof row / sizeof *row || a_size >= sizeof row / sizeof *row)
        return limit;
    for (unsigned j = 0; j <= b_size; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a_size; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b_size; j++) {
            unsigned best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[b_size] < limit ? row[b_size] : limit;
}

/* A name that was misspelled: up to a third of its characters may be wrong. */
static const struct cli_option *closest_option(const char *name, size_t size)
{
    const struct cli_option *closest = NULL;
    unsigned best = (unsigned)(size < 96 ? size / 3 + 1 : 0);

    for (size_t i = 0; i < cli_option_count; i++) {
        unsigned distance = cli_options[i].later
                                ? best
                                : edit_distance(name, size, cli_options[i].name, best);
        if (distance < best) {
            best = distance;
            closest = &cli_options[i];
        }
    }
    return closest;
}

static int refuse_unknown_name(struct arguments *arguments, const char *name, size_t size)
{
    const struct cli_option *closest = closest_option(name, size);
    char hint[64] = "";

    if (closest)
        snprintf(hint, sizeof hint, "did you mean --%s? ", closest->name);
    return error_set(arguments->error, UHYVE_STATUS_USAGE, EINVAL,
                     "unknown option '--%.*s' (%ssee uhyve --help)", size < 80 ? (int)size : 80,
                     name, hint);
}

/* The value that is an option's own next word. */
static const char *take_value(struct arguments *arguments)
{
    if (arguments->next == arguments->end)
        return NULL;
    const char *word = *arguments->next;
    if (word[0] == '-' && word[1])
        return NULL;
    arguments->next++;
    return word;
}

/*
 * `shown` is the option as it was written, for messages. `value` is what followed in the same word,
 * or NULL.
 */
static int apply_option(struct arguments *arguments, const struct cli_option *option,
                        const char *shown, const char *value)
{
    const struct cli_source source = {CLI_COMMAND_LINE, shown};

    if (option->later)
        return error_set(arguments->error, UHYVE_STATUS_USAGE, EINVAL,
                         "%s is not available in this version of uhyve (see uhyve --help)", shown);
    if (!option->argument && value)
        return option_refuse(&source, arguments->error, "the option takes no value");
    if (option->argument && !value && !option->optional)
        value = take_value(arguments);
    else if (option->takes_word && !value && arguments->next < arguments->end &&
             option->takes_word(*arguments->next))
        value = *arguments->next++;
    if (option->argument && (value ? !*value : !option->optional))
        return option_refuse(&source, arguments->error, "a value is missing: %s %s", shown,
                             option->argument);
    return option_set(arguments->settings, option, &source, value, arguments->error);
}

/* --name or --name=value */
static int parse_long(struct arguments *arguments, const char *word)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);

    for (size_t i = 0; i < cli_option_count; i++) {
        const struct cli_option *option = &cli_options[i];
        if (strlen(option->name) == size && memcmp(option->name, name, size) == 0) {
            char shown[64];
            snprintf(shown, sizeof shown, "--%s", option->name);
            return apply_option(arguments, option, shown, equals ? equals + 1 : NULL);
        }
    }
    return refuse_unknown_name(arguments, name, size);
}

static const struct cli_option *find_letter(char letter)
{
    for (size_t i = 0; i < cli_option_count; i++)
        if (cli_options[i].letter == letter)
            return &cli_options[i];
    return NULL;
}

/* -v, -vv, -m64M, -m=64M, -vm 64M: flags, and at the end one option that may take a value. */
static int parse_short(struct arguments *arguments, const char *word)
{
    for (const char *p = word + 1; *p; p++) {
        const struct cli_option *option = find_letter(*p);
        const char shown[] = {'-', *p, '\0'};
        const char *value = NULL;

        if (!option)
            return error_set(arguments->error, UHYVE_STATUS_USAGE, EINVAL,
                             "unknown option in '%.80s' (put arguments for the guest after --, see "
                             "uhyve --help)",
                             word);
        bool last = option->argument || option->later || p[1] == '=';
        if (last && p[1])
            value = p[1] == '=' ? p + 2 : p + 1;
        int err = apply_option(arguments, option, shown, value);
        if (err || last || arguments->settings->action != CLI_RUN)
            return err;
    }
    return 0;
}

int arguments_parse(struct cli_settings *settings, int argc, char *const *argv,
                    struct uhyve_error *error)
{
    bool options = true;

    for (int i = 1; i < argc; i++)
        if (!text_is_utf8(argv[i], strlen(argv[i])))
            return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                             "argument %d is not valid UTF-8 (uhyve takes no other encoding)", i);
    if (argc < 1)
        return 0;
    struct arguments arguments = {settings, argv + 1, argv + argc, error};
    while (arguments.next < arguments.end) {
        const char *word = *arguments.next++;
        int err;
        if (!options || word[0] != '-' || !word[1]) {
            err = words_add(&settings->positionals, word, error);
        } else if (strcmp(word, "--") == 0) {
            options = false;
            err = 0;
        } else {
            err = word[1] == '-' ? parse_long(&arguments, word) : parse_short(&arguments, word);
        }
        if (err || settings->action != CLI_RUN)
            return err;
    }
    return 0;
}
