/*
 * Network back ends: where the frames of a guest's network card go.
 *
 * A back end is opened from the user's description before privileges are dropped, belongs to the
 * device that uses it, and is closed with it. It moves whole Ethernet frames, each preceded by a
 * 12-byte struct net_header, through three calls that never block: send, receive, and set_offloads.
 *
 * Who calls what:
 *   - send, from the thread of a vCPU or the device's worker, one call at a time;
 *   - receive, from the device's worker or from a thread of the back end inside `ready`, one call
 *     at a time, possibly at the same time as send;
 *   - set_offloads, while neither of the two runs;
 *   - start, once, before the first of them and after privileges were dropped; close, last.
 * A back end with a thread makes system calls on that: on other threads send, receive, and close
 * once it was started, are to do with those that every thread may make (sandbox/runtime.h).
 *
 * Two kinds of back end:
 *   - with a descriptor (tap, socket): `fd` becomes readable when receive has something, and, after
 *     send returned -EAGAIN, writable when it may be tried again. The device's worker waits for it.
 *   - with a thread of its own (user): `fd` is -1. The back end calls client.ready whenever receive
 *     has got something, or send room again after -EAGAIN. `ready` calls receive until that returns
 *     -EAGAIN or the guest has no buffer left, in which case the device calls receive again by
 *     itself when it has. It may be called from any thread, also from within send, but not from
 *     within receive and not with a lock held that send or receive take.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "sandbox/calls.h"
#include "uhyve.h"
#include "util/log.h"

/*
 * What precedes each frame, in both directions (virtio 1.2, section 5.1.6; little-endian). The
 * device guarantees that fields refer only to what is in `offloads` of the back end; a back end
 * that announces none may ignore the header of frames it sends, and receive fills it with zeros.
 */
struct net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_length;
    uint16_t gso_size;
    uint16_t csum_start; /* from the start of the frame */
    uint16_t csum_offset;
    uint16_t buffers; /* filled by the device */
};

_Static_assert(sizeof(struct net_header) == 12, "struct virtio_net_hdr of virtio 1.x");

#define NET_HEADER_NEEDS_CSUM 0x01 /* the checksum at csum_start + csum_offset is missing */
#define NET_HEADER_DATA_VALID 0x02 /* checksums were verified */

#define NET_GSO_NONE  0
#define NET_GSO_TCPV4 1
#define NET_GSO_TCPV6 4
#define NET_GSO_ECN   0x80 /* added to one of the others */

/* What headers may ask for. */
#define NET_OFFLOAD_CSUM (1u << 0) /* NET_HEADER_NEEDS_CSUM */
#define NET_OFFLOAD_TSO4 (1u << 1) /* TCP segments of up to 64 KiB, to be cut; needs CSUM */
#define NET_OFFLOAD_TSO6 (1u << 2)
#define NET_OFFLOAD_ECN  (1u << 3) /* NET_GSO_ECN */

#define NET_MAC_SIZE 6

/* Bytes of the largest frame with header: a TCP segment of 64 KiB, Ethernet header, VLAN tag. */
#define NET_FRAME_MAX (sizeof(struct net_header) + 14 + 4 + 65535)

struct net_backend;

struct net_client {
    void (*ready)(void *context);
    void *context;
    /* For a thread of the back end, before it does anything: restrict it. Returns 0 or -errno with
     * *error filled. NULL: nothing is restricted. */
    int (*confine)(void *context, struct uhyve_error *error);
    void *confine_context;
};

struct net_ops {
    const char *name; /* as the user writes it: "tap" */
    /*
     * Privileges are gone, but nothing is restricted yet: only a thread that restricts itself may
     * be started, and a process. A back end with a thread of its own keeps `client`. NULL: nothing
     * to do. Returns 0 or -errno with *error filled.
     */
    int (*start)(struct net_backend *net, const struct net_client *client,
                 struct uhyve_error *error);
    /*
     * One frame, header first, at most NET_FRAME_MAX bytes. Returns 0: taken; -EAGAIN: no room, try
     * again (see above); another -errno: the frame is lost. The memory is the guest's and may
     * change during the call.
     */
    int (*send)(struct net_backend *net, const struct iovec *iov, int count);
    /*
     * The next frame, header first. The vector has room for info.frame_max bytes at least and may
     * be guest memory. Returns the bytes stored, -EAGAIN: none now, or another -errno: the back end
     * will not have any more.
     */
    ssize_t (*receive)(struct net_backend *net, const struct iovec *iov, int count);
    /* What received frames may ask for from now on: a subset of info.offloads. NULL if that is
     * empty. */
    void (*set_offloads)(struct net_backend *net, unsigned offloads);
    /* Ends its threads and releases everything, `net` too. */
    void (*close)(struct net_backend *net);
    const struct sandbox_call *calls; /* the system calls of its thread or, where it has none, of
                                       * all of these but close; also named in vm/isolation.c */
};

/* What a back end can do; constant after it was opened. */
struct net_info {
    uint8_t mac[NET_MAC_SIZE]; /* for the guest */
    uint16_t mtu;              /* bytes of an IP packet */
    unsigned offloads;         /* NET_OFFLOAD_..., for frames in both directions */
    size_t frame_max;          /* bytes of the largest frame that receive gives, with header */
};

/* The start of every back end's own structure. */
struct net_backend {
    const struct net_ops *ops;
    struct net_info info;
    int fd; /* -1: see above */
};

extern const struct sandbox_call tap_calls[], socket_calls[], user_slirp_calls[];

/* Open what the parameters describe: `config->kind` is not UHYVE_NET_NONE. Returns 0, or -errno
 * with *error filled. */
int net_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
             struct uhyve_error *error);

static inline void net_close(struct net_backend *net)
{
    if (net)
        net->ops->close(net);
}

/*
 * The guest's address if the user gave none: locally administered, made from `name`, the host's
 * name and its machine ID. A guest keeps its address (and its DHCP lease) from run to run, and two
 * guests with different names have different ones.
 */
void net_make_mac(uint8_t mac[NET_MAC_SIZE], const char *name);

/* tap.c: an existing tap interface. */
int net_tap_open(const struct uhyve_net *config, struct net_backend **net,
                 struct uhyve_error *error);

#endif
