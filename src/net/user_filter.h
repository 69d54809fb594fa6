/*
 * Which frames of a guest on the network of `user` are passed on to libslirp: all but those that
 * would become traffic to the host's own addresses. Services that listen on these trust whoever can
 * reach them; the guest is not to be among them.
 *
 * libslirp makes 127.0.0.1 of its gateway's address, and of the DNS server's the host's resolver,
 * whatever the port. So there are exceptions: name service, DHCP, ping, and answers to what came
 * from the host through a forwarded port.
 *
 * One thread.
 */
#ifndef NET_USER_FILTER_H
#define NET_USER_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USER_FILTER_PEERS 256 /* of which the guest may answer the latest */

/* A UDP port of the host, seen as the gateway's, that has sent something to a port of the guest. */
struct user_filter_peer {
    bool v6;
    uint16_t host_port, guest_port;
};

/* Start from {0}. */
struct user_filter {
    struct user_filter_peer peers[USER_FILTER_PEERS];
    unsigned next;
};

/* May this frame of the guest pass? */
bool user_filter_permits(const struct user_filter *filter, const uint8_t *frame, size_t size);

/* Look at a frame on its way to the guest. */
void user_filter_note(struct user_filter *filter, const uint8_t *frame, size_t size);

#endif
