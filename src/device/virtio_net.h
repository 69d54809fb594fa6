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
};

/* What happened so far. A frame's bytes are without its header. */
struct virtio_net_counts {
    uint64_t received, received_bytes, received_lost;
    uint64_t sent, sent_bytes, sent_lost;
    uint64_t interrupts;
    uint64_t doorbells;
    uint64_t stalls; /* the guest had no buffer for a frame */
};

/* Takes the back end over when it succeeds. Returns 0 or -errno with *error filled. */
int virtio_net_create(const struct virtio_net_config *config, struct net_backend *backend,
                      struct virtio_net **net, struct uhyve_error *error);

/* Start its threads. Returns 0 or -errno with *error filled. */
int virtio_net_start(struct virtio_net *net, struct uhyve_error *error);

/* The vCPUs have ended: no thread of it uses the guest's memory any more when this returns. */
void virtio_net_stop(struct virtio_net *net);

/* Stops it first where needed; NULL is allowed. */
void virtio_net_destroy(struct virtio_net *net);

/* The system calls that it makes from virtio_net_start on, those of its back end. */
const struct sandbox_call *virtio_net_calls(const struct virtio_net *net);

/* For the bus. */
struct pci_function *virtio_net_function(struct virtio_net *net);

/* From any thread. */
void virtio_net_get_counts(struct virtio_net *net, struct virtio_net_counts *counts);

#endif
