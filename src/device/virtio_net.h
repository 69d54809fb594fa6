/*
 * The network card: a virtio network device (virtio 1.2, section 5.1) between the guest's driver
 * and a back end (net/net.h). One receive and one transmit queue.
 *
 * Frames are not copied here: the back end reads from and writes to the guest's buffers. Transmit
 * runs on the thread of the vCPU that rings the doorbell, which needs no other thread to wake up;
 * what is too much at once, or has to wait for room, is left to the card's worker. Receive runs on
 * the worker, or on the back end's own thread.
 *
 * Created before, started after privileges are dropped. The VM owns the card, the card its back
 * end.
 */
#ifndef DEVICE_VIRTIO_NET_H
#define DEVICE_VIRTIO_NET_H

#include "device/virtio.h"
#include "net/net.h"

struct virtio_net;

struct virtio_net_config {
    const struct ram *ram;
    const struct log *log;
    struct virtio_line line;
    uint8_t interrupt_line; /* as the guest reads it */
    gpa_t bar0;
    /* Called with what happens in the queues, from any thread. NULL: nobody wants to know. */
    void (*trace)(void *context, const char *text);
    void *trace_context;
};

/* Takes the back end over when it succeeds. Returns 0 or -errno with *error filled. */
int virtio_net_create(const struct virtio_net_config *config, struct net_backend *backend,
                      struct virtio_net **net, struct uhyve_error *error);

/* Start the back end, whose thread, if it has one, calls `confine` first (net/net.h). Returns 0 or
 * -errno with *error filled. */
int virtio_net_start_backend(struct virtio_net *net,
                             int (*confine)(void *context, struct uhyve_error *error),
                             void *context, struct uhyve_error *error);

/* Afterwards: start the card's own thread. Returns 0 or -errno with *error filled. */
int virtio_net_start(struct virtio_net *net, struct uhyve_error *error);

/* The vCPUs have ended: no thread of it uses the guest's memory any more when this returns. */
void virtio_net_stop(struct virtio_net *net);

/* Stops it first where needed; NULL is allowed. */
void virtio_net_destroy(struct virtio_net *net);

/* The system calls of its back end. */
const struct sandbox_call *virtio_net_calls(const struct virtio_net *net);

/* For the bus. */
struct pci_function *virtio_net_function(struct virtio_net *net);

/* What happened so far. From any thread. */
void virtio_net_get_stats(struct virtio_net *net, struct uhyve_net_stats *stats);

#endif
