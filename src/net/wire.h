/*
 * Where things are in frames as they are on the wire, and numbers in network order at any address.
 * Offsets are from the beginning of the header they belong to. Pure, any thread.
 */
#ifndef NET_WIRE_H
#define NET_WIRE_H

#include <stdint.h>

#define ETHERNET_SIZE 14
#define ETHERNET_FROM 6
#define ETHERNET_TYPE 12
#define TYPE_IPV4     0x0800
#define TYPE_IPV6     0x86dd

/* RFC 791, without options. */
#define IPV4_SIZE        20
#define IPV4_LENGTH      2
#define IPV4_FRAGMENT    6
#define IPV4_TTL         8
#define IPV4_PROTOCOL    9
#define IPV4_CHECKSUM    10
#define IPV4_FROM        12
#define IPV4_TO          16
#define IPV4_IS_FRAGMENT 0x3fff /* more fragments, or an offset */

/* RFC 8200, without extension headers. */
#define IPV6_SIZE        40
#define IPV6_LENGTH      4
#define IPV6_NEXT_HEADER 6
#define IPV6_HOPS        7
#define IPV6_FROM        8
#define IPV6_TO          24

#define PROTOCOL_ICMP   1
#define PROTOCOL_TCP    6
#define PROTOCOL_UDP    17
#define PROTOCOL_ICMPV6 58

/* RFC 9293, without options. */
#define TCP_SIZE         20
#define TCP_FROM         0
#define TCP_TO           2
#define TCP_SEQUENCE     4
#define TCP_ACKNOWLEDGED 8
#define TCP_OFFSET       12
#define TCP_FLAGS        13
#define TCP_CHECKSUM     16

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

static inline uint16_t wire_get16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline uint32_t wire_get32(const uint8_t *bytes)
{
    return (uint32_t)wire_get16(bytes) << 16 | wire_get16(bytes + 2);
}

/* The lower 16 bits of `value`. */
static inline void wire_put16(uint8_t *bytes, uint32_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static inline void wire_put32(uint8_t *bytes, uint32_t value)
{
    wire_put16(bytes, value >> 16);
    wire_put16(bytes + 2, value);
}

#endif
