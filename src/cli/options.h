/*
 * The options of uhyve: one row of a table for each, from which the command line, the environment,
 * the configuration file and the help text are all served. A new option is a new row.
 *
 * The table is constant; setters are called by the main thread only.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli/settings.h"

enum cli_group {
    CLI_GROUP_MACHINE,
    CLI_GROUP_NETWORK,
    CLI_GROUP_FILES,
    CLI_GROUP_GUEST,
    CLI_GROUP_ISOLATION,
    CLI_GROUP_OUTPUT,
    CLI_GROUP_GENERAL,
};

/* What the configuration file may hold for an option. */
enum cli_toml {
    CLI_TOML_NONE,    /* not an option of the configuration file */
    CLI_TOML_BOOLEAN, /* true sets the flag */
    CLI_TOML_INTEGER,
    CLI_TOML_STRING,
    CLI_TOML_SIZE,    /* string, or integer in bytes */
    CLI_TOML_PORT,    /* integer, or string: the path of a socket */
    CLI_TOML_CORES,   /* string, or array of integers */
    CLI_TOML_STRINGS, /* array of strings, each set on its own */
};

struct cli_option {
    const char *name; /* long name, without the dashes */
    char letter;      /* short name, '\0' if there is none */
    bool optional;    /* the argument may be left out and follows only after = */
    bool cumulative;  /* values of all stages count, the setter knows which is which */
    bool later;       /* known on the command line, but not available in this version */
    enum cli_group group;
    enum cli_toml toml;
    const char *argument; /* name of the argument in the help; NULL: a flag */
    const char *env[2];   /* environment variables, the stronger one first */
    const char *section;  /* in the configuration file; NULL with CLI_TOML_NONE */
    const char *key;
    const char *help; /* lines of at most 50 characters */

    /* An optional argument is also taken from the next word if this accepts that. May be NULL. */
    bool (*takes_word)(const char *word);

    /*
     * Check and store one value. `value` is NULL for a flag and for an optional argument that was
     * left out; strings of CLI_TOML_STRING and CLI_TOML_STRINGS, of the command line and of the
     * environment outlive the settings, others only the call. Returns 0, or -errno with *error
     * filled. NULL for an option of a later version.
     */
    int (*set)(struct cli_settings *settings, const struct cli_source *source, const char *value,
               struct uhyve_error *error);
};

extern const struct cli_option cli_options[];
extern const size_t cli_option_count;

/* Has an earlier stage already decided about this option? */
bool option_is_given(const struct cli_settings *settings, const struct cli_option *option);

/* Call the setter and note that the option has its value. */
int option_set(struct cli_settings *settings, const struct cli_option *option,
               const struct cli_source *source, const char *value, struct uhyve_error *error);

/* Refuse a value: "--memory-size: <sentence> (see uhyve --help)". Returns -EINVAL. */
int option_refuse(const struct cli_source *source, struct uhyve_error *error, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));

#endif
