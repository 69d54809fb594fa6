/*
 * The network that the back end `user` offers its guest, made by libslirp: a gateway, a DHCP and a
 * DNS server, and beyond them the host's network, as connections of this process.
 *
 *     guest     10.0.5.3/24 by DHCP or as Hermit's own default, fd00:a:5::/64 by autoconfiguration
 *     gateway   10.0.5.1, fd00:a:5::1
 *     DNS       10.0.5.2, fd00:a:5::2: the host's resolver
 *
 * libslirp brings GLib along, so it is loaded when a guest gets such a network. It works on one
 * thread at a time; the functions here are to be called on that one.
 */
#ifndef NET_USER_SLIRP_H
#define NET_USER_SLIRP_H

#include <slirp/libslirp.h>

#include "uhyve.h"

struct user_slirp {
    void *library;
    Slirp *slirp;
    int64_t clock_offset; /* ns: to be added to the time by the callback that tells it */
    bool learning;        /* what is sent is not to arrive */
    int *listeners;       /* descriptors */
    size_t listener_count;
    Slirp *(*new)(const SlirpConfig *, const SlirpCb *, void *);
    void (*cleanup)(Slirp *);
    void (*fill)(Slirp *, uint32_t *, SlirpAddPollCb, void *);
    void (*poll)(Slirp *, int, SlirpGetREventsCb, void *);
    void (*input)(Slirp *, const uint8_t *, int);
    int (*forward)(Slirp *, const struct sockaddr *, socklen_t, const struct sockaddr *, socklen_t,
                   int);
};

/*
 * Load the library, make the network, listen on the forwarded ports. `callbacks` and `context` must
 * outlive it. Returns 0, or -errno with *error filled. user_slirp_close releases it and may be
 * called after a failure.
 */
int user_slirp_open(struct user_slirp *user, const struct uhyve_net *config, uint16_t mtu,
                    const SlirpCb *callbacks, void *context, struct uhyve_error *error);
void user_slirp_close(struct user_slirp *user);

/* Does it wait for connections there? */
bool user_slirp_is_listener(const struct user_slirp *user, int fd);

/* From the callback register_poll_fd. */
void user_slirp_note_socket(const struct user_slirp *user, int fd);

#endif
