/*
 * The guest's environment: what -e and the configuration file ask for (spec/cli.md section 3.2).
 */
#ifndef CLI_GUEST_ENV_H
#define CLI_GUEST_ENV_H

#include "cli/settings.h"

/*
 * Merge env_configured and env_given into env and params.env. "host" stands for all variables of
 * this process and replaces everything else of its own source and of weaker ones. Of two values
 * for one name the later counts, and the command line over the file. Returns 0, or -errno with
 * *error filled.
 */
int guest_env_build(struct cli_settings *settings, struct uhyve_error *error);

#endif
