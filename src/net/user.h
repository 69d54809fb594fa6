/*
 * The back ends that need no privileges, for net_open.
 */
#ifndef NET_USER_H
#define NET_USER_H

#include "net/net.h"

/* user.c: libslirp, on a thread of its own. */
int net_user_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
                  struct uhyve_error *error);

/* socket.c: a stream socket on which each frame follows its length. */
int net_socket_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
                    struct uhyve_error *error);

/*
 * dump.c: write everything that goes through `*net` to config->dump, which must not exist. Takes
 * the back end over and puts itself in its place. On failure *net stays what it was.
 */
int net_dump_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
                  struct uhyve_error *error);

#endif
