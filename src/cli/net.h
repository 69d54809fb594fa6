/*
 * The network options: --net, --publish, --net-dump (docs/networking.md).
 */
#ifndef CLI_NET_H
#define CLI_NET_H

#include "cli/settings.h"

/*
 * --net KIND[:NAME][,OPTION...] and --publish [ADDRESS:]HOST:GUEST[/udp]. Both return 0, or -errno
 * with *error filled.
 */
int net_parse(struct cli_settings *settings, const struct cli_source *source, const char *value,
              struct uhyve_error *error);
int net_parse_publish(struct cli_settings *settings, const struct cli_source *source,
                      const char *value, struct uhyve_error *error);

/* When all options are known: forwarded ports need a network, and one that has them. */
int net_check(struct cli_settings *settings, struct uhyve_error *error);

#endif
