#include "lib/card.h"
#include "lib/inet_parts.h"
#include "lib/text.h"

#define HOPS_ND 255 /* nobody has passed it on (RFC 4861, section 7.1.1) */

enum {
    ECHO = 128,
    ECHO_REPLY = 129,
    ROUTER_ASK = 133,
    ROUTER = 134,
    NEIGHBOUR_ASK = 135,
    NEIGHBOUR = 136,
};

#define OPTION_SOURCE_MAC 1
#define OPTION_TARGET_MAC 2
#define OPTION_PREFIX     3
#define NEIGHBOUR_FLAGS   0x60 /* asked for, replaces what was known */

/* What follows the ICMP header of both messages about neighbours. */
struct WIRE neighbour {
    struct icmp icmp;
    uint8_t flags, reserved[3];
    uint8_t target[16];
    uint8_t option, option_size; /* in units of 8 bytes */
    uint8_t mac[6];
};

struct inet6 inet6;

static uint8_t own_end;

/* From the two addresses on, which are neighbours in the header. */
static uint64_t pseudo_sum(const struct ipv6 *ip, size_t size)
{
    return wire_sum(swap16(ip->protocol) + (uint64_t)swap16((uint16_t)size),
                    (const uint8_t *)ip + offsetof(struct ipv6, from), 32);
}

/* Without a router an address that begins with fe80::. */
void inet6_init(uint8_t end)
{
    inet6 = (struct inet6){.has_prefix = false};
    own_end = end;
    inet6.local[0] = 0xfe;
    inet6.local[1] = 0x80;
    memcpy(inet6.local + 8, card.mac, 3);
    inet6.local[8] ^= 2;
    inet6.local[11] = 0xff;
    inet6.local[12] = 0xfe;
    memcpy(inet6.local + 13, card.mac + 3, 3);
}

static bool is_global(const uint8_t address[16])
{
    return address[0] != 0xff && address[0] != 0xfe;
}

size_t inet6_put_header(uint8_t *to, const struct inet_peer *peer, uint8_t protocol, size_t size,
                        uint64_t *sum)
{
    const uint8_t *own = inet6.has_prefix && is_global(peer->address6) ? inet6.address
                                                                       : inet6.local;
    struct ipv6 ip = {.version = swap32(UINT32_C(6) << 28),
                      .length = swap16((uint16_t)size),
                      .protocol = protocol,
                      .hops = HOPS_ND};

    memcpy(ip.from, own, 16);
    memcpy(ip.to, peer->address6, 16);
    *sum = pseudo_sum(&ip, size);
    memcpy(to, &ip, sizeof ip);
    return sizeof ip;
}

static void send(const uint8_t mac[6], const uint8_t address[16], const void *message, size_t size)
{
    struct inet_peer peer = {.v6 = true};
    const struct inet_segment segment = {.protocol = IPV6_ICMP,
                                         .head = message,
                                         .head_size = size,
                                         .checksum_at = offsetof(struct icmp, checksum)};

    memcpy(peer.mac, mac, 6);
    memcpy(peer.address6, address, 16);
    inet_transmit(&peer, &segment);
}

void inet6_ask_for_router(void)
{
    static const uint8_t mac[6] = {0x33, 0x33, 0, 0, 0, 2};
    static const uint8_t routers[16] = {0xff, 2, [15] = 2};
    struct WIRE {
        struct icmp icmp;
        uint32_t reserved;
        uint8_t option, option_size, mac[6];
    } message = {.icmp.type = ROUTER_ASK, .option = OPTION_SOURCE_MAC, .option_size = 1};

    memcpy(message.mac, card.mac, 6);
    send(mac, routers, &message, sizeof message);
}

void inet6_ask_for_neighbour(const uint8_t address[16])
{
    uint8_t mac[6] = {0x33, 0x33, 0xff, address[13], address[14], address[15]};
    uint8_t group[16] = {0xff, 2, [11] = 1, 0xff, address[13], address[14], address[15]};
    struct neighbour message = {
        .icmp.type = NEIGHBOUR_ASK, .option = OPTION_SOURCE_MAC, .option_size = 1};

    memcpy(message.target, address, 16);
    memcpy(message.mac, card.mac, 6);
    send(mac, group, &message, sizeof message);
}

void inet6_ping(const uint8_t mac[6], const uint8_t address[16], size_t size)
{
    struct WIRE {
        struct icmp icmp;
        uint8_t data[INET_REST_MAX];
    } message = {.icmp.type = ECHO};

    size = size < sizeof message.data ? size : sizeof message.data;
    for (size_t i = 0; i < size; i++)
        message.data[i] = (uint8_t)i;
    send(mac, address, &message, sizeof message.icmp + size);
}

static bool is_own(const uint8_t address[16])
{
    return memcmp(address, inet6.local, 16) == 0 ||
           (inet6.has_prefix && memcmp(address, inet6.address, 16) == 0);
}

/* Somebody wants to know the MAC address of one of ours. */
static void answer_neighbour(const struct inet_peer *from, const uint8_t *data, size_t size)
{
    struct neighbour message = {.icmp.type = NEIGHBOUR,
                                .flags = NEIGHBOUR_FLAGS,
                                .option = OPTION_TARGET_MAC,
                                .option_size = 1};

    if (size < offsetof(struct neighbour, option) ||
        !is_own(data + offsetof(struct neighbour, target)))
        return;
    memcpy(message.target, data + offsetof(struct neighbour, target), 16);
    memcpy(message.mac, card.mac, 6);
    send(from->mac, from->address6, &message, sizeof message);
}

/* The options of an announcement: the first prefix of 64 bits that hosts may use. */
static void take_router(const struct inet_peer *from, const uint8_t *data, size_t size)
{
    for (size_t at = 16, length; at + 2 <= size; at += length) {
        length = (size_t)data[at + 1] * 8;
        if (length == 0 || length > size - at)
            return;
        if (data[at] != OPTION_PREFIX || length != 32 || data[at + 2] != 64)
            continue;
        memset(inet6.address, 0, 16);
        memcpy(inet6.address, data + at + 16, 8);
        inet6.address[15] = own_end;
        memcpy(inet6.router_mac, from->mac, 6);
        inet6.has_prefix = true;
        return;
    }
}

static void answer_echo(const struct inet_peer *from, const uint8_t *data, size_t size)
{
    uint8_t message[sizeof(struct icmp) + INET_REST_MAX];

    if (size > sizeof message)
        return;
    memcpy(message, data, size);
    message[0] = ECHO_REPLY;
    memset(message + offsetof(struct icmp, checksum), 0, 2);
    send(from->mac, from->address6, message, size);
}

static void handle_icmp(const struct inet_peer *from, const uint8_t *data, size_t size)
{
    if (size < sizeof(struct icmp))
        return;
    switch (data[0]) {
    case ECHO:
        answer_echo(from, data, size);
        break;
    case ECHO_REPLY:
        inet6.echo_replies++;
        break;
    case ROUTER:
        take_router(from, data, size);
        break;
    case NEIGHBOUR_ASK:
        answer_neighbour(from, data, size);
        break;
    case NEIGHBOUR:
        memcpy(inet6.neighbour_mac, from->mac, 6);
        inet6.has_neighbour = true;
        break;
    }
}

void inet6_handle(const uint8_t *frame, size_t size, bool checked)
{
    struct ethernet ethernet;
    struct ipv6 ip;
    struct inet_peer peer = {.v6 = true};

    if (inet6.local[0] == 0 || size < sizeof ethernet + sizeof ip)
        return;
    memcpy(&ethernet, frame, sizeof ethernet);
    memcpy(&ip, frame + sizeof ethernet, sizeof ip);
    const uint8_t *data = frame + sizeof ethernet + sizeof ip;
    size_t length = swap16(ip.length);
    if (length > size - sizeof ethernet - sizeof ip || (ip.to[0] != 0xff && !is_own(ip.to)))
        return;
    memcpy(peer.mac, ethernet.from, 6);
    memcpy(peer.address6, ip.from, 16);
    if (ip.protocol != IPV6_ICMP && ip.protocol != IPV4_UDP && ip.protocol != IPV4_TCP)
        return;
    if (!checked && !inet_is_intact(pseudo_sum(&ip, length), ip.protocol, data, length))
        inet.bad_checksums++;
    else if (ip.protocol == IPV6_ICMP)
        handle_icmp(&peer, data, length);
    else if (ip.protocol == IPV4_UDP)
        inet_handle_udp(&peer, data, length);
    else if (ip.protocol == IPV4_TCP)
        inet_tcp_handle(&peer, data, length);
}
