/*
 * Gets its address by DHCP (RFC 2131, 2132), as the clients of Hermit kernels do: DISCOVER, OFFER,
 * REQUEST, ACK, all by broadcast. Prints what it was given.
 *
 * Application arguments: a name to ask the announced name server for (RFC 1035), none if missing.
 * Exit codes: 0, 1 if an answer makes no sense, 2 without a network card.
 */
#include <stdbool.h>

#include "lib/args.h"
#include "lib/card.h"
#include "lib/inet.h"
#include "lib/inet_wire.h"
#include "lib/print.h"
#include "lib/text.h"

#define PORT_DHCP_SERVER 67
#define PORT_DHCP_CLIENT 68
#define PORT_DNS         53
#define PORT_ASK         4053 /* where answers of the name server arrive */

#define TRANSACTION 0x68657264
#define COOKIE      0x63825363 /* options follow */

enum {
    OPTION_MASK = 1,
    OPTION_ROUTER = 3,
    OPTION_NAME_SERVER = 6,
    OPTION_REQUESTED = 50,
    OPTION_LEASE = 51,
    OPTION_TYPE = 53,
    OPTION_SERVER = 54,
    OPTION_WANTED = 55,
    OPTION_SIZE_MAX = 57,
    OPTION_CLIENT = 61,
    OPTION_END = 255,
};

enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5 };

struct WIRE dhcp {
    uint8_t operation, hardware, hardware_size, hops;
    uint32_t transaction;
    uint16_t seconds, flags;
    uint32_t client, yours, server, relay;
    uint8_t mac[16], server_name[64], file[128];
    uint32_t cookie;
    uint8_t options[312];
};

struct WIRE dns {
    uint16_t id, flags, questions, answers, authorities, additional;
    uint8_t rest[256];
};

/* What the server has said last. Numbers as on the wire. */
static struct {
    uint8_t type;
    uint32_t address, mask, router, name_server, server, lease;
} lease;

static const uint8_t everyone[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static uint32_t question_id, resolved;
static size_t question_size;
static bool answered;

static uint8_t *put(uint8_t *at, uint8_t option, const void *value, uint8_t size)
{
    *at++ = option;
    *at++ = size;
    memcpy(at, value, size);
    return at + size;
}

static void say(uint8_t type)
{
    static const uint8_t wanted[] = {OPTION_MASK, OPTION_ROUTER, OPTION_NAME_SERVER};
    struct dhcp packet = {.operation = 1,
                          .hardware = 1,
                          .hardware_size = 6,
                          .transaction = swap32(TRANSACTION),
                          .cookie = swap32(COOKIE)};
    uint8_t client[7] = {1}, *at = packet.options;
    uint16_t size_max = swap16(1432);

    memcpy(packet.mac, card.mac, 6);
    memcpy(client + 1, card.mac, 6);
    at = put(at, OPTION_TYPE, &type, 1);
    at = put(at, OPTION_CLIENT, client, sizeof client);
    if (type == REQUEST) {
        at = put(at, OPTION_REQUESTED, &lease.address, 4);
        at = put(at, OPTION_SERVER, &lease.server, 4);
    }
    at = put(at, OPTION_SIZE_MAX, &size_max, 2);
    at = put(at, OPTION_WANTED, wanted, sizeof wanted);
    *at++ = OPTION_END;
    inet_send_udp(everyone, UINT32_MAX, PORT_DHCP_CLIENT, PORT_DHCP_SERVER, &packet,
                  (size_t)(at - (uint8_t *)&packet));
    card_flush();
}

static void take_option(uint8_t option, const uint8_t *value, size_t size)
{
    static const struct {
        uint8_t option;
        uint32_t *to;
    } numbers[] = {
        {OPTION_MASK, &lease.mask},
        {OPTION_ROUTER, &lease.router},
        {OPTION_NAME_SERVER, &lease.name_server},
        {OPTION_LEASE, &lease.lease},
        {OPTION_SERVER, &lease.server},
    };

    if (option == OPTION_TYPE && size == 1)
        lease.type = *value;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].option == option && size >= 4)
            memcpy(numbers[i].to, value, 4); /* the first of a list */
}

static void take_dhcp(const uint8_t *data, size_t size)
{
    struct dhcp packet;
    size_t head = sizeof packet - sizeof packet.options, at = 0;

    if (size < head)
        return;
    memset(&packet, 0, sizeof packet);
    size = size < sizeof packet ? size : sizeof packet;
    memcpy(&packet, data, size);
    size -= head;
    if (packet.operation != 2 || packet.transaction != swap32(TRANSACTION) ||
        packet.cookie != swap32(COOKIE) || memcmp(packet.mac, card.mac, 6) != 0)
        return;
    memset(&lease, 0, sizeof lease);
    lease.address = packet.yours;
    while (at + 2 <= size && packet.options[at] != OPTION_END) {
        size_t length = packet.options[at + 1];
        if (packet.options[at] == 0) { /* padding */
            at++;
            continue;
        }
        if (at + 2 + length > size)
            return;
        take_option(packet.options[at], packet.options + at + 2, length);
        at += 2 + length;
    }
}

/* The first answer, if its type is A. Its name is a reference to that of the question. */
static void take_dns(const uint8_t *data, size_t size)
{
    static const uint8_t type_a[] = {0xc0, 12, 0, 1, 0, 1};
    struct dns packet;
    const uint8_t *answer = packet.rest + question_size;

    if (size < 12 || size > sizeof packet)
        return;
    memset(&packet, 0, sizeof packet);
    memcpy(&packet, data, size);
    if (packet.id != question_id)
        return;
    answered = true;
    if (packet.answers != 0 && 12 + question_size + 16 <= size &&
        memcmp(answer, type_a, sizeof type_a) == 0)
        memcpy(&resolved, answer + 12, 4);
}

static size_t take(uint16_t port, const uint8_t *data, size_t size, uint8_t *reply)
{
    (void)reply;
    if (port == PORT_DHCP_CLIENT)
        take_dhcp(data, size);
    else if (port == PORT_ASK)
        take_dns(data, size);
    return 0;
}

/* Take frames until `*flag` is not 0. With `mac`, until the answer to a question for a MAC. */
static void wait_until(const volatile void *flag, uint8_t mac[6])
{
    const struct card_header *header;
    const uint8_t *frame;
    size_t size;

    for (;;) {
        while ((frame = card_receive(&size, &header)) != NULL) {
            struct WIRE {
                struct ethernet ethernet;
                struct arp arp;
            } packet;
            if (mac != NULL && size >= sizeof packet) {
                memcpy(&packet, frame, sizeof packet);
                if (packet.ethernet.type == swap16(ETHERNET_ARP) &&
                    packet.arp.operation == swap16(2) && packet.arp.sender == lease.name_server) {
                    memcpy(mac, packet.arp.sender_mac, 6);
                    return;
                }
            }
            inet_handle(frame, size, header->flags != 0);
        }
        card_flush();
        if (flag != NULL && *(const volatile uint8_t *)flag != 0)
            return;
        card_wait();
    }
}

/* The MAC of the name server. */
static void find_name_server(uint8_t mac[6])
{
    struct WIRE {
        struct ethernet ethernet;
        struct arp arp;
    } packet = {
        .ethernet = {.type = swap16(ETHERNET_ARP)},
        .arp = {.hardware = swap16(1),
                .protocol = swap16(ETHERNET_IPV4),
                .hardware_size = 6,
                .protocol_size = 4,
                .operation = swap16(1),
                .sender = lease.address,
                .target = lease.name_server},
    };

    memcpy(packet.ethernet.to, everyone, 6);
    memcpy(packet.ethernet.from, card.mac, 6);
    memcpy(packet.arp.sender_mac, card.mac, 6);
    card_send(&packet, sizeof packet, NULL, 0, NULL);
    card_flush();
    wait_until(NULL, mac);
}

static void ask(const char *name)
{
    struct dns packet = {.id = swap16(0x7579), .flags = swap16(0x0100), .questions = swap16(1)};
    uint8_t mac[6], *at = packet.rest;

    while (*name) {
        const char *dot = text_find(name, '.');
        size_t length = dot != NULL ? (size_t)(dot - name) : text_length(name);
        *at++ = (uint8_t)length;
        memcpy(at, name, length);
        at += length;
        name += dot != NULL ? length + 1 : length;
    }
    *at++ = 0;
    memcpy(at, (const uint8_t[]){0, 1, 0, 1}, 4); /* A, Internet */
    question_size = (size_t)(at + 4 - packet.rest);
    question_id = packet.id;
    find_name_server(mac);
    inet_send_udp(mac, swap32(lease.name_server), PORT_ASK, PORT_DNS, &packet, 12 + question_size);
    card_flush();
    wait_until(&answered, NULL);
}

static void show(const char *what, uint32_t address)
{
    const uint8_t *part = (const uint8_t *)&address;
    print("%s %u.%u.%u.%u\n", what, part[0], part[1], part[2], part[3]);
}

int main(void)
{
    args_load();
    const char *name = args_app(0);
    inet_init(0, take, NULL, 0);
    if (!card_start(CARD_F_ALL, CARD_LEVEL)) {
        print("no network card\n");
        return 2;
    }
    say(DISCOVER);
    wait_until(&lease.type, NULL);
    if (lease.type != OFFER)
        return 1;
    lease.type = 0;
    say(REQUEST);
    wait_until(&lease.type, NULL);
    if (lease.type != ACK)
        return 1;
    inet.address = swap32(lease.address);
    show("address", lease.address);
    show("mask", lease.mask);
    show("router", lease.router);
    show("names", lease.name_server);
    show("server", lease.server);
    print("lease %u s\n", swap32(lease.lease));
    if (text_length(name) == 0 || text_length(name) > 200)
        return 0;
    ask(name);
    if (resolved == 0)
        return 1;
    show(name, resolved);
    return 0;
}
