/*
 * The other side of guests/net-server.c, on ordinary sockets.
 *
 *     net-peer [-b BASE] ADDRESS COMMAND...
 *
 *     wait                 until the guest answers on UDP port 7
 *     udp-echo COUNT SIZE  datagrams that must come back
 *     tcp-echo SIZE        bytes that must come back
 *     tcp-late SIZE        the same, read a while after the last byte was sent
 *     http COUNT           requests with a connection each; COUNT/N: N requests on each connection
 *     http-end COUNT       the same, with connections that the guest ends
 *     requests COUNT       as http: prints microseconds for one
 *     hold COUNT           begins as many connections for two seconds; the first one echoes (IPv4)
 *     latency COUNT        bytes there and back on one connection: prints microseconds for one
 *     discard MIB          sends to the guest: prints MB/s
 *     endless MIB          receives from the guest: prints MB/s
 *     bulk MIB             both, one after the other: prints MB/s over all
 *     end DIGIT            ends the guest with this exit code
 *     restart              has the guest reset its card
 *     flood COUNT          datagrams to UDP port 9, as fast as can be
 *     trickle SECONDS      one every millisecond
 *     names ANSWER         a name server on UDP port 53 of ADDRESS: every name has this address;
 *                          says "ready" and does not end
 *
 * ADDRESS may be one of IPv6. BASE is added to the guest's port numbers, for ports that are
 * forwarded. Exits with 0 if all went as it should.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT_END     5
#define PORT_RESTART 6
#define PORT_ECHO    7
#define PORT_DISCARD 9
#define PORT_ENDLESS 19
#define PORT_HTTP    80

#define TIMEOUT_MS 10000
#define CHUNK      (256 * 1024)

static const char *address;
static int base;
static uint8_t out[CHUNK], in[CHUNK];

static void fail(const char *what)
{
    fprintf(stderr, "net-peer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_socket(int type, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(base + port))};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = to.sin_port};
    const struct timeval timeout = {.tv_sec = TIMEOUT_MS / 1000};
    bool v6 = strchr(address, ':') != NULL;
    int one = 1, fd = socket(v6 ? AF_INET6 : AF_INET, type, 0);

    if (v6 ? inet_pton(AF_INET6, address, &to6.sin6_addr) != 1
           : inet_pton(AF_INET, address, &to.sin_addr) != 1) {
        fprintf(stderr, "net-peer: '%s' is not an address\n", address);
        exit(2);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one);
    if (type == SOCK_STREAM)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (v6 ? connect(fd, (struct sockaddr *)&to6, sizeof to6) != 0
           : connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        fail("connect");
    return fd;
}

static void send_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0)
            fail("send");
        data += sent;
        size -= (size_t)sent;
    }
}

static void receive_all(int fd, uint8_t *data, size_t size)
{
    while (size) {
        ssize_t got = recv(fd, data, size, 0);
        if (got == 0)
            errno = ECONNRESET;
        if (got <= 0)
            fail("receive");
        data += got;
        size -= (size_t)got;
    }
}

/* One datagram there and back within the time; 1 if it came back as it was. */
static int exchange(int fd, const void *data, size_t size, int timeout_ms)
{
    struct pollfd poll_fd = {fd, POLLIN, 0};

    if (send(fd, data, size, 0) < 0 && errno != ECONNREFUSED)
        fail("send");
    while (poll(&poll_fd, 1, timeout_ms) > 0) {
        ssize_t got = recv(fd, in, sizeof in, MSG_DONTWAIT);
        if (got == (ssize_t)size && memcmp(in, data, size) == 0)
            return 1;
    }
    return 0;
}

static int wait_for_guest(void)
{
    int fd = open_socket(SOCK_DGRAM, PORT_ECHO);

    for (int i = 0; i < TIMEOUT_MS / 50; i++)
        if (exchange(fd, "are you there", 13, 50))
            return 0;
    fprintf(stderr, "net-peer: the guest does not answer\n");
    return 1;
}

static int udp_echo(long count, size_t size)
{
    int fd = open_socket(SOCK_DGRAM, PORT_ECHO);

    for (long i = 0; i < count; i++) {
        for (size_t k = 0; k < size; k++)
            out[k] = (uint8_t)(i + (long)k);
        if (!exchange(fd, out, size, TIMEOUT_MS)) {
            fprintf(stderr, "net-peer: datagram %ld did not come back\n", i);
            return 1;
        }
    }
    return 0;
}

static int tcp_echo(size_t size)
{
    int fd = open_socket(SOCK_STREAM, PORT_ECHO);

    for (size_t done = 0; done < size;) {
        size_t part = size - done < 16384 ? size - done : 16384;
        for (size_t i = 0; i < part; i++)
            out[i] = (uint8_t)((done + i) * 7);
        send_all(fd, out, part);
        receive_all(fd, in, part);
        if (memcmp(in, out, part) != 0) {
            fprintf(stderr, "net-peer: other bytes came back\n");
            return 1;
        }
        done += part;
    }
    return 0;
}

/* What comes back has to wait, somewhere, until long after both sides have ended the connection. */
static int tcp_late(size_t size)
{
    int small = 4096, fd = open_socket(SOCK_STREAM, PORT_ECHO);

    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (size_t i = 0; i < size; i++)
        out[i] = (uint8_t)(i * 7 + i / 256);
    send_all(fd, out, size);
    shutdown(fd, SHUT_WR);
    nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL);
    receive_all(fd, in, size);
    if (memcmp(in, out, size) == 0 && recv(fd, in, 1, 0) == 0)
        return 0;
    fprintf(stderr, "net-peer: other bytes came back\n");
    return 1;
}

/* Returns microseconds for each, or -1. */
static double http(long count, long per_connection, bool guest_ends)
{
    const char *request = guest_ends ? "GET / HTTP/1.0\r\nHost: guest\r\n\r\n"
                                     : "GET / HTTP/1.1\r\nHost: guest\r\n\r\n";
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
    double start = now();
    int fd = -1;

    for (long i = 0; i < count; i++) {
        if (i % per_connection == 0) {
            if (fd >= 0)
                close(fd);
            fd = open_socket(SOCK_STREAM, PORT_HTTP);
        }
        send_all(fd, (const uint8_t *)request, strlen(request));
        receive_all(fd, in, sizeof answer - 1);
        if (memcmp(in, answer, sizeof answer - 1) != 0) {
            fprintf(stderr, "net-peer: request %ld got another answer\n", i);
            return -1;
        }
        if (guest_ends && recv(fd, in, 1, 0) != 0) {
            fprintf(stderr, "net-peer: connection %ld does not end\n", i);
            return -1;
        }
    }
    close(fd);
    return (now() - start) * 1e6 / (double)count;
}

static int print_http(long count, double us)
{
    if (us < 0)
        return 1;
    printf("%ld requests, %.1f us each\n", count, us);
    return 0;
}

static int requests(long count)
{
    double us = http(count, 1, false);

    printf("%.2f\n", us);
    return us < 0;
}

static int hold(long count)
{
    int fd = open_socket(SOCK_STREAM, PORT_ECHO);

    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)(base + PORT_ECHO)),
                                   .sin_addr.s_addr = inet_addr(address)};
    for (long i = 1; i < count; i++) {
        int other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(other, (const struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
            fail("connect");
    }
    for (int i = 0; i < 20; i++) {
        send_all(fd, out, 100);
        receive_all(fd, in, 100);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return 0;
}

static int latency(long count)
{
    int fd = open_socket(SOCK_STREAM, PORT_ECHO);

    send_all(fd, out, 1);
    receive_all(fd, in, 1);
    double start = now();
    for (long i = 0; i < count; i++) {
        send_all(fd, out, 1);
        receive_all(fd, in, 1);
    }
    printf("%.2f\n", (now() - start) * 1e6 / (double)count);
    return 0;
}

/* The end of the connection is the guest's word that it has all. */
static double discard(size_t mib)
{
    int fd = open_socket(SOCK_STREAM, PORT_DISCARD);
    double start = now();

    for (size_t left = mib << 20; left; left -= CHUNK)
        send_all(fd, out, CHUNK);
    shutdown(fd, SHUT_WR);
    if (recv(fd, in, 1, 0) != 0)
        fail("end of the connection");
    return now() - start;
}

static double endless(size_t mib)
{
    int fd = open_socket(SOCK_STREAM, PORT_ENDLESS);
    double start = now();

    for (size_t left = mib << 20; left; left -= CHUNK)
        receive_all(fd, in, CHUNK);
    return now() - start;
}

static int print_rate(size_t mib, double seconds)
{
    printf("%.1f\n", (double)(mib << 20) / 1e6 / seconds);
    return 0;
}

static int end(const char *digit)
{
    int fd = open_socket(SOCK_DGRAM, PORT_END);

    /* The guest may be gone before its answer is. */
    for (int i = 0; i < 3; i++)
        if (exchange(fd, digit, 1, 200))
            break;
    return 0;
}

static int restart(void)
{
    int fd = open_socket(SOCK_DGRAM, PORT_RESTART);

    if (send(fd, "", 1, 0) != 1)
        fail("send");
    close(fd);
    return wait_for_guest();
}

static int flood(long count)
{
    int fd = open_socket(SOCK_DGRAM, PORT_DISCARD);

    for (long i = 0; i < count; i++)
        if (send(fd, out, 1000, 0) < 0 && errno != ECONNREFUSED && errno != ENOBUFS)
            fail("send");
    return 0;
}

/* Also while there is nobody yet, or nobody any more. */
static int trickle(double seconds)
{
    int fd = open_socket(SOCK_DGRAM, PORT_DISCARD);

    for (double end = now() + seconds; now() < end;
         nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL))
        if (send(fd, out, 1000, MSG_DONTWAIT) < 0 && errno == EINVAL)
            fail("send");
    return 0;
}

/* RFC 1035: each question comes back, with an answer behind it that refers to it. */
static int names(const char *answer)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(base + 53))};
    struct sockaddr_in from;
    socklen_t from_size = sizeof from;
    uint8_t record[16] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4};
    ssize_t size;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (inet_pton(AF_INET, address, &here.sin_addr) != 1 ||
        inet_pton(AF_INET, answer, record + 12) != 1 ||
        bind(fd, (struct sockaddr *)&here, sizeof here) != 0)
        fail("bind");
    puts("ready");
    fflush(stdout);
    while ((size = recvfrom(fd, in, 512, 0, (struct sockaddr *)&from, &from_size)) >= 12) {
        in[2] = 0x81, in[3] = 0x80; /* an answer without an error */
        in[7] = 1;                  /* the number of answers */
        memcpy(in + size, record, sizeof record);
        sendto(fd, in, (size_t)size + sizeof record, 0, (struct sockaddr *)&from, from_size);
        from_size = sizeof from;
    }
    fail("receive");
    return 1;
}

static int run(int argc, char **argv)
{
    const char *command = argv[0], *first = argc > 1 ? argv[1] : "1";
    const char *slash = strchr(first, '/');
    long number = strtol(first, NULL, 10);
    long second = argc > 2 ? strtol(argv[2], NULL, 10) : 1;

    if (strcmp(command, "wait") == 0)
        return wait_for_guest();
    if (strcmp(command, "udp-echo") == 0)
        return udp_echo(number, (size_t)second);
    if (strcmp(command, "tcp-echo") == 0)
        return tcp_echo((size_t)number);
    if (strcmp(command, "tcp-late") == 0)
        return tcp_late((size_t)number < sizeof out ? (size_t)number : sizeof out);
    if (strcmp(command, "http") == 0)
        return print_http(number, http(number, slash ? strtol(slash + 1, NULL, 10) : 1, false));
    if (strcmp(command, "http-end") == 0)
        return print_http(number, http(number, 1, true));
    if (strcmp(command, "requests") == 0)
        return requests(number);
    if (strcmp(command, "hold") == 0)
        return hold(number);
    if (strcmp(command, "latency") == 0)
        return latency(number);
    if (strcmp(command, "discard") == 0)
        return print_rate((size_t)number, discard((size_t)number));
    if (strcmp(command, "endless") == 0)
        return print_rate((size_t)number, endless((size_t)number));
    if (strcmp(command, "bulk") == 0)
        return print_rate(2 * (size_t)number, discard((size_t)number) + endless((size_t)number));
    if (strcmp(command, "end") == 0)
        return end(first);
    if (strcmp(command, "restart") == 0)
        return restart();
    if (strcmp(command, "flood") == 0)
        return flood(number);
    if (strcmp(command, "trickle") == 0)
        return trickle((double)number);
    if (strcmp(command, "names") == 0)
        return names(first);
    fprintf(stderr, "net-peer: there is no command '%s'\n", command);
    return 2;
}

int main(int argc, char **argv)
{
    int next = 1;

    if (argc > 2 && strcmp(argv[1], "-b") == 0) {
        base = atoi(argv[2]);
        next = 3;
    }
    if (argc < next + 2) {
        fprintf(stderr, "usage: net-peer [-b BASE] ADDRESS COMMAND...\n");
        return 2;
    }
    address = argv[next];
    return run(argc - next - 1, argv + next + 1);
}
