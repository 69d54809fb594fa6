/*
 * The other side of --net socket:PATH, once: listens at PATH, and talks to guests/net-server.c.
 *
 *     net-stream PATH COUNT [DIGIT]
 *
 * Sends COUNT datagrams to the guest's UDP port 7, which must come back in order, then with DIGIT
 * has the guest end with that exit code, and goes away. A stream is in step from its start: what
 * does not begin with a frame's length is an error. Says "listening" when it is. Exits with 0 if
 * all went as it should.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PORT_END  5
#define PORT_ECHO 7

#define HEAD       42 /* Ethernet, IPv4, UDP */
#define FRAME_MAX  1518
#define ATTEMPTS   100
#define TIMEOUT_MS 200 /* until the guest has its card, datagrams get lost */

static int stream;

static void fail(const char *what)
{
    fprintf(stderr, "net-stream: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void put16(uint8_t *to, unsigned value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static void send_datagram(unsigned port, const void *data, size_t size)
{
    uint8_t bytes[4 + FRAME_MAX] = {0}, *frame = bytes + 4, *ip = frame + 14;
    unsigned sum = 0;

    put16(bytes + 2, (unsigned)(HEAD + size));
    memset(frame, 0xff, 6); /* to everybody */
    memcpy(frame + 6, "\002\0\0\0\0\1\010", 7);
    memcpy(ip, "\x45\0\0\0\0\0\0\0\x40\x11\0\0\12\0\5\1\12\0\5\3", 20);
    put16(ip + 2, (unsigned)(28 + size));
    for (int i = 0; i < 20; i += 2)
        sum += (unsigned)ip[i] << 8 | ip[i + 1];
    put16(ip + 10, ~((sum >> 16) + sum));
    put16(ip + 20, 4000);
    put16(ip + 22, port);
    put16(ip + 24, (unsigned)(8 + size)); /* without a checksum */
    memcpy(frame + HEAD, data, size);
    if (send(stream, bytes, 4 + HEAD + size, MSG_NOSIGNAL) != (ssize_t)(4 + HEAD + size))
        fail("send");
}

static size_t receive_frame(uint8_t frame[FRAME_MAX])
{
    uint32_t length;

    if (recv(stream, &length, sizeof length, MSG_WAITALL) != sizeof length)
        fail("receive");
    length = ntohl(length);
    if (length == 0 || length > FRAME_MAX ||
        recv(stream, frame, length, MSG_WAITALL) != (ssize_t)length) {
        fprintf(stderr, "net-stream: the stream is out of step\n");
        exit(1);
    }
    return length;
}

/* Whether the answer has come; others than this one are late. */
static int is_answered(const void *data, size_t size)
{
    struct pollfd wait = {stream, POLLIN, 0};
    uint8_t frame[FRAME_MAX];

    while (poll(&wait, 1, TIMEOUT_MS) > 0)
        if (receive_frame(frame) >= HEAD + size && memcmp(frame + HEAD, data, size) == 0)
            return 1;
    return 0;
}

static int ask(unsigned port, const char *data)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        send_datagram(port, data, strlen(data) + 1);
        if (is_answered(data, strlen(data) + 1))
            return 1;
    }
    fprintf(stderr, "net-stream: no answer\n");
    return 0;
}

/* The guest may be gone before its answer is. */
static void end(const char *digit)
{
    struct pollfd wait = {stream, POLLIN, 0};
    char byte;

    send_datagram(PORT_END, digit, 1);
    while (poll(&wait, 1, -1) > 0 && recv(stream, &byte, 1, 0) > 0)
        ;
}

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char text[64];

    if (argc < 3 || strlen(argv[1]) >= sizeof address.sun_path) {
        fprintf(stderr, "usage: net-stream PATH COUNT [DIGIT]\n");
        return 2;
    }
    strcpy(address.sun_path, argv[1]);
    unlink(argv[1]);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1) != 0)
        fail("listen");
    puts("listening");
    fflush(stdout);
    stream = accept(listener, NULL, NULL);
    if (stream < 0)
        fail("accept");
    for (int i = 0; i < atoi(argv[2]); i++) {
        snprintf(text, sizeof text, "%d of process %d", i, getpid());
        if (!ask(PORT_ECHO, text))
            return 1;
    }
    if (argc == 4)
        end(argv[3]);
    return 0;
}
