/*
 * Just enough of IPv4 and IPv6 to be talked to: ARP, neighbours, echo, UDP and TCP servers. Frames
 * are answered one by one; nothing is repeated on a timer, so the network below must not lose much.
 * CPU 0 only.
 */
#ifndef GUESTS_LIB_INET_H
#define GUESTS_LIB_INET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An address such as 10.0.5.3 as a number; 0 if it is none. */
uint32_t inet_address(const char *text);

/* Who this machine is. Counts what was received. */
struct inet {
    uint32_t address, gateway, mask;
    uint64_t udp_received, tcp_bytes_received, tcp_bytes_sent, connections, bad_checksums;
};

extern struct inet inet;

/* A datagram has arrived; the answer, if its size is not 0, is in `reply` (the same size). */
typedef size_t inet_udp_service(uint16_t port, const uint8_t *data, size_t size, uint8_t *reply);

/*
 * What a TCP connection does. `received`: data in order; the answer is in `reply`, of
 * INET_REPLY_MAX bytes at most. `*close` ends the connection from this side after that. A service
 * with `endless` set sends bytes without a meaning until the other side has enough.
 */
#define INET_REPLY_MAX 1400
struct inet_tcp_service {
    uint16_t port;
    bool endless;
    size_t (*received)(const uint8_t *data, size_t size, uint8_t *reply, bool *close);
};

void inet_init(uint32_t address, inet_udp_service *udp, const struct inet_tcp_service *tcp,
               unsigned tcp_count);

/* Look at a frame and answer it. */
void inet_handle(const uint8_t *frame, size_t size, bool checked);

/* Acknowledge what was received and let endless senders go on. True if they did. */
bool inet_work(void);

/*
 * IPv6, from inet6_init on, with the address that has this end in the network that a router
 * announces; until then with a link-local one. What was heard of: */
struct inet6 {
    bool has_prefix, has_neighbour;
    uint8_t address[16], local[16];
    uint8_t router_mac[6], neighbour_mac[6];
    uint64_t echo_replies;
};

extern struct inet6 inet6;

void inet6_init(uint8_t end);
void inet6_ask_for_router(void);
void inet6_ask_for_neighbour(const uint8_t address[16]);
void inet6_ping(const uint8_t mac[6], const uint8_t address[16], size_t size);

/* Send one UDP datagram to an Ethernet and IP address. */
void inet_send_udp(const uint8_t mac[6], uint32_t to, uint16_t from_port, uint16_t to_port,
                   const void *data, size_t size);

#endif
