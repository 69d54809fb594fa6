/*
 * Everything that one start of uhyve was asked for: command line, environment and configuration
 * file merged into the parameters of the VM and the few things only the program itself needs.
 *
 * The structure owns what its pointers lead to, except for strings of the command line and the
 * environment, which outlive it. params points into it, so it must not be copied. Main thread only.
 */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H

#include "uhyve.h"
#include "util/log.h"

enum cli_action {
    CLI_RUN,
    CLI_HELP,
    CLI_VERSION,
};

enum cli_stats {
    CLI_STATS_OFF,
    CLI_STATS_TEXT,
    CLI_STATS_JSON,
};

/* Where a setting comes from: the first that has it wins (spec/cli.md section 2). */
enum cli_stage {
    CLI_COMMAND_LINE,
    CLI_ENVIRONMENT,
    CLI_FILE,
};

struct cli_source {
    enum cli_stage stage;
    const char *name; /* for messages: "--memory-size", "HERMIT_MEM", "uhyve.toml:3: memory_size" */
};

/* A growing list of borrowed strings. Start from {0}. */
struct cli_words {
    const char **items;
    size_t count, capacity;
};

#define CLI_FORWARDS_MAX 64
#define CLI_NET_NAME_MAX 255

struct cli_settings {
    struct uhyve_params params;
    enum cli_action action;
    enum cli_stats stats;
    const char *output;     /* file that receives the guest's output; NULL: the standard streams */
    const char *trace_file; /* file that receives the call trace; NULL: standard error */
    const char *config;     /* configuration file by name; NULL: look for one */
    unsigned verbosity;     /* how often -v was given */

    uint64_t given; /* bit i: row i of the option table has its value, later stages leave it */
    struct cli_words positionals;
    struct uhyve_file_mapping *file_mappings; /* params.file_mapping_count of them */
    struct cli_words env_given;               /* -e, as given on the command line */
    struct cli_words env_configured;          /* env_vars of the configuration file */
    struct cli_words env;                     /* both merged */
    bool affinity_given;
    unsigned affinity[UHYVE_CPUS_MAX];
    size_t affinity_count;
    char net_name[CLI_NET_NAME_MAX + 1];
    struct uhyve_forward forwards[CLI_FORWARDS_MAX];
    struct toml *file; /* configuration file: settings refer to its strings */
};

/* Defaults. Messages go nowhere until params.message is set. */
void settings_init(struct cli_settings *settings);

/*
 * Collect and check everything. Returns 0; if settings->action is not CLI_RUN then, nothing but
 * the action counts. Else returns -errno and *error is filled.
 */
int settings_load(struct cli_settings *settings, int argc, char *const *argv,
                  struct uhyve_error *error);

void settings_free(struct cli_settings *settings);

/* For warnings on the way. */
struct log settings_log(const struct cli_settings *settings);

/* Returns 0, or -ENOMEM with *error filled. */
int words_add(struct cli_words *words, const char *word, struct uhyve_error *error);

#endif
