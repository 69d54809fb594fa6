/*
 * Settings from environment variables, for options that the command line does not have
 * (spec/cli.md sections 2 and 8). An empty variable counts as unset.
 */
#ifndef CLI_ENVIRONMENT_H
#define CLI_ENVIRONMENT_H

#include "cli/settings.h"

/* Returns 0, or -errno with *error filled; the sentence names the variable. */
int environment_apply(struct cli_settings *settings, struct uhyve_error *error);

#endif
