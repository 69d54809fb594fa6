/*
 * Options about files: --file-mapping, --io-mode, and the limit of the process on open files.
 */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include "cli/settings.h"

/*
 * Add HOST:GUEST or HOST:GUEST:ro to the mappings; "\:" is a colon that belongs to a name. Returns
 * 0, or -errno with *error filled.
 */
int files_parse_mapping(struct cli_settings *settings, const struct cli_source *source,
                        const char *value, struct uhyve_error *error);
void files_free_mappings(struct cli_settings *settings);

/* "host=direct,sync" (spec/cli.md section 3.4). */
int files_parse_io_mode(struct cli_settings *settings, const struct cli_source *source,
                        const char *value, struct uhyve_error *error);

/* Raise this process's limit on open files as far as the guest may need it. Not an error if that is
 * not allowed: the guest can have fewer then. */
void files_raise_limit(const struct cli_settings *settings);

#endif
