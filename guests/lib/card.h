/*
 * The network card: frames in and out through a virtio network device (virtio 1.2, section 5.1).
 * CPU 0 only.
 */
#ifndef GUESTS_LIB_CARD_H
#define GUESTS_LIB_CARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/virtio.h"

#define CARD_F_CSUM       (UINT64_C(1) << 0)
#define CARD_F_GUEST_CSUM (UINT64_C(1) << 1)
#define CARD_F_MTU        (UINT64_C(1) << 3)
#define CARD_F_MAC        (UINT64_C(1) << 5)
#define CARD_F_GUEST_TSO4 (UINT64_C(1) << 7)
#define CARD_F_HOST_TSO4  (UINT64_C(1) << 11)
#define CARD_F_MRG_RXBUF  (UINT64_C(1) << 15)
#define CARD_F_STATUS     (UINT64_C(1) << 16)

/* Everything the library can make use of. */
#define CARD_F_ALL                                                                                 \
    (CARD_F_CSUM | CARD_F_GUEST_CSUM | CARD_F_MTU | CARD_F_MAC | CARD_F_GUEST_TSO4 |               \
     CARD_F_HOST_TSO4 | CARD_F_MRG_RXBUF | CARD_F_STATUS | VIRTIO_F_EVENT_IDX)

#define CARD_QUEUE_RECEIVE 0
#define CARD_QUEUE_SEND    1

enum card_interrupts {
    CARD_POLL,  /* card_wait spins */
    CARD_EDGE,  /* card_wait sleeps; the I/O APIC waits for the line to become active */
    CARD_LEVEL, /* ... for the line to be active */
};

/* What precedes each frame. */
struct card_header {
    uint8_t flags, gso_type;
    uint16_t header_length, gso_size, csum_start, csum_offset, buffers;
};

#define CARD_NEEDS_CSUM 1
#define CARD_GSO_TCPV4  1

struct card {
    struct virtio_device device;
    uint8_t mac[6];
    uint16_t mtu; /* bytes of an IP packet */
    enum card_interrupts interrupts;
    uint64_t interrupt_count, lost;
};

extern struct card card;

/* Find the card, and start it with those of the `wanted` features that it offers. False if there is
 * none, or it does not work. May be called again: that resets the card. */
bool card_start(uint64_t wanted, enum card_interrupts interrupts);

/* The next frame, or NULL. It is valid until the next call. */
const uint8_t *card_receive(size_t *size, const struct card_header **header);

/*
 * Send a frame of two parts: `head` is copied, `body` (may be empty) must not change while it is in
 * flight. `header` tells about offloads; NULL: none. Waits while the queue is full. card_flush
 * tells the card of what was sent since it was last called.
 */
#define CARD_HEAD_MAX 2036
void card_send(const void *head, size_t head_size, const void *body, size_t body_size,
               const struct card_header *header);
void card_flush(void);

/* Until a frame has been received. */
void card_wait(void);

/* Program the I/O APIC for the card; card_start does. */
void card_route_interrupts(enum card_interrupts interrupts);

#endif
