/*
 * The user-mode back end: a guest made of frames in front of libslirp, real sockets behind it. Runs
 * in a network namespace of its own, where the host has the address 192.0.2.1 beside the loopback
 * ones; without permission for that, what needs it is skipped.
 */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/user.h"
#include "net_fixture.h"

#define ETHERNET 14
#define IPV4     20
#define UDP      8
#define TCP_RST  0x04
#define TCP_SYN  0x02
#define TCP_ACK  0x10

static struct net_fixture fixture;
static struct uhyve_error error;
static const struct log silent;
static bool isolated; /* there is a namespace with 192.0.2.1 */
static const uint8_t guest_mac[6] = {2, 0, 0, 0, 0, 1},
                     broadcast[6] = {255, 255, 255, 255, 255, 255};
static const uint8_t guest_ip[4] = {10, 0, 5, 3}, gateway_ip[4] = {10, 0, 5, 1};

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

static int make_namespace(void **state)
{
    struct ifreq request = {.ifr_name = "lo"};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
    char map[64];
    unsigned uid = getuid(), gid = getgid();

    if (unshare(CLONE_NEWNET) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
            return 0;
        snprintf(map, sizeof map, "0 %u 1", uid);
        write_text("/proc/self/uid_map", map);
        write_text("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", gid);
        write_text("/proc/self/gid_map", map);
    }
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    request.ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
    isolated = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    strcpy(request.ifr_name, "lo:1");
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr.s_addr = inet_addr("192.0.2.1")};
    isolated = isolated && ioctl(fd, SIOCSIFADDR, &request) == 0;
    close(fd);
    return 0;
}

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static unsigned get16(const uint8_t *from)
{
    return (unsigned)from[0] << 8 | from[1];
}

static unsigned add_sum(unsigned sum, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum += i % 2 ? bytes[i] : (unsigned)bytes[i] << 8;
    return sum;
}

static unsigned fold(unsigned sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

/* Send an IPv4 packet; `payload` has a zeroed checksum at `checksum`. */
static void send_ipv4(const uint8_t to[4], uint8_t protocol, uint8_t *payload, size_t size,
                      size_t checksum)
{
    uint8_t frame[1600] = {0}, *ip = frame + ETHERNET;

    memcpy(frame, broadcast, 6);
    memcpy(frame + 6, guest_mac, 6);
    put16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(IPV4 + size));
    ip[8] = 64;
    ip[9] = protocol;
    memcpy(ip + 12, guest_ip, 4);
    memcpy(ip + 16, to, 4);
    put16(ip + 10, fold(add_sum(0, ip, IPV4)));
    unsigned sum = add_sum(protocol + (unsigned)size, ip + 12, 8);
    put16(payload + checksum, fold(add_sum(sum, payload, size)));
    memcpy(ip + IPV4, payload, size);
    net_fixture_send(&fixture, frame, ETHERNET + IPV4 + size);
}

static void send_udp(const uint8_t to[4], unsigned from_port, unsigned to_port, const void *data,
                     size_t size)
{
    uint8_t packet[1480] = {0};

    put16(packet, from_port);
    put16(packet + 2, to_port);
    put16(packet + 4, (unsigned)(UDP + size));
    memcpy(packet + UDP, data, size);
    send_ipv4(to, 17, packet, UDP + size, 6);
}

static void answer_arp(const uint8_t *frame)
{
    uint8_t reply[42] = {0};

    if (get16(frame + 20) != 1 || memcmp(frame + 38, guest_ip, 4) != 0)
        return;
    memcpy(reply, frame + 6, 6);
    memcpy(reply + 6, guest_mac, 6);
    memcpy(reply + 12, frame + 12, 8);
    put16(reply + 20, 2);
    memcpy(reply + 22, guest_mac, 6);
    memcpy(reply + 28, guest_ip, 4);
    memcpy(reply + 32, frame + 22, 10);
    net_fixture_send(&fixture, reply, sizeof reply);
}

/* The payload of the next IPv4 packet with this protocol; answers what asks for the guest. */
static const uint8_t *next_ipv4(uint8_t protocol, size_t *size, const uint8_t **ip)
{
    for (;;) {
        size_t length;
        const uint8_t *frame = net_fixture_next(&fixture, &length);
        assert_true(length >= ETHERNET);
        if (get16(frame + 12) == 0x0806)
            answer_arp(frame);
        if (get16(frame + 12) != 0x0800 || frame[ETHERNET + 9] != protocol)
            continue;
        *ip = frame + ETHERNET;
        *size = get16(*ip + 2) - IPV4;
        return *ip + IPV4;
    }
}

static int start_with(const struct uhyve_forward *forwards, size_t count)
{
    const struct uhyve_net config = {
        .kind = UHYVE_NET_USER, .name = "user", .forwards = forwards, .forward_count = count};
    struct net_backend *net;

    int err = net_user_open(&config, &silent, &net, &error);
    if (!err)
        net_fixture_start(&fixture, net);
    return err;
}

static int start(void **state)
{
    if (start_with(NULL, 0) != 0)
        fail_msg("%s", error.message);
    return 0;
}

static int end(void **state)
{
    net_fixture_end(&fixture);
    return 0;
}

static int listen_on(int type, const char *address, uint16_t *port)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(address)};
    socklen_t size = sizeof name;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    if (type == SOCK_STREAM)
        assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
    *port = ntohs(name.sin_port);
    return fd;
}

/* A port that was free a moment ago. */
static uint16_t free_port(int type)
{
    uint16_t port;
    close(listen_on(type, "0.0.0.0", &port));
    return port;
}

static void dhcp_gives_the_address_that_hermit_expects(void **state)
{
    static const uint8_t options[] = {99, 130, 83, 99, 53, 1, 1, 55, 3, 1, 3, 6, 255};
    static const uint8_t everyone[4] = {255, 255, 255, 255};
    uint8_t request[300] = {1, 1, 6, 0, 1, 2, 3, 4};
    const uint8_t *ip, *reply;
    size_t size;
    unsigned seen = 0;

    memcpy(request + 28, guest_mac, 6);
    memcpy(request + 236, options, sizeof options);
    send_udp(everyone, 68, 67, request, sizeof request);
    reply = next_ipv4(17, &size, &ip) + UDP;
    assert_true(size > UDP + 240);
    assert_int_equal(reply[0], 2);
    assert_memory_equal(reply + 16, guest_ip, 4);
    for (const uint8_t *option = reply + 240; *option != 255; option += option[1] + 2) {
        static const uint8_t mask[] = {255, 255, 255, 0}, dns[] = {10, 0, 5, 2};
        if (*option == 53)
            seen += option[2] == 2; /* an offer */
        if (*option == 1)
            seen += memcmp(option + 2, mask, 4) == 0;
        if (*option == 3)
            seen += memcmp(option + 2, gateway_ip, 4) == 0;
        if (*option == 6)
            seen += memcmp(option + 2, dns, 4) == 0;
    }
    assert_int_equal(seen, 4);
}

static void datagrams_reach_the_host_and_come_back(void **state)
{
    static const uint8_t host[4] = {192, 0, 2, 1};
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    char data[64];
    const uint8_t *ip, *udp;
    size_t size;
    uint16_t port;

    if (!isolated)
        skip();
    int fd = listen_on(SOCK_DGRAM, "192.0.2.1", &port);
    send_udp(host, 5000, port, "question", 8);
    assert_int_equal(recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &from_size), 8);
    assert_memory_equal(data, "question", 8);
    sendto(fd, "answer", 6, 0, (struct sockaddr *)&from, from_size);
    udp = next_ipv4(17, &size, &ip);
    assert_memory_equal(ip + 12, host, 4);
    assert_memory_equal(ip + 16, guest_ip, 4);
    assert_int_equal(get16(udp), port);
    assert_int_equal(get16(udp + 2), 5000);
    assert_int_equal(size, UDP + 6);
    assert_memory_equal(udp + UDP, "answer", 6);
    close(fd);
}

/* What listens for the host alone is not for the guest, whatever name it has for it. */
static void the_hosts_own_addresses_are_out_of_reach(void **state)
{
    static const uint8_t refused[][4] = {
        {127, 0, 0, 1}, {127, 1, 2, 3}, {0, 0, 0, 0}, {10, 0, 5, 1}, {10, 0, 5, 2}};
    static const uint8_t host[4] = {192, 0, 2, 1};
    char data[64];
    uint16_t port;

    if (!isolated)
        skip();
    int fd = listen_on(SOCK_DGRAM, "0.0.0.0", &port);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        send_udp(refused[i], (unsigned)(5000 + i), port, "refused", 7);
    send_udp(host, 6000, port, "permitted", 9);
    assert_int_equal(recv(fd, data, sizeof data, 0), 9);
    struct pollfd more = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&more, 1, 0), 0);
    close(fd);
}

static int connect_to(int type, uint16_t port)
{
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    int err = connect(fd, (struct sockaddr *)&name, sizeof name);
    assert_true(err == 0 || errno == EINPROGRESS);
    return fd;
}

/* Before anybody accepts them. */
static void many_connections_can_wait(void **state)
{
    const struct uhyve_forward forward = {
        .host_address = "127.0.0.1", .host_port = free_port(SOCK_STREAM), .guest_port = 80};
    const struct uhyve_net config = {
        .kind = UHYVE_NET_USER, .name = "user", .forwards = &forward, .forward_count = 1};
    struct pollfd sockets[30];
    struct net_backend *net;

    if (net_user_open(&config, &silent, &net, &error) != 0)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < 30; i++)
        sockets[i] = (struct pollfd){connect_to(SOCK_STREAM, forward.host_port), POLLOUT, 0};
    for (size_t i = 0; i < 30; i++) {
        /* One that found no place would try again after a second. */
        assert_int_equal(poll(&sockets[i], 1, 500), 1);
        assert_int_equal(sockets[i].revents, POLLOUT);
        close(sockets[i].fd);
    }
    net_close(net);
}

static void forwarded_connections_arrive_at_the_guest(void **state)
{
    const struct uhyve_forward forward = {
        .host_address = "127.0.0.1", .host_port = free_port(SOCK_STREAM), .guest_port = 80};
    const uint8_t *ip, *tcp;
    uint8_t reset[20] = {0};
    size_t size;

    if (start_with(&forward, 1) != 0)
        fail_msg("%s", error.message);
    int fd = connect_to(SOCK_STREAM, forward.host_port);
    tcp = next_ipv4(6, &size, &ip);
    assert_memory_equal(ip + 16, guest_ip, 4);
    assert_int_equal(get16(tcp + 2), 80);
    assert_int_equal(tcp[13], TCP_SYN);
    /* Refuse it: the host's side is told. */
    memcpy(reset, tcp + 2, 2);
    memcpy(reset + 2, tcp, 2);
    uint32_t sequence;
    memcpy(&sequence, tcp + 4, 4);
    sequence = htonl(ntohl(sequence) + 1);
    memcpy(reset + 8, &sequence, 4);
    reset[12] = 0x50;
    reset[13] = TCP_RST | TCP_ACK;
    uint8_t peer[4];
    memcpy(peer, ip + 12, 4);
    send_ipv4(peer, 6, reset, sizeof reset, 16);
    struct pollfd done = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&done, 1, 10000), 1);
    char byte;
    assert_true(read(fd, &byte, 1) <= 0);
    close(fd);
    end(NULL);
}

static void forwarded_datagrams_go_both_ways(void **state)
{
    const struct uhyve_forward forward = {
        .udp = true, .host_port = free_port(SOCK_DGRAM), .guest_port = 53};
    const uint8_t *ip, *udp;
    char data[16];
    size_t size;
    uint8_t peer[4];

    if (start_with(&forward, 1) != 0)
        fail_msg("%s", error.message);
    int fd = connect_to(SOCK_DGRAM, forward.host_port);
    assert_int_equal(send(fd, "question", 8, 0), 8);
    udp = next_ipv4(17, &size, &ip);
    assert_int_equal(get16(udp + 2), 53);
    assert_memory_equal(udp + UDP, "question", 8);
    memcpy(peer, ip + 12, 4);
    send_udp(peer, 53, get16(udp), "answer", 6);
    struct pollfd done = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&done, 1, 10000), 1);
    assert_int_equal(recv(fd, data, sizeof data, 0), 6);
    assert_memory_equal(data, "answer", 6);
    close(fd);
    end(NULL);
}

static void assert_refused(const struct uhyve_forward *forward, int status, const char *why)
{
    assert_true(start_with(forward, 1) < 0);
    assert_int_equal(error.status, status);
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
}

static void a_used_port_is_named(void **state)
{
    struct uhyve_forward forward = {.guest_port = 80};
    char name[32];

    int fd = listen_on(SOCK_STREAM, "0.0.0.0", &forward.host_port);
    snprintf(name, sizeof name, "TCP port %u", forward.host_port);
    assert_refused(&forward, UHYVE_STATUS_FAILED, name);
    assert_non_null(strstr(error.message, "Address already in use"));
    close(fd);
    strcpy(forward.host_address, "198.51.100.1");
    assert_refused(&forward, UHYVE_STATUS_FAILED, "198.51.100.1");
    strcpy(forward.guest_address, "fd00:a:5::7");
    assert_refused(&forward, UHYVE_STATUS_USAGE, "both be IPv4 or both IPv6");
}

/* Whatever a guest sends, the network stays up. */
static void random_frames_do_no_harm(void **state)
{
    uint8_t frame[1514];
    unsigned random = 1;

    for (unsigned i = 0; i < 3000; i++) {
        size_t size = 1 + i % sizeof frame;
        for (size_t j = 0; j < size; j++)
            frame[j] = (uint8_t)((random = random * 1103515245 + 12345) >> 16);
        if (i % 2 && size > ETHERNET + IPV4) {
            put16(frame + 12, i % 4 == 1 ? 0x0800 : 0x86dd);
            frame[ETHERNET] = i % 4 == 1 ? 0x45 : 0x60;
        }
        net_fixture_send(&fixture, frame, size);
    }
    net_fixture_forget(&fixture);
    dhcp_gives_the_address_that_hermit_expects(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(dhcp_gives_the_address_that_hermit_expects, start, end),
        cmocka_unit_test_setup_teardown(datagrams_reach_the_host_and_come_back, start, end),
        cmocka_unit_test_setup_teardown(the_hosts_own_addresses_are_out_of_reach, start, end),
        cmocka_unit_test(many_connections_can_wait),
        cmocka_unit_test(forwarded_connections_arrive_at_the_guest),
        cmocka_unit_test(forwarded_datagrams_go_both_ways),
        cmocka_unit_test(a_used_port_is_named),
        cmocka_unit_test_setup_teardown(random_frames_do_no_harm, start, end),
    };
    return cmocka_run_group_tests(tests, make_namespace, NULL);
}
