/*
 * The command line: options before and after positional arguments until the first "--"
 * (spec/cli.md sections 1 and 2).
 *
 * Accepted forms: --name value, --name=value, -n value, -nvalue, -n=value, and several flags behind
 * one dash. Where an option is repeated, the last one counts.
 */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

#include "cli/settings.h"

/*
 * Set the options and collect the positional arguments. Stops early, without looking at the rest,
 * after --help or --version. Returns 0, or -errno with *error filled.
 */
int arguments_parse(struct cli_settings *settings, int argc, char *const *argv,
                    struct uhyve_error *error);

#endif
