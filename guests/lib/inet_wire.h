/*
 * Headers of the Internet protocols as they are on the wire (RFC 791, 826, 792, 768, 9293, 8200,
 * 4443, 4861); numbers are big-endian. Packed: frames start at odd places.
 */
#ifndef GUESTS_LIB_INET_WIRE_H
#define GUESTS_LIB_INET_WIRE_H

#include <stdint.h>

#define WIRE __attribute__((packed))

struct WIRE ethernet {
    uint8_t to[6], from[6];
    uint16_t type;
};

#define ETHERNET_IPV4 0x0800
#define ETHERNET_ARP  0x0806
#define ETHERNET_IPV6 0x86dd

struct WIRE arp {
    uint16_t hardware, protocol;
    uint8_t hardware_size, protocol_size;
    uint16_t operation;
    uint8_t sender_mac[6];
    uint32_t sender;
    uint8_t target_mac[6];
    uint32_t target;
};

struct WIRE ipv4 {
    uint8_t version_length, service;
    uint16_t length, id, fragment;
    uint8_t ttl, protocol;
    uint16_t checksum;
    uint32_t from, to;
};

#define IPV4_ICMP 1
#define IPV4_TCP  6
#define IPV4_UDP  17

struct WIRE ipv6 {
    uint32_t version; /* traffic class, flow label */
    uint16_t length;  /* of what follows */
    uint8_t protocol, hops;
    uint8_t from[16], to[16];
};

#define IPV6_ICMP 58

struct WIRE icmp {
    uint8_t type, code;
    uint16_t checksum;
};

struct WIRE udp {
    uint16_t from, to, length, checksum;
};

struct WIRE tcp {
    uint16_t from, to;
    uint32_t sequence, acknowledged;
    uint8_t offset, flags;
    uint16_t window, checksum, urgent;
};

enum {
    TCP_FIN = 1,
    TCP_SYN = 2,
    TCP_RST = 4,
    TCP_PSH = 8,
    TCP_ACK = 16,
};

static inline uint16_t swap16(uint16_t value)
{
    return __builtin_bswap16(value);
}

static inline uint32_t swap32(uint32_t value)
{
    return __builtin_bswap32(value);
}

/* Numbers at any address, in the middle of other data. */
typedef uint32_t __attribute__((aligned(1), may_alias)) wire_uint32;
typedef uint16_t __attribute__((aligned(1), may_alias)) wire_uint16;

/* The Internet checksum (RFC 1071): sums are not folded until the end. */
static inline uint64_t wire_sum(uint64_t sum, const void *data, uint64_t size)
{
    const uint8_t *bytes = data;

    for (; size >= 4; size -= 4, bytes += 4)
        sum += *(const wire_uint32 *)bytes;
    if (size >= 2) {
        sum += *(const wire_uint16 *)bytes;
        bytes += 2;
        size -= 2;
    }
    return size ? sum + *bytes : sum;
}

static inline uint16_t wire_fold(uint64_t sum)
{
    sum = (sum >> 32) + (sum & 0xffffffff);
    while (sum >> 16)
        sum = (sum >> 16) + (sum & 0xffff);
    return (uint16_t)sum;
}

#endif
