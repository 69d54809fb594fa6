/*
 * --user USER[:GROUP]: names of the system's user database, or numbers. Main thread.
 */
#ifndef CLI_USER_H
#define CLI_USER_H

#include "cli/settings.h"

/* Look up and store. Without GROUP it is the user's own. Returns 0 or -errno with *error filled. */
int user_parse(struct cli_settings *settings, const struct cli_source *source, const char *value,
               struct uhyve_error *error);

#endif
