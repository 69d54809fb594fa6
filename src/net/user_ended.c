#include "net/user_ended.h"

#include <string.h>

#include "net/wire.h"

#define HOPS 64

struct segment {
    bool v6;
    const uint8_t *from, *to; /* addresses */
    size_t address_size;
    uint16_t from_port, to_port;
    uint32_t sequence, acknowledged;
    unsigned flags;
    uint32_t size; /* of the data */
};

/* A whole TCP segment without extension headers, or false. */
static bool parse(struct segment *segment, const uint8_t *frame, size_t size)
{
    const uint8_t *ip = frame + ETHERNET_SIZE;
    unsigned type = size < ETHERNET_SIZE + IPV4_SIZE ? 0 : wire_get16(frame + ETHERNET_TYPE);
    bool v6 = type == TYPE_IPV6;

    size -= type ? ETHERNET_SIZE : 0;
    if (!(type == TYPE_IPV4 && ip[IPV4_PROTOCOL] == PROTOCOL_TCP &&
          !(wire_get16(ip + IPV4_FRAGMENT) & IPV4_IS_FRAGMENT)) &&
        !(v6 && size >= IPV6_SIZE && ip[IPV6_NEXT_HEADER] == PROTOCOL_TCP))
        return false;
    size_t header = v6 ? IPV6_SIZE : (size_t)(ip[0] & 0x0f) * 4;
    size_t length = v6 ? (size_t)wire_get16(ip + IPV6_LENGTH) + IPV6_SIZE
                       : wire_get16(ip + IPV4_LENGTH);
    if (header < IPV4_SIZE || length > size || length < header + TCP_SIZE)
        return false;
    const uint8_t *tcp = ip + header;
    size_t offset = (size_t)(tcp[TCP_OFFSET] >> 4) * 4;
    if (offset < TCP_SIZE || length < header + offset)
        return false;
    *segment = (struct segment){
        .v6 = v6,
        .from = ip + (v6 ? IPV6_FROM : IPV4_FROM),
        .to = ip + (v6 ? IPV6_TO : IPV4_TO),
        .address_size = v6 ? 16 : 4,
        .from_port = wire_get16(tcp + TCP_FROM),
        .to_port = wire_get16(tcp + TCP_TO),
        .sequence = wire_get32(tcp + TCP_SEQUENCE),
        .acknowledged = wire_get32(tcp + TCP_ACKNOWLEDGED),
        .flags = tcp[TCP_FLAGS],
        .size = (uint32_t)(length - header - offset),
    };
    return true;
}

static struct user_ended_connection *place_of(struct user_ended *ended, uint16_t host_port,
                                              uint16_t guest_port)
{
    return &ended->connections[(host_port + guest_port * 61u) % USER_ENDED_MAX];
}

static bool is_between(const struct user_ended_connection *connection,
                       const struct segment *segment, const uint8_t *host, uint16_t host_port,
                       const uint8_t *guest, uint16_t guest_port)
{
    return connection->tracked && connection->v6 == segment->v6 &&
           connection->host_port == host_port && connection->guest_port == guest_port &&
           memcmp(connection->host, host, segment->address_size) == 0 &&
           memcmp(connection->guest, guest, segment->address_size) == 0;
}

/* Sequence numbers go round. */
static bool reaches(uint32_t number, uint32_t end)
{
    return (int32_t)(number - end) >= 0;
}

static void note_end(struct user_ended *ended, struct user_ended_connection *connection)
{
    if (connection->over || !connection->end_acknowledged || !connection->guest_end_acknowledged)
        return;
    connection->over = true;
    ended->over[ended->over_count++] = (uint16_t)(connection - ended->connections);
}

static void forget(struct user_ended *ended, struct user_ended_connection *connection)
{
    for (size_t i = 0; connection->over && i < ended->over_count; i++)
        if (&ended->connections[ended->over[i]] == connection)
            ended->over[i--] = ended->over[--ended->over_count];
    *connection = (struct user_ended_connection){.tracked = false};
}

void user_ended_from_host(struct user_ended *ended, const uint8_t *frame, size_t size)
{
    struct segment segment;

    if (!parse(&segment, frame, size))
        return;
    struct user_ended_connection *connection = place_of(ended, segment.from_port, segment.to_port);
    bool known = is_between(connection, &segment, segment.from, segment.from_port, segment.to,
                            segment.to_port);
    if (known && segment.flags & (TCP_SYN | TCP_RST)) {
        forget(ended, connection);
    } else if (segment.flags & TCP_FIN && !known) {
        forget(ended, connection);
        *connection = (struct user_ended_connection){
            .tracked = true,
            .v6 = segment.v6,
            .host_port = segment.from_port,
            .guest_port = segment.to_port,
            .host_end = segment.sequence + segment.size + 1,
        };
        memcpy(connection->host, segment.from, segment.address_size);
        memcpy(connection->guest, segment.to, segment.address_size);
    } else if (known && connection->guest_ended &&
               reaches(segment.acknowledged, connection->guest_end)) {
        connection->guest_end_acknowledged = true;
        note_end(ended, connection);
    }
}

void user_ended_from_guest(struct user_ended *ended, const uint8_t *frame, size_t size)
{
    struct segment segment;

    if (!parse(&segment, frame, size))
        return;
    struct user_ended_connection *connection = place_of(ended, segment.to_port, segment.from_port);
    if (!is_between(connection, &segment, segment.to, segment.to_port, segment.from,
                    segment.from_port))
        return;
    if (segment.flags & (TCP_SYN | TCP_RST)) {
        forget(ended, connection);
        return;
    }
    memcpy(connection->mac, frame + ETHERNET_FROM, sizeof connection->mac);
    if (segment.flags & TCP_ACK && reaches(segment.acknowledged, connection->host_end))
        connection->end_acknowledged = true;
    if (segment.flags & TCP_FIN) {
        connection->guest_ended = true;
        connection->guest_end = segment.sequence + segment.size + 1;
    }
    note_end(ended, connection);
}

static uint32_t sum_of(const uint8_t *bytes, size_t size)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < size; i += 2)
        sum += wire_get16(bytes + i);
    return sum;
}

static uint32_t checksum(uint32_t sum)
{
    sum = (sum >> 16) + (sum & 0xffff);
    return ~((sum >> 16) + sum) & 0xffff;
}

static size_t make_reset(const struct user_ended_connection *connection,
                         uint8_t frame[USER_ENDED_FRAME])
{
    bool v6 = connection->v6;
    size_t header = v6 ? IPV6_SIZE : IPV4_SIZE, address = v6 ? 16 : 4;
    uint8_t *ip = frame + ETHERNET_SIZE, *tcp = ip + header;

    memset(frame, 0, USER_ENDED_FRAME);
    memcpy(frame, "\x52\x55\x0a\0\x05\x01", 6); /* libslirp has no need of it */
    memcpy(frame + ETHERNET_FROM, connection->mac, sizeof connection->mac);
    wire_put16(frame + ETHERNET_TYPE, v6 ? TYPE_IPV6 : TYPE_IPV4);
    memcpy(ip + (v6 ? IPV6_FROM : IPV4_FROM), connection->guest, address);
    memcpy(ip + (v6 ? IPV6_TO : IPV4_TO), connection->host, address);
    wire_put16(tcp + TCP_FROM, connection->guest_port);
    wire_put16(tcp + TCP_TO, connection->host_port);
    wire_put32(tcp + TCP_SEQUENCE, connection->guest_end);
    wire_put32(tcp + TCP_ACKNOWLEDGED, connection->host_end);
    tcp[TCP_OFFSET] = TCP_SIZE / 4 << 4;
    tcp[TCP_FLAGS] = TCP_RST | TCP_ACK;
    /* Both addresses, which are neighbours; protocol and size; the segment. */
    uint32_t sum = sum_of(ip + (v6 ? IPV6_FROM : IPV4_FROM), 2 * address) + PROTOCOL_TCP +
                   TCP_SIZE + sum_of(tcp, TCP_SIZE);
    wire_put16(tcp + TCP_CHECKSUM, checksum(sum));
    if (v6) {
        ip[0] = 0x60;
        wire_put16(ip + IPV6_LENGTH, TCP_SIZE);
        ip[IPV6_NEXT_HEADER] = PROTOCOL_TCP;
        ip[IPV6_HOPS] = HOPS;
    } else {
        ip[0] = 0x45;
        wire_put16(ip + IPV4_LENGTH, IPV4_SIZE + TCP_SIZE);
        ip[IPV4_TTL] = HOPS;
        ip[IPV4_PROTOCOL] = PROTOCOL_TCP;
        wire_put16(ip + IPV4_CHECKSUM, checksum(sum_of(ip, IPV4_SIZE)));
    }
    return ETHERNET_SIZE + header + TCP_SIZE;
}

size_t user_ended_next(struct user_ended *ended, bool (*is_busy)(void *context, uint16_t host_port),
                       void *context, uint8_t frame[USER_ENDED_FRAME])
{
    for (size_t i = 0; i < ended->over_count; i++) {
        struct user_ended_connection *connection = &ended->connections[ended->over[i]];
        if (is_busy(context, connection->host_port))
            continue;
        size_t size = make_reset(connection, frame);
        forget(ended, connection);
        return size;
    }
    return 0;
}
