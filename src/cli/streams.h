/*
 * The program's descriptors: its standard streams and the output file. Main thread only, except
 * for streams_write.
 */
#ifndef CLI_STREAMS_H
#define CLI_STREAMS_H

#include <stddef.h>

#include "cli/settings.h"

/* Write all of it, whatever the descriptor's mode. Returns 0 or -errno. */
int streams_write(int fd, const void *data, size_t size);

/*
 * Point the guest's output where the settings want it. An output file is created and must not
 * exist before. Returns 0, or -errno with *error filled.
 */
int streams_open_output(struct cli_settings *settings, struct uhyve_error *error);

/* When all is written. Returns 0, or -errno with *error filled if a file system tells of an error
 * only now. */
int streams_close_output(const struct cli_settings *settings, struct uhyve_error *error);

/* Remove the files that streams_open_output created, since there will be no guest. Once the sandbox
 * is complete it keeps them, empty, from being removed. */
void streams_remove_output(struct cli_settings *settings);

#endif
