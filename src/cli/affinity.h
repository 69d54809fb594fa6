/*
 * Which host core each vCPU is pinned to (spec/cli.md section 3.3).
 */
#ifndef CLI_AFFINITY_H
#define CLI_AFFINITY_H

#include "cli/settings.h"

/*
 * Store a list such as "0,2 4-7": numbers and inclusive ranges between commas or blanks; a range
 * that runs backwards is empty. Returns 0, or -EINVAL with *error filled.
 */
int affinity_parse(struct cli_settings *settings, const struct cli_source *source, const char *list,
                   struct uhyve_error *error);

/*
 * With everything else known: this process may use all the cores, and there is one for each vCPU.
 * Sets params.affinity. Returns 0, or -errno with *error filled.
 */
int affinity_check(struct cli_settings *settings, struct uhyve_error *error);

#endif
