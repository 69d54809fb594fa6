#include "net/user_filter.h"

#include <string.h>

#include "net/wire.h"

#define PORT_DNS    53
#define PORT_DHCP   67
#define PORT_DHCPV6 547

static const uint8_t gateway[4] = {10, 0, 5, 1};
static const uint8_t name_server[4] = {10, 0, 5, 2};
static const uint8_t everyone[4] = {255, 255, 255, 255};
static const uint8_t prefix6[8] = {0xfd, 0, 0, 0x0a, 0, 5, 0, 0};
static const uint8_t gateway6[16] = {0xfd, 0, 0, 0x0a, 0, 5, 0, 0, [15] = 1};
static const uint8_t name_server6[16] = {0xfd, 0, 0, 0x0a, 0, 5, 0, 0, [15] = 2};

/* What is behind the IP header. */
struct packet {
    unsigned protocol;
    const uint8_t *data;
    size_t size;
};

static unsigned from_port(const struct packet *packet)
{
    return packet->size >= 4 ? wire_get16(packet->data) : 0;
}

static unsigned to_port(const struct packet *packet)
{
    return packet->size >= 4 ? wire_get16(packet->data + 2) : 0;
}

static bool is_known_peer(const struct user_filter *filter, bool v6, unsigned host_port,
                          unsigned guest_port)
{
    for (size_t i = 0; i < USER_FILTER_PEERS; i++)
        if (host_port && filter->peers[i].v6 == v6 && filter->peers[i].host_port == host_port &&
            filter->peers[i].guest_port == guest_port)
            return true;
    return false;
}

/* Part of a connection that somebody else has opened. */
static bool is_answer(const struct packet *packet)
{
    return packet->protocol == PROTOCOL_TCP && packet->size > TCP_FLAGS &&
           (packet->data[TCP_FLAGS] & (TCP_SYN | TCP_ACK)) != TCP_SYN;
}

static bool is_for_name_server(const struct packet *packet)
{
    return (packet->protocol == PROTOCOL_UDP || packet->protocol == PROTOCOL_TCP) &&
           to_port(packet) == PORT_DNS;
}

static bool permits_ipv4(const struct user_filter *filter, const uint8_t *ip, size_t size)
{
    size_t header = (size_t)(ip[0] & 0x0f) * 4;
    const uint8_t *to = ip + IPV4_TO;
    bool local = memcmp(to, gateway, 4) == 0 || memcmp(to, everyone, 4) == 0;

    if (to[0] == 127 || to[0] == 0)
        return false;
    if (!local && memcmp(to, name_server, 4) != 0)
        return true;
    /* Fragments hide ports and flags. */
    if (header < IPV4_SIZE || header > size || wire_get16(ip + IPV4_FRAGMENT) & IPV4_IS_FRAGMENT)
        return false;
    const struct packet packet = {ip[IPV4_PROTOCOL], ip + header, size - header};
    if (packet.protocol == PROTOCOL_ICMP)
        return true;
    if (!local)
        return is_for_name_server(&packet);
    if (packet.protocol == PROTOCOL_UDP)
        return to_port(&packet) == PORT_DHCP ||
               is_known_peer(filter, false, to_port(&packet), from_port(&packet));
    return is_answer(&packet);
}

/* Extension headers hide ports and flags: with them nothing gets to the host. */
static bool permits_ipv6(const struct user_filter *filter, const uint8_t *ip, size_t size)
{
    static const uint8_t zeros[10];
    const uint8_t *to = ip + IPV6_TO;
    const struct packet packet = {ip[IPV6_NEXT_HEADER], ip + IPV6_SIZE, size - IPV6_SIZE};

    /* ::, ::1, and IPv4 addresses in their two disguises. */
    if (memcmp(to, zeros, sizeof zeros) == 0)
        return false;
    bool multicast = to[0] == 0xff, link_local = to[0] == 0xfe && (to[1] & 0xc0) == 0x80;
    if (!multicast && !link_local && memcmp(to, prefix6, sizeof prefix6) != 0)
        return true;
    if (packet.protocol == PROTOCOL_ICMPV6)
        return true;
    if (multicast)
        return packet.protocol == PROTOCOL_UDP && to_port(&packet) == PORT_DHCPV6;
    if (memcmp(to, name_server6, sizeof name_server6) == 0)
        return is_for_name_server(&packet);
    if (packet.protocol == PROTOCOL_UDP)
        return memcmp(to, gateway6, sizeof gateway6) == 0 &&
               is_known_peer(filter, true, to_port(&packet), from_port(&packet));
    return is_answer(&packet);
}

bool user_filter_permits(const struct user_filter *filter, const uint8_t *frame, size_t size)
{
    if (size < ETHERNET_SIZE)
        return false;
    unsigned type = wire_get16(frame + ETHERNET_TYPE);
    const uint8_t *ip = frame + ETHERNET_SIZE;
    size -= ETHERNET_SIZE;
    if (type == TYPE_IPV4)
        return size >= IPV4_SIZE && permits_ipv4(filter, ip, size);
    if (type == TYPE_IPV6)
        return size >= IPV6_SIZE && permits_ipv6(filter, ip, size);
    return true;
}

/* What the gateway has sent, without options and extension headers; NULL: something else. */
static const uint8_t *find_gateway_udp(const uint8_t *frame, size_t size, bool *v6)
{
    const uint8_t *ip = frame + ETHERNET_SIZE;
    unsigned type = size < ETHERNET_SIZE ? 0 : wire_get16(frame + ETHERNET_TYPE);

    *v6 = type == TYPE_IPV6;
    size_t header = *v6 ? IPV6_SIZE : IPV4_SIZE;
    if ((type != TYPE_IPV4 && type != TYPE_IPV6) || size < ETHERNET_SIZE + header + 4)
        return NULL;
    bool found = *v6 ? ip[IPV6_NEXT_HEADER] == PROTOCOL_UDP &&
                           memcmp(ip + IPV6_FROM, gateway6, sizeof gateway6) == 0
                     : ip[0] == 0x45 && ip[IPV4_PROTOCOL] == PROTOCOL_UDP &&
                           memcmp(ip + IPV4_FROM, gateway, sizeof gateway) == 0;
    return found ? ip + header : NULL;
}

void user_filter_note(struct user_filter *filter, const uint8_t *frame, size_t size)
{
    bool v6;
    const uint8_t *udp = find_gateway_udp(frame, size, &v6);

    if (!udp || is_known_peer(filter, v6, wire_get16(udp), wire_get16(udp + 2)))
        return;
    filter->peers[filter->next] = (struct user_filter_peer){v6, wire_get16(udp),
                                                            wire_get16(udp + 2)};
    filter->next = (filter->next + 1) % USER_FILTER_PEERS;
}
