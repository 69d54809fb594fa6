#include "debug/gdb/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/error.h"

#define BACKLOG 4

const struct sandbox_call gdb_listen_calls[] = {
    SANDBOX_CALL(accept4),
    SANDBOX_CALL(setsockopt, SANDBOX_EQUAL(1, IPPROTO_TCP), SANDBOX_EQUAL(2, TCP_NODELAY)),
    SANDBOX_END,
};

/* A socket bound to this address, or -errno. */
static int bind_socket(const struct sockaddr *address, socklen_t size)
{
    const int on = 1;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* The file of a UNIX socket gets the mode of the socket. */
    int result = 0;
    if (address->sa_family == AF_UNIX)
        result = fchmod(fd, S_IRUSR | S_IWUSR);
    else
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (result == 0 && bind(fd, address, size) == 0) {
        if (listen(fd, BACKLOG) == 0)
            return fd;
        result = -errno;
        if (address->sa_family == AF_UNIX)
            unlink(((const struct sockaddr_un *)address)->sun_path);
    } else {
        result = -errno;
    }
    close(fd);
    return result;
}

static int listen_tcp(struct gdb_listener *listener, uint16_t port, struct uhyve_error *error)
{
    const struct sockaddr_in ipv4 = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct sockaddr_in6 ipv6 = {
        .sin6_family = AF_INET6,
        .sin6_port = htons(port),
        .sin6_addr = IN6ADDR_LOOPBACK_INIT,
    };
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
    } bound = {0};
    socklen_t size = sizeof bound;

    int fd = bind_socket((const struct sockaddr *)&ipv4, sizeof ipv4);
    int err = fd;
    /* Not when the port is taken: GDB's user would reach the one who has it. */
    if (fd < 0 && fd != -EADDRINUSE)
        fd = bind_socket((const struct sockaddr *)&ipv6, sizeof ipv6);
    if (fd < 0)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot wait for a debugger on port %u of this machine: %s (%s)", port,
                         strerror(-err), error_remedy(-err, "choose another port, or 0 for any"));
    getsockname(fd, &bound.any, &size);
    listener->fd = fd;
    listener->port = ntohs(bound.any.sa_family == AF_INET ? bound.ipv4.sin_port
                                                          : bound.ipv6.sin6_port);
    return 0;
}

/*
 * Remove what a program that died has left: a socket that is nobody's any more. To ask for a
 * connection of another type tells that (ECONNREFUSED, else EPROTOTYPE) without making one: a VM
 * that lives would take that for a debugger, and stop its guest.
 */
static void remove_stale(const struct sockaddr_un *address)
{
    struct stat status;
    int fd;

    if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno == ECONNREFUSED)
        unlink(address->sun_path);
    close(fd);
}

static int listen_unix(struct gdb_listener *listener, const char *path, struct uhyve_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path)
        return error_set(error, UHYVE_STATUS_USAGE, ENAMETOOLONG,
                         "the path of the debugger's socket, '%.200s', is too long: it may have "
                         "%zu bytes",
                         path, sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    remove_stale(&address);
    int fd = bind_socket((const struct sockaddr *)&address, sizeof address);
    if (fd < 0)
        return error_set(
            error, UHYVE_STATUS_FAILED, -fd,
            "cannot wait for a debugger on the socket '%s': %s (%s)", path, strerror(-fd),
            error_remedy(-fd, "is its directory there and writable, and the name free?"));
    listener->fd = fd;
    listener->path = path;
    return 0;
}

int gdb_listen(struct gdb_listener *listener, uint16_t port, const char *path,
               struct uhyve_error *error)
{
    *listener = (struct gdb_listener){.fd = -1};
    return path ? listen_unix(listener, path, error) : listen_tcp(listener, port, error);
}

void gdb_listen_close(struct gdb_listener *listener)
{
    if (listener->fd < 0)
        return;
    close(listener->fd);
    listener->fd = -1;
}

int gdb_accept(const struct gdb_listener *listener)
{
    const int on = 1;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return -errno;
    /* Packets are small, and each one is waited for. */
    if (!listener->path)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}
