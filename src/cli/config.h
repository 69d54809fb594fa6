/*
 * The configuration file uhyve.toml (spec/cli.md section 4): options that neither the command line
 * nor the environment has.
 *
 * The file is the one of --config or HERMIT_CONFIG; else uhyve.toml in the current directory; else
 * $XDG_CONFIG_HOME/uhyve/uhyve.toml. The first that exists is the only one. Unknown keys are
 * ignored; known ones must have the right type even if a stronger source overrides them.
 */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "cli/settings.h"

/* Returns 0, also if there is no file, or -errno with *error filled. */
int config_apply(struct cli_settings *settings, struct uhyve_error *error);

#endif
