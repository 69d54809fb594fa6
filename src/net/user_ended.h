/*
 * TCP connections of the network `user` that are over. The side that ends one first has to remember
 * it for a while, since segments may be late (TIME-WAIT, RFC 9293, section 3.3.2). If that is the
 * host's, libslirp keeps it for ten seconds, with its socket, and walks over all that it keeps
 * again and again: after some thousand short connections it does little else, and descriptors run
 * out.
 *
 * Between libslirp and a guest nothing is late. So the frames are looked at: when both sides have
 * sent their ends, and both were acknowledged, libslirp can be made to forget the connection, by a
 * reset that looks as if it came from the guest. It would also forget what the host's socket has
 * not taken yet, so the caller says of which connections there may be such data.
 *
 * What is known of connections that are about to end is kept in a table in which one replaces
 * another: for those that fall out, libslirp waits as before.
 *
 * One thread.
 */
#ifndef NET_USER_ENDED_H
#define NET_USER_ENDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USER_ENDED_MAX   1024 /* a power of two */
#define USER_ENDED_FRAME 74   /* bytes of the largest frame that is made here */

/* Addresses are as in frames; those of IPv4 leave the rest zero. */
struct user_ended_connection {
    bool tracked, v6;
    bool end_acknowledged; /* the host's, by the guest */
    bool guest_ended, guest_end_acknowledged;
    bool over; /* all of it */
    uint16_t host_port, guest_port;
    uint32_t host_end, guest_end; /* sequence numbers behind the ends */
    uint8_t host[16], guest[16], mac[6];
};

/* Start from {0}. */
struct user_ended {
    struct user_ended_connection connections[USER_ENDED_MAX];
    uint16_t over[USER_ENDED_MAX]; /* which of them are */
    size_t over_count;
};

/* Look at a frame on its way to the guest, and at one of the guest's on its way to libslirp. */
void user_ended_from_host(struct user_ended *ended, const uint8_t *frame, size_t size);
void user_ended_from_guest(struct user_ended *ended, const uint8_t *frame, size_t size);

/*
 * Make the frame that has libslirp forget a connection which is over, other than those for whose
 * port on the host's side `is_busy` holds. Returns its size; 0: there is none. Call it until then.
 */
size_t user_ended_next(struct user_ended *ended, bool (*is_busy)(void *context, uint16_t host_port),
                       void *context, uint8_t frame[USER_ENDED_FRAME]);

#endif
