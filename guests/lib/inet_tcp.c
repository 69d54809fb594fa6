#include "lib/card.h"
#include "lib/inet_parts.h"
#include "lib/text.h"

#define CONNECTIONS  64
#define MSS_DEFAULT  536
#define WINDOW       0xffff
#define SCALE        4 /* of the window that is announced */
#define FIRST_NUMBER 1000
#define HEADERS      40 /* IPv4 and TCP without options */
#define HEADERS6     60
#define LARGE_MAX    61440
#define DUPLICATES   3

#define OPTION_END   0
#define OPTION_NOP   1
#define OPTION_MSS   2
#define OPTION_SCALE 3

struct connection {
    bool open;
    bool established; /* our SYN was acknowledged */
    bool closing;     /* our FIN was sent */
    bool answer_due;  /* what was received is to be acknowledged */
    struct inet_peer peer;
    uint16_t port, peer_port;
    const struct inet_tcp_service *service;
    uint32_t next;     /* sequence number of what is sent next */
    uint32_t unacked;  /* first one that the peer has not acknowledged */
    uint32_t expected; /* sequence number of what comes next */
    uint32_t window;   /* bytes the peer takes beyond `unacked` */
    unsigned shift;    /* of the peer's window */
    bool scaled;
    uint16_t mss;
    unsigned duplicates;
    uint64_t used; /* when it was last heard of */
};

static struct connection connections[CONNECTIONS];
static const struct inet_tcp_service *services;
static unsigned service_count;
static uint64_t clock;
static uint8_t endless[LARGE_MAX];

void inet_tcp_init(const struct inet_tcp_service *list, unsigned count)
{
    services = list;
    service_count = count;
    memset(connections, 0, sizeof connections);
}

static const struct inet_tcp_service *find_service(uint16_t port)
{
    for (unsigned i = 0; i < service_count; i++)
        if (services[i].port == port)
            return &services[i];
    return NULL;
}

static uint16_t own_mss(const struct inet_peer *peer)
{
    return (uint16_t)(card.mtu - (peer->v6 ? HEADERS6 : HEADERS));
}

static bool is_same(const struct inet_peer *a, const struct inet_peer *b)
{
    return a->v6 == b->v6 && a->address == b->address && memcmp(a->address6, b->address6, 16) == 0;
}

static struct connection *find(const struct inet_peer *peer, const struct tcp *tcp)
{
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        if (c->open && is_same(&c->peer, peer) && c->peer_port == swap16(tcp->from) &&
            c->port == swap16(tcp->to))
            return c;
    }
    return NULL;
}

/* A free place, or that of the connection nobody has heard of for longest. */
static struct connection *take_place(void)
{
    struct connection *oldest = &connections[0];

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (!connections[i].open)
            return &connections[i];
        if (connections[i].used < oldest->used)
            oldest = &connections[i];
    }
    return oldest;
}

/* Send a segment with `size` bytes of data and whatever `flags` says. */
static void send(struct connection *c, uint8_t flags, const void *copied, size_t copied_size,
                 size_t endless_size)
{
    struct WIRE {
        struct tcp tcp;
        uint8_t rest[INET_REPLY_MAX];
    } packet;
    size_t options = 0;

    if (flags & TCP_SYN) {
        uint16_t mss = own_mss(&c->peer);
        const uint8_t list[] = {
            OPTION_MSS, 4, (uint8_t)(mss >> 8), (uint8_t)mss, OPTION_NOP, OPTION_SCALE, 3, SCALE};
        options = c->scaled ? sizeof list : 4;
        memcpy(packet.rest, list, options);
    }
    packet.tcp = (struct tcp){.from = swap16(c->port),
                              .to = swap16(c->peer_port),
                              .sequence = swap32(c->next),
                              .acknowledged = swap32(c->expected),
                              .offset = (uint8_t)((sizeof packet.tcp + options) / 4 << 4),
                              .flags = flags,
                              .window = swap16(WINDOW)};
    memcpy(packet.rest + options, copied, copied_size);
    const struct inet_segment segment = {
        .protocol = IPV4_TCP,
        .head = &packet,
        .head_size = sizeof packet.tcp + options + copied_size,
        .body = endless,
        .body_size = endless_size,
        .checksum_at = 16,
        .cut = c->mss,
    };
    c->next += (uint32_t)(copied_size + endless_size) + ((flags & (TCP_SYN | TCP_FIN)) != 0);
    inet.tcp_bytes_sent += copied_size + endless_size;
    c->answer_due = false;
    inet_transmit(&c->peer, &segment);
}

static void refuse(const struct inet_peer *peer, const struct tcp *tcp)
{
    struct connection c = {.peer = *peer,
                           .port = swap16(tcp->to),
                           .peer_port = swap16(tcp->from),
                           .next = swap32(tcp->acknowledged),
                           .expected = swap32(tcp->sequence) + 1};
    if (!(tcp->flags & TCP_RST))
        send(&c, TCP_RST | TCP_ACK, NULL, 0, 0);
}

static void read_options(struct connection *c, const uint8_t *options, size_t size)
{
    c->mss = MSS_DEFAULT;
    for (size_t i = 0; i < size && options[i] != OPTION_END;) {
        size_t length = options[i] == OPTION_NOP ? 1 : i + 1 < size ? options[i + 1] : 0;
        if (length == 0 || length > size - i)
            return;
        if (options[i] == OPTION_MSS && length == 4)
            c->mss = (uint16_t)(options[i + 2] << 8 | options[i + 3]);
        if (options[i] == OPTION_SCALE && length == 3) {
            c->scaled = true;
            c->shift = options[i + 2] < 14 ? options[i + 2] : 14;
        }
        i += length;
    }
}

static void accept(const struct inet_peer *peer, const struct tcp *tcp, const uint8_t *options,
                   size_t options_size)
{
    const struct inet_tcp_service *service = find_service(swap16(tcp->to));

    if (service == NULL) {
        refuse(peer, tcp);
        return;
    }
    struct connection *c = take_place();
    *c = (struct connection){.open = true,
                             .peer = *peer,
                             .port = swap16(tcp->to),
                             .peer_port = swap16(tcp->from),
                             .service = service,
                             .next = FIRST_NUMBER,
                             .unacked = FIRST_NUMBER,
                             .expected = swap32(tcp->sequence) + 1,
                             .used = ++clock};
    read_options(c, options, options_size);
    if (c->mss > own_mss(peer))
        c->mss = own_mss(peer);
    send(c, TCP_SYN | TCP_ACK, NULL, 0, 0);
}

/* Send what the window lets through. */
static bool send_endless(struct connection *c)
{
    bool cut = !c->peer.v6 && card.device.features & CARD_F_HOST_TSO4;
    size_t most = cut ? LARGE_MAX / c->mss * c->mss : c->mss;
    uint32_t in_flight = c->next - c->unacked;
    bool sent = false;

    while (!c->closing && c->window > in_flight && c->window - in_flight >= c->mss) {
        size_t size = c->window - in_flight < most ? (c->window - in_flight) / c->mss * c->mss
                                                   : most;
        send(c, TCP_ACK, NULL, 0, size);
        in_flight += (uint32_t)size;
        sent = true;
    }
    return sent;
}

static void take_acknowledgement(struct connection *c, const struct tcp *tcp, size_t data_size)
{
    uint32_t number = swap32(tcp->acknowledged);
    uint32_t window = (uint32_t)swap16(tcp->window) << c->shift;

    if ((int32_t)(number - c->unacked) > 0 && (int32_t)(number - c->next) <= 0) {
        c->unacked = number;
        c->duplicates = 0;
    } else if (number == c->unacked && number != c->next && data_size == 0 && window == c->window &&
               ++c->duplicates == DUPLICATES) {
        c->next = c->unacked; /* something was lost: start again from there */
    }
    c->window = window;
    if (!c->established) {
        c->established = true;
        inet.connections++;
    }
}

/* Data and the end of data, in order or not at all. */
static void take_data(struct connection *c, const struct tcp *tcp, const uint8_t *data, size_t size)
{
    uint8_t reply[INET_REPLY_MAX];
    bool close = false, end = tcp->flags & TCP_FIN;
    uint32_t ahead = c->expected - swap32(tcp->sequence);

    if (size == 0 && !end)
        return;
    if (ahead > size || (ahead == size && !end)) {
        send(c, TCP_ACK, NULL, 0, 0); /* lost or repeated */
        return;
    }
    data += ahead;
    size -= ahead;
    c->expected += (uint32_t)size + end;
    inet.tcp_bytes_received += size;
    c->answer_due = true;
    while (size != 0 && c->service->received != NULL && !c->closing) {
        size_t part = size < INET_REPLY_MAX ? size : INET_REPLY_MAX;
        size_t answer = c->service->received(data, part, reply, &close);
        if (answer != 0)
            send(c, TCP_ACK | TCP_PSH, reply, answer, 0);
        data += part;
        size -= part;
    }
    if ((close || end) && !c->closing) {
        c->closing = true;
        send(c, TCP_ACK | TCP_FIN, NULL, 0, 0);
    }
}

void inet_tcp_handle(const struct inet_peer *from, const uint8_t *data, size_t size)
{
    struct tcp tcp;

    if (size < sizeof tcp)
        return;
    memcpy(&tcp, data, sizeof tcp);
    size_t header = (size_t)(tcp.offset >> 4) * 4;
    if (header < sizeof tcp || header > size)
        return;
    struct connection *c = find(from, &tcp);
    if ((tcp.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN) {
        if (c != NULL)
            c->open = false;
        accept(from, &tcp, data + sizeof tcp, header - sizeof tcp);
        return;
    }
    if (c == NULL || (tcp.flags & TCP_RST)) {
        if (c == NULL)
            refuse(from, &tcp);
        else
            c->open = false;
        return;
    }
    c->used = ++clock;
    if (tcp.flags & TCP_ACK)
        take_acknowledgement(c, &tcp, size - header);
    take_data(c, &tcp, data + header, size - header);
    if (c->closing && c->unacked == c->next && (tcp.flags & TCP_ACK) && !c->answer_due)
        c->open = false;
}

bool inet_tcp_work(void)
{
    bool worked = false;

    for (unsigned i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        if (c->open && c->established && c->service->endless)
            worked |= send_endless(c);
        if (c->open && c->answer_due)
            send(c, TCP_ACK, NULL, 0, 0);
    }
    return worked;
}
