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
    uint32_t address; /* as on the wire */
};

/* The transport layer's part of a packet. */
struct inet_segment {
    uint8_t protocol;
    const void *head; /* its header, and data that is to be copied */
    size_t head_size;
    const void *body; /* data that stays where it is */
    size_t body_size;
    unsigned checksum_at; /* offset in the header */
    uint16_t cut;         /* data bytes of each segment the card is to make; 0: one packet */
};

void inet_transmit(const struct inet_peer *to, const struct inet_segment *segment);

void inet_tcp_init(const struct inet_tcp_service *services, unsigned count);
void inet_tcp_handle(const struct inet_peer *from, const uint8_t *data, size_t size);
bool inet_tcp_work(void);

#endif
