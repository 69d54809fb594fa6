/*
 * What inet.c and inet_tcp.c share.
 */
#ifndef GUESTS_LIB_INET_PARTS_H
#define GUESTS_LIB_INET_PARTS_H

#include "lib/inet.h"
#include "lib/inet_wire.h"

/* Where an answer goes. */
struct inet_peer {
    uint8_t mac[6];
    bool v6;
    uint32_t address; /* as on the wire */
    uint8_t address6[16];
};

/* The transport layer's part of a packet. */
struct inet_segment {
    uint8_t protocol;
    const void *head; /* its header, and data that is to be copied */
    size_t head_size;
    const void *body; /* data that stays where it is */
    size_t body_size;
    unsigned checksum_at; /* offset in the header */
    uint16_t cut; /* data bytes of each segment the card is to make, IPv4 only; 0: one packet
                   */
};

#define INET_REST_MAX 1472 /* bytes of a datagram, or of an echo */

/* Is the transport layer's checksum right? `sum` is that of the pseudo header. */
bool inet_is_intact(uint64_t sum, uint8_t protocol, const uint8_t *data, size_t size);

void inet_handle_udp(const struct inet_peer *from, const uint8_t *data, size_t size);

/* inet6.c: the header of a packet of `size` bytes behind it, and the sum over its pseudo header.
 * Returns its size. */
size_t inet6_put_header(uint8_t *to, const struct inet_peer *peer, uint8_t protocol, size_t size,
                        uint64_t *sum);
void inet6_handle(const uint8_t *frame, size_t size, bool checked);

void inet_transmit(const struct inet_peer *to, const struct inet_segment *segment);

void inet_tcp_init(const struct inet_tcp_service *services, unsigned count);
void inet_tcp_handle(const struct inet_peer *from, const uint8_t *data, size_t size);
bool inet_tcp_work(void);

#endif
