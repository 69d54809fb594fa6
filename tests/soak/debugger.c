#include "debugger.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECT_MS  1000
#define READ_ALL_MS 60000

/* What a client may send that leaves the guest's memory and registers alone. */
static const char *const packets[] = {
    "qSupported:swbreak+;hwbreak+;vContSupported+",
    "vCont?",
    "vMustReplyEmpty",
    "QStartNoAckMode",
    "?",
    "g",
    "p10",
    "m100000,8",
    "m0,ffffffffffffffff",
    "Hg1",
    "Hc-1",
    "T1",
    "T77",
    "qC",
    "qfThreadInfo",
    "qsThreadInfo",
    "qXfer:features:read:target.xml:0,ffb",
    "qXfer:exec-file:read::0,ffb",
    "qXfer:features:read:none:ffffffffffffffff,1",
    "qRcmd,68656c70",
    "qRcmd,7374617473",
    "Z1,1000,1",
    "z1,1000,1",
    "Z2,2000,8",
    "z2,2000,8",
    "s",
    "vCont;s:1;c",
    "vCont;c",
    "c",
    "C0b",
    "",
    "!",
    "X1,",
    "vCont;r0,ffffffffffffffff:1",
};

static int connect_socket(int family, const struct sockaddr *address, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};

    if (fd >= 0 && (connect(fd, address, size) == 0 || errno == EINPROGRESS) &&
        poll(&poll_fd, 1, CONNECT_MS) == 1)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

int debugger_connect(int port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};

    return connect_socket(AF_INET, (const struct sockaddr *)&address, sizeof address);
}

int debugger_connect_local(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    return connect_socket(AF_UNIX, (const struct sockaddr *)&address, sizeof address);
}

void debugger_read_all(int fd)
{
    char bytes[4096];
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (poll(&poll_fd, 1, READ_ALL_MS) == 1 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        ;
}

static void read_answers(int fd)
{
    char answer[4096];

    for (struct pollfd poll_fd = {.fd = fd, .events = POLLIN}; poll(&poll_fd, 1, 1) > 0;)
        if (recv(fd, answer, sizeof answer, MSG_DONTWAIT) <= 0)
            break;
}

void debugger_send(int fd, const char *packet)
{
    char text[200];
    uint8_t sum = 0;

    for (const char *at = packet; *at; at++)
        sum = (uint8_t)(sum + (uint8_t)*at);
    int size = snprintf(text, sizeof text, "+$%s#%02x", packet, sum);
    send(fd, text, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void debugger_talk(int fd, struct soak_random *random)
{
    for (uint64_t count = 1 + soak_random(random, 8); count; count--) {
        if (soak_chance(random, 20))
            send(fd, "\003", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        debugger_send(fd, packets[soak_random(random, sizeof packets / sizeof *packets)]);
        if (soak_chance(random, 70))
            read_answers(fd);
    }
}

/* Bytes, of which some look like the beginning of a packet. None is a whole one. */
void debugger_garbage(int fd, struct soak_random *random)
{
    static const char *const pieces[] = {"$$$$", "$g#", "#", "+-+-", "$m0,", "}}", "*~", "\003"};
    char bytes[600];

    for (uint64_t count = 1 + soak_random(random, 6); count; count--) {
        size_t size = 0;
        if (soak_chance(random, 50))
            for (uint64_t end = soak_random(random, sizeof bytes); size < end; size++)
                bytes[size] = (char)(soak_random(random, 126) | 128);
        const char *piece = pieces[soak_random(random, sizeof pieces / sizeof *pieces)];
        send(fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        send(fd, piece, strlen(piece), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (soak_chance(random, 50))
        read_answers(fd);
}

void debugger_reset(int *fd)
{
    const struct linger linger = {.l_onoff = 1};

    setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(*fd);
    *fd = -1;
}
