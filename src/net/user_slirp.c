#include "net/user_slirp.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"
#include "net/wire.h"
#include "util/error.h"

#define LIBRARY "libslirp.so.0"

/* Smaller than libslirp's buffers, of which each connection has two. */
#define MMAP_THRESHOLD (128 * 1024)

#define UDP_SIZE 8

/* Longer than libslirp goes without a look at the resolver's file. */
#define LOOK_INTERVAL_NS INT64_C(2000000000)

/* What libslirp calls while a guest runs. */
const struct sandbox_call user_slirp_calls[] = {
    SANDBOX_CALL(socket, SANDBOX_EQUAL(0, AF_INET)),
    SANDBOX_CALL(socket, SANDBOX_EQUAL(0, AF_INET6)),
    SANDBOX_CALL(bind),
    SANDBOX_CALL(connect),
    SANDBOX_CALL(listen),
    SANDBOX_CALL(accept),
    SANDBOX_CALL(accept4),
    SANDBOX_CALL(shutdown),
    SANDBOX_CALL(sendto),
    SANDBOX_CALL(recvfrom),
    SANDBOX_CALL(sendmsg),
    SANDBOX_CALL(recvmsg),
    SANDBOX_CALL(setsockopt),
    SANDBOX_CALL(getsockopt),
    SANDBOX_CALL(getsockname),
    SANDBOX_CALL(getpeername),
    SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, F_GETFL)),
    SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, F_SETFL)),
    SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, F_GETFD)),
    SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, F_SETFD)),
    SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, FIONREAD)),
    SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, FIONBIO)),
    SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, TCGETS)), /* GLib's warnings: in colours? */
    /* Has /etc/resolv.conf changed? It is read once, see learn_resolvers: when it has, it cannot be
     * opened (sandbox/runtime.c), and the name servers stay what they were. */
    SANDBOX_CALL(newfstatat),
    SANDBOX_END,
};

static int load(struct user_slirp *user, struct uhyve_error *error)
{
    const struct {
        const char *name;
        void **function;
    } functions[] = {
        {"slirp_new", (void **)&user->new},
        {"slirp_cleanup", (void **)&user->cleanup},
        {"slirp_pollfds_fill", (void **)&user->fill},
        {"slirp_pollfds_poll", (void **)&user->poll},
        {"slirp_input", (void **)&user->input},
        {"slirp_add_hostxfwd", (void **)&user->forward},
    };

    /* What it needs cannot be unloaded, so it stays. */
    user->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const char *reason = user->library ? NULL : dlerror();
    if (reason && error_is_of_limit(reason))
        return error_set(error, UHYVE_STATUS_FAILED, EIO,
                         "--net user cannot load a library: %s (raise the limits on open files and "
                         "memory: ulimit -n, -v, -d)",
                         reason);
    if (!user->library)
        return error_set(error, UHYVE_STATUS_FAILED, ENOENT,
                         "--net user needs the library " LIBRARY
                         ", which is not there (install the package libslirp0, or libslirp)");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        *functions[i].function = dlsym(user->library, functions[i].name);
        if (!*functions[i].function)
            return error_set(error, UHYVE_STATUS_FAILED, ENOSYS,
                             "--net user needs version 4.5 or newer of the library " LIBRARY
                             " (this one has no %s)",
                             functions[i].name);
    }
    return 0;
}

/*
 * libslirp walks over a list of all its sockets, again and again, and each has buffers of 144 KiB.
 * When glibc has seen the first of them freed, it would put the next into its heap, between the
 * sockets. Then every step of the walk is a TLB miss: with thousands of connections that takes five
 * times as long. The value is the one that glibc begins with: it only is not to grow.
 */
static void keep_sockets_together(void)
{
#ifdef M_MMAP_THRESHOLD
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
#endif
}

static bool parse_address(const char *text, uint16_t port, struct sockaddr_storage *address,
                          socklen_t *size)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

    *address = (struct sockaddr_storage){0};
    if (strchr(text, ':')) {
        *v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
        *size = sizeof *v6;
        return inet_pton(AF_INET6, text, &v6->sin6_addr) == 1;
    }
    *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    *size = sizeof *v4;
    /* No address: all of the host, and for the guest the one that DHCP gives. */
    return !*text || inet_pton(AF_INET, text, &v4->sin_addr) == 1;
}

static int next_descriptor(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        close(fd);
    return fd;
}

/* libslirp lets one connection wait to be accepted; further ones try again after a second. It does
 * not tell its socket, but that has the first free number. */
static void note_listener(struct user_slirp *user, int fd)
{
    int listens = 0;
    socklen_t size = sizeof listens;

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens)
        return;
    listen(fd, SOMAXCONN);
    user->listeners[user->listener_count++] = fd;
}

bool user_slirp_is_listener(const struct user_slirp *user, int fd)
{
    for (size_t i = 0; i < user->listener_count; i++)
        if (user->listeners[i] == fd)
            return true;
    return false;
}

static int add_forward(struct user_slirp *user, const struct uhyve_forward *forward,
                       struct uhyve_error *error)
{
    struct sockaddr_storage host, guest;
    socklen_t host_size, guest_size;
    const char *kind = forward->udp ? "UDP" : "TCP";
    char host_text[64] = "";

    if (*forward->host_address)
        snprintf(host_text, sizeof host_text, " of %.45s", forward->host_address);
    if (!parse_address(forward->host_address, forward->host_port, &host, &host_size) ||
        !parse_address(forward->guest_address, forward->guest_port, &guest, &guest_size) ||
        host.ss_family != guest.ss_family)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "cannot forward %s port %u%s: the addresses of host and guest must both "
                         "be IPv4 or both IPv6",
                         kind, forward->host_port, host_text);
    errno = EADDRINUSE;
    int next = next_descriptor();
    if (user->forward(user->slirp, (struct sockaddr *)&host, host_size, (struct sockaddr *)&guest,
                      guest_size, forward->udp ? SLIRP_HOSTFWD_UDP : 0) == 0) {
        if (!forward->udp)
            note_listener(user, next);
        return 0;
    }
    int err = errno;
    const char *remedy = err == EADDRINUSE ? "end the program that uses it, or choose another port"
                         : err == EACCES   ? "choose one from 1024 on"
                                           : "does the host have this address?";
    return error_set(error, UHYVE_STATUS_FAILED, err,
                     "cannot forward %s port %u%s to the guest: %s (%s)", kind, forward->host_port,
                     host_text, strerror(err), remedy);
}

static int no_events(int index, void *context)
{
    return 0;
}

/*
 * libslirp reads /etc/resolv.conf when the guest first sends something to its DNS server, once more
 * a second later when it looks at the file's times for the first time, and then when these change.
 * By then its thread may not open files any more. So send something now, twice, with a clock that
 * jumps in between. It does not get out: the socket it would leave through is replaced by one that
 * cannot send. libslirp closes it as one that was not used for a while.
 */
static void learn_resolvers(struct user_slirp *user)
{
    static const uint8_t v4[ETHERNET_SIZE + IPV4_SIZE + UDP_SIZE] = {
        0x52, 0x55, 10, 0,  5, 1, 2, 0, 0,  0,  0,    1,    0x08, 0x00, /* Ethernet */
        0x45, 0,    0,  28, 0, 0, 0, 0, 64, 17, 0x5c, 0xcd, 10,   0,
        5,    3,    10, 0,  5, 2,       /* IPv4 */
        0x80, 0,    0,  53, 0, 8, 0, 0, /* UDP */
    };
    static const uint8_t v6[ETHERNET_SIZE + IPV6_SIZE + UDP_SIZE] =
        {
            0x52, 0x56, 0,    0,  0,    2,  2,  0,  0, 0, 0,    1,    0x86, 0xdd, /* Ethernet */
            0x60, 0,    0,    0,  0,    8,  17, 64,                               /* IPv6 */
            0xfd, 0,    0,    10, 0,    5,  0,  0,  0, 0, 0,    0,    0,    0,
            0,    3,    0xfd, 0,  0,    10, 0,  5,  0, 0, 0,    0,    0,    0,
            0,    0,    0,    2,  0x80, 0,  0,  53, 0, 8, 0x85, 0x84, /* UDP, with its checksum */
        };

    user->learning = true;
    for (int round = 0; round < 2; round++) {
        user->input(user->slirp, v4, sizeof v4);
        user->input(user->slirp, v6, sizeof v6);
        user->clock_offset += LOOK_INTERVAL_NS;
        user->poll(user->slirp, 1, no_events, NULL);
    }
    user->learning = false;
}

void user_slirp_note_socket(const struct user_slirp *user, int fd)
{
    if (!user->learning)
        return;
    int mute = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (mute < 0)
        return;
    dup3(mute, fd, O_CLOEXEC);
    close(mute);
}

int user_slirp_open(struct user_slirp *user, const struct uhyve_net *config, uint16_t mtu,
                    const SlirpCb *callbacks, void *context, struct uhyve_error *error)
{
    SlirpConfig network = {
        .version = 1,
        .in_enabled = true,
        .vnetwork.s_addr = inet_addr("10.0.5.0"),
        .vnetmask.s_addr = inet_addr("255.255.255.0"),
        .vhost.s_addr = inet_addr("10.0.5.1"),
        .vnameserver.s_addr = inet_addr("10.0.5.2"),
        .vdhcp_start.s_addr = inet_addr("10.0.5.3"),
        .in6_enabled = true,
        .vprefix_len = 64,
        .vhostname = "hermit",
        .if_mtu = mtu,
        .if_mru = mtu,
    };

    *user = (struct user_slirp){0};
    inet_pton(AF_INET6, "fd00:a:5::", &network.vprefix_addr6);
    inet_pton(AF_INET6, "fd00:a:5::1", &network.vhost6);
    inet_pton(AF_INET6, "fd00:a:5::2", &network.vnameserver6);
    int err = load(user, error);
    if (err)
        return err;
    keep_sockets_together();
    user->slirp = user->new (&network, callbacks, context);
    if (!user->slirp)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM,
                         "the library " LIBRARY " cannot make a network");
    user->listeners = calloc(config->forward_count + 1, sizeof *user->listeners);
    if (!user->listeners)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    for (size_t i = 0; i < config->forward_count && !err; i++)
        err = add_forward(user, &config->forwards[i], error);
    if (!err)
        learn_resolvers(user);
    return err;
}

void user_slirp_close(struct user_slirp *user)
{
    if (user->slirp)
        user->cleanup(user->slirp);
    user->slirp = NULL;
    free(user->listeners);
    user->listeners = NULL;
    /* The library stays: GLib does not bear being unloaded. */
}
