#include "lib/inet.h"

#include "lib/card.h"
#include "lib/inet_parts.h"
#include "lib/text.h"

#define TTL           64
#define DONT_FRAGMENT 0x4000
#define ARP_REQUEST   1
#define ARP_REPLY     2
#define ICMP_ECHO     8
#define UDP_REPLY_MAX INET_REST_MAX

struct inet inet;

static inet_udp_service *udp_service;

uint32_t inet_address(const char *text)
{
    uint32_t address = 0;

    for (unsigned i = 0; i < 4; i++) {
        uint32_t part = 0;
        if (*text < '0' || *text > '9')
            return 0;
        for (; *text >= '0' && *text <= '9'; text++)
            part = part * 10 + (uint32_t)(*text - '0');
        if (part > 255 || *text != (i < 3 ? '.' : '\0'))
            return 0;
        text++;
        address = address << 8 | part;
    }
    return address;
}

void inet_init(uint32_t address, inet_udp_service *udp, const struct inet_tcp_service *tcp,
               unsigned tcp_count)
{
    inet = (struct inet){.address = address};
    udp_service = udp;
    inet_tcp_init(tcp, tcp_count);
}

/* The sum over the pseudo header (RFC 9293, section 3.1). */
static uint64_t pseudo_sum(uint32_t from, uint32_t to, uint8_t protocol, size_t size)
{
    return (uint64_t)from + to + swap16(protocol) + swap16((uint16_t)size);
}

static size_t put_ipv4_header(uint8_t *at, const struct inet_peer *to, uint8_t protocol,
                              size_t size, uint64_t *sum)
{
    struct ipv4 ip = {.version_length = 0x45,
                      .length = swap16((uint16_t)(sizeof ip + size)),
                      .fragment = swap16(DONT_FRAGMENT),
                      .ttl = TTL,
                      .protocol = protocol,
                      .from = swap32(inet.address),
                      .to = to->address};

    ip.checksum = (uint16_t)~wire_fold(wire_sum(0, &ip, sizeof ip));
    *sum = pseudo_sum(ip.from, ip.to, protocol, size);
    memcpy(at, &ip, sizeof ip);
    return sizeof ip;
}

void inet_transmit(const struct inet_peer *to, const struct inet_segment *segment)
{
    struct WIRE {
        struct ethernet ethernet;
        uint8_t rest[CARD_HEAD_MAX - sizeof(struct ethernet)];
    } head;
    struct card_header header = {0};
    size_t size = segment->head_size + segment->body_size;
    uint64_t pseudo;

    memcpy(head.ethernet.to, to->mac, 6);
    memcpy(head.ethernet.from, card.mac, 6);
    head.ethernet.type = swap16(to->v6 ? ETHERNET_IPV6 : ETHERNET_IPV4);
    size_t ip = (to->v6 ? inet6_put_header : put_ipv4_header)(head.rest, to, segment->protocol,
                                                              size, &pseudo);
    uint8_t *data = head.rest + ip;
    memcpy(data, segment->head, segment->head_size);
    uint16_t checksum = wire_fold(pseudo);
    if (card.device.features & CARD_F_CSUM) {
        header.flags = CARD_NEEDS_CSUM;
        header.csum_start = (uint16_t)(sizeof head.ethernet + ip);
        header.csum_offset = (uint16_t)segment->checksum_at;
    } else {
        uint64_t sum = wire_sum(checksum, segment->head, segment->head_size);
        checksum = (uint16_t)~wire_fold(wire_sum(sum, segment->body, segment->body_size));
        if (checksum == 0 && segment->protocol == IPV4_UDP)
            checksum = 0xffff;
    }
    memcpy(data + segment->checksum_at, &checksum, sizeof checksum);
    size_t head_size = sizeof head.ethernet + ip + segment->head_size;
    if (segment->cut != 0 && segment->body_size > segment->cut) {
        header.gso_type = CARD_GSO_TCPV4;
        header.gso_size = segment->cut;
        header.header_length = (uint16_t)head_size;
    }
    card_send(&head, head_size, segment->body, segment->body_size, &header);
}

static void handle_arp(const uint8_t *frame, size_t size)
{
    struct WIRE {
        struct ethernet ethernet;
        struct arp arp;
    } packet;

    if (size < sizeof packet)
        return;
    memcpy(&packet, frame, sizeof packet);
    if (packet.arp.operation != swap16(ARP_REQUEST) || packet.arp.target != swap32(inet.address))
        return;
    packet.arp.operation = swap16(ARP_REPLY);
    memcpy(packet.arp.target_mac, packet.arp.sender_mac, 6);
    packet.arp.target = packet.arp.sender;
    memcpy(packet.arp.sender_mac, card.mac, 6);
    packet.arp.sender = swap32(inet.address);
    memcpy(packet.ethernet.to, packet.arp.target_mac, 6);
    memcpy(packet.ethernet.from, card.mac, 6);
    card_send(&packet, sizeof packet, NULL, 0, NULL);
}

static void handle_icmp(const struct ethernet *ethernet, const struct ipv4 *ip, const uint8_t *data,
                        size_t size)
{
    struct WIRE {
        struct ethernet ethernet;
        struct ipv4 ip;
        struct icmp icmp;
        uint8_t rest[UDP_REPLY_MAX];
    } packet = {*ethernet, *ip, {0}, {0}};

    if (size < sizeof packet.icmp || size - sizeof packet.icmp > sizeof packet.rest)
        return;
    memcpy(&packet.icmp, data, size);
    if (packet.icmp.type != ICMP_ECHO)
        return;
    packet.icmp.type = 0;
    packet.icmp.checksum = 0;
    packet.icmp.checksum = (uint16_t)~wire_fold(wire_sum(0, &packet.icmp, size));
    memcpy(packet.ethernet.to, ethernet->from, 6);
    memcpy(packet.ethernet.from, card.mac, 6);
    packet.ip.from = ip->to;
    packet.ip.to = ip->from;
    card_send(&packet, sizeof packet.ethernet + sizeof packet.ip + size, NULL, 0, NULL);
}

void inet_handle_udp(const struct inet_peer *from, const uint8_t *data, size_t size)
{
    struct WIRE {
        struct udp udp;
        uint8_t data[UDP_REPLY_MAX];
    } reply;
    struct udp udp;

    if (size < sizeof udp || udp_service == NULL)
        return;
    memcpy(&udp, data, sizeof udp);
    size = swap16(udp.length) < size ? swap16(udp.length) : size;
    if (size < sizeof udp || size - sizeof udp > sizeof reply.data)
        return;
    inet.udp_received++;
    size_t answer = udp_service(swap16(udp.to), data + sizeof udp, size - sizeof udp, reply.data);
    if (answer == 0)
        return;
    reply.udp = (struct udp){udp.to, udp.from, swap16((uint16_t)(sizeof udp + answer)), 0};
    const struct inet_segment segment = {
        .protocol = IPV4_UDP, .head = &reply, .head_size = sizeof udp + answer, .checksum_at = 6};
    inet_transmit(from, &segment);
}

void inet_send_udp(const uint8_t mac[6], uint32_t to, uint16_t from_port, uint16_t to_port,
                   const void *data, size_t size)
{
    struct WIRE {
        struct udp udp;
        uint8_t data[UDP_REPLY_MAX];
    } packet = {.udp = {swap16(from_port), swap16(to_port),
                        swap16((uint16_t)(sizeof packet.udp + size)), 0}};
    struct inet_peer peer = {.address = swap32(to)};
    const struct inet_segment segment = {.protocol = IPV4_UDP,
                                         .head = &packet,
                                         .head_size = sizeof packet.udp + size,
                                         .checksum_at = 6};

    memcpy(peer.mac, mac, 6);
    memcpy(packet.data, data, size);
    inet_transmit(&peer, &segment);
}

bool inet_is_intact(uint64_t sum, uint8_t protocol, const uint8_t *data, size_t size)
{
    if (protocol == IPV4_UDP && size >= sizeof(struct udp) && data[6] == 0 && data[7] == 0)
        return true;
    return wire_fold(wire_sum(sum, data, size)) == 0xffff;
}

static void handle_ipv4(const uint8_t *frame, size_t size, bool checked)
{
    struct ethernet ethernet;
    struct ipv4 ip;
    struct inet_peer peer = {.v6 = false};

    if (size < sizeof ethernet + sizeof ip)
        return;
    memcpy(&ethernet, frame, sizeof ethernet);
    memcpy(&ip, frame + sizeof ethernet, sizeof ip);
    const uint8_t *data = frame + sizeof ethernet + sizeof ip;
    size_t length = swap16(ip.length);
    bool for_us = ip.to == swap32(inet.address) || inet.address == 0 || ip.to == UINT32_MAX;
    if (ip.version_length != 0x45 || length < sizeof ip || length > size - sizeof ethernet ||
        (swap16(ip.fragment) & 0x3fff) != 0 || !for_us)
        return;
    length -= sizeof ip;
    memcpy(peer.mac, ethernet.from, 6);
    peer.address = ip.from;
    if ((ip.protocol == IPV4_UDP || ip.protocol == IPV4_TCP) && !checked &&
        !inet_is_intact(pseudo_sum(ip.from, ip.to, ip.protocol, length), ip.protocol, data,
                        length)) {
        inet.bad_checksums++;
        return;
    }
    if (ip.protocol == IPV4_ICMP)
        handle_icmp(&ethernet, &ip, data, length);
    else if (ip.protocol == IPV4_UDP)
        inet_handle_udp(&peer, data, length);
    else if (ip.protocol == IPV4_TCP)
        inet_tcp_handle(&peer, data, length);
}

void inet_handle(const uint8_t *frame, size_t size, bool checked)
{
    struct ethernet ethernet;

    if (size < sizeof ethernet)
        return;
    memcpy(&ethernet, frame, sizeof ethernet);
    if (ethernet.type == swap16(ETHERNET_ARP))
        handle_arp(frame, size);
    else if (ethernet.type == swap16(ETHERNET_IPV4))
        handle_ipv4(frame, size, checked);
    else if (ethernet.type == swap16(ETHERNET_IPV6))
        inet6_handle(frame, size, checked);
}

bool inet_work(void)
{
    return inet_tcp_work();
}
