/*
 * A host on the network: answers ARP and ping, and serves
 *
 *     UDP 7   echo                       TCP 7   echo
 *     UDP 9   discard                    TCP 9   discard
 *     UDP 5   ends the guest; the        TCP 19  sends without end
 *             exit code is the data      TCP 80  "ok" to every request, as HTTP
 *     UDP 6   resets the card, starts it again
 *
 * Application arguments: address (10.0.5.3), interrupts (level, edge or poll), features (all,
 * none), "ipv6". Says "ready" when it is, and in the end what it has seen. With the last one it
 * also serves at address 3 of the IPv6 network that a router announces, once that and the address 1
 * have answered.
 */
#include <stdbool.h>

#include "lib/args.h"
#include "lib/card.h"
#include "lib/inet.h"
#include "lib/print.h"
#include "lib/text.h"

#define PORT_END     5
#define PORT_RESTART 6
#define PORT_ECHO    7
#define PORT_DISCARD 9
#define PORT_ENDLESS 19
#define PORT_HTTP    80

#define PINGS 3

static bool ended, restart;
static int exit_code;

static size_t serve_udp(uint16_t port, const uint8_t *data, size_t size, uint8_t *reply)
{
    switch (port) {
    case PORT_END:
        ended = true;
        exit_code = size != 0 ? data[0] - '0' : 0;
        memcpy(reply, data, size);
        return size;
    case PORT_RESTART:
        restart = true;
        return 0;
    case PORT_ECHO:
        memcpy(reply, data, size);
        return size;
    }
    return 0;
}

static size_t echo(const uint8_t *data, size_t size, uint8_t *reply, bool *close)
{
    (void)close;
    memcpy(reply, data, size);
    return size;
}

/* A request is what comes in one piece. HTTP/1.0: this side ends the connection. */
static size_t serve_http(const uint8_t *data, size_t size, uint8_t *reply, bool *close)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    static const char once[] = "GET / HTTP/1.0";

    *close = size < sizeof once || memcmp(data, "GET ", 4) != 0 ||
             memcmp(data, once, sizeof once - 1) == 0;
    memcpy(reply, answer, sizeof answer - 1);
    return sizeof answer - 1;
}

static const struct inet_tcp_service services[] = {
    {.port = PORT_ECHO, .received = echo},
    {.port = PORT_DISCARD},
    {.port = PORT_ENDLESS, .endless = true},
    {.port = PORT_HTTP, .received = serve_http},
};

static enum card_interrupts interrupts_wanted(void)
{
    if (text_equal(args_app(1), "poll"))
        return CARD_POLL;
    return text_equal(args_app(1), "edge") ? CARD_EDGE : CARD_LEVEL;
}

static bool start(void)
{
    bool none = text_equal(args_app(2), "none");

    if (!card_start(none ? CARD_F_MAC : CARD_F_ALL, interrupts_wanted())) {
        print("no network card\n");
        return false;
    }
    print("ready %02x:%02x:%02x:%02x:%02x:%02x mtu %u features %lx\n", card.mac[0], card.mac[1],
          card.mac[2], card.mac[3], card.mac[4], card.mac[5], card.mtu, card.device.features);
    return true;
}

/* One step further whenever an answer has come. */
static void discover_ipv6(void)
{
    static uint8_t gateway[16];
    static unsigned step;

    switch (step) {
    case 0:
        inet6_init(3);
        inet6_ask_for_router();
        break;
    case 1:
        if (!inet6.has_prefix)
            return;
        memcpy(gateway, inet6.address, sizeof gateway);
        gateway[15] = 1;
        inet6_ask_for_neighbour(gateway);
        break;
    case 2:
        if (!inet6.has_neighbour)
            return;
        for (unsigned i = 0; i < PINGS; i++)
            inet6_ping(inet6.neighbour_mac, gateway, 1000);
        break;
    case 3:
        if (inet6.echo_replies < PINGS)
            return;
        print("ipv6 %02x%02x:%02x%02x:%02x%02x:%02x%02x::%x\n", inet6.address[0], inet6.address[1],
              inet6.address[2], inet6.address[3], inet6.address[4], inet6.address[5],
              inet6.address[6], inet6.address[7], inet6.address[15]);
        break;
    default:
        return;
    }
    step++;
    card_flush();
}

int main(void)
{
    args_load();
    const char *address = args_app(0);
    inet_init(inet_address(*address ? address : "10.0.5.3"), serve_udp, services,
              sizeof services / sizeof *services);
    if (!start())
        return 2;
    while (!ended) {
        const struct card_header *header;
        const uint8_t *frame;
        size_t size;

        while (!restart && (frame = card_receive(&size, &header)) != NULL)
            inet_handle(frame, size, header->flags != 0);
        if (text_equal(args_app(3), "ipv6"))
            discover_ipv6();
        bool busy = inet_work();
        card_flush();
        if (restart && !(restart = false) && !start())
            return 2;
        if (!busy && !ended)
            card_wait();
    }
    print("interrupts %lu udp %lu tcp %lu/%lu connections %lu bad %lu lost %lu\n",
          card.interrupt_count, inet.udp_received, inet.tcp_bytes_received, inet.tcp_bytes_sent,
          inet.connections, inet.bad_checksums, card.lost);
    return exit_code;
}
