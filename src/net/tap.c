/*
 * The back end `tap`: frames go to and come from an existing tap interface of the host, with the
 * virtio header in front of them, so that checksums and large segments stay whole between the
 * guest and the host's network stack (spec/devices.md section 6).
 *
 * The interface is the administrator's: it is not created, configured or brought up here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "net/net.h"
#include "util/error.h"

#define TUN_DEVICE      "/dev/net/tun"
#define ETHERNET_MAX    (14 + 4) /* header with a VLAN tag */
#define MTU_DEFAULT     1500
#define OFFLOADS_KERNEL (NET_OFFLOAD_CSUM | NET_OFFLOAD_TSO4 | NET_OFFLOAD_TSO6 | NET_OFFLOAD_ECN)

static int fail(struct uhyve_error *error, int err, const char *name, const char *what,
                const char *remedy)
{
    return error_set(error, UHYVE_STATUS_FAILED, err, "cannot %s tap device '%s': %s (%s)", what,
                     name, strerror(err), remedy);
}

static int fail_open(struct uhyve_error *error, int err, const char *name)
{
    if (err == ENOENT || err == ENODEV || err == ENXIO)
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "cannot open " TUN_DEVICE
                         " for tap device '%s': %s (load the driver with: "
                         "modprobe tun; in a container pass the device, or use --net user)",
                         name, strerror(err));
    return error_set(error, UHYVE_STATUS_FAILED, err,
                     "cannot open " TUN_DEVICE " for tap device '%s': %s (%s)", name, strerror(err),
                     error_remedy(err, "allow it as root with: chmod 666 " TUN_DEVICE
                                       ", or use --net user, which needs no permission"));
}

static int fail_attach(struct uhyve_error *error, int err, const char *name)
{
    char remedy[256];

    if (err == EBUSY)
        return fail(error, err, name, "open", "another program uses it; make one for each guest");
    if (err == EPERM || err == EACCES)
        snprintf(remedy, sizeof remedy,
                 "it belongs to somebody else; as root run: ip link del %s; ip tuntap add dev %s "
                 "mode tap user %d; ip link set dev %s up",
                 name, name, (int)getuid(), name);
    else
        snprintf(remedy, sizeof remedy, "is it a tun device, or has it several queues?");
    return fail(error, err, name, "open", remedy);
}

static int fail_missing(struct uhyve_error *error, const char *name)
{
    return error_set(error, UHYVE_STATUS_FAILED, ENODEV,
                     "there is no tap device '%s' (create it as root with: ip tuntap add dev %s "
                     "mode tap user %d; ip link set dev %s up)",
                     name, name, (int)getuid(), name);
}

static void tap_set_offloads(struct net_backend *net, unsigned offloads)
{
    static const struct {
        unsigned offload, flag;
    } flags[] = {
        {NET_OFFLOAD_CSUM, TUN_F_CSUM},
        {NET_OFFLOAD_TSO4, TUN_F_TSO4},
        {NET_OFFLOAD_TSO6, TUN_F_TSO6},
        {NET_OFFLOAD_ECN, TUN_F_TSO_ECN},
    };
    unsigned long value = 0;

    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (offloads & flags[i].offload)
            value |= flags[i].flag;
    /* What was accepted when the device was opened is accepted later. */
    ioctl(net->fd, TUNSETOFFLOAD, value);
}

static int tap_send(struct net_backend *net, const struct iovec *iov, int count)
{
    ssize_t size;

    do
        size = writev(net->fd, iov, count);
    while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : 0;
}

static ssize_t tap_receive(struct net_backend *net, const struct iovec *iov, int count)
{
    ssize_t size;

    do
        size = readv(net->fd, iov, count);
    while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : size;
}

static void tap_close(struct net_backend *net)
{
    if (net->fd >= 0)
        close(net->fd);
    free(net);
}

const struct sandbox_call tap_calls[] = {
    SANDBOX_CALL(readv),
    SANDBOX_CALL(writev),
    SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, TUNSETOFFLOAD)),
    SANDBOX_END,
};

static const struct net_ops tap_ops = {
    .name = "tap",
    .send = tap_send,
    .receive = tap_receive,
    .set_offloads = tap_set_offloads,
    .close = tap_close,
    .calls = tap_calls,
};

/* Ask about the interface through `fd`, any socket. */
static int query(struct net_backend *net, int fd, const struct uhyve_net *config,
                 struct uhyve_error *error)
{
    struct ifreq request = {0};

    memcpy(request.ifr_name, config->name, strlen(config->name));
    if (ioctl(fd, SIOCGIFMTU, &request) != 0)
        return fail(error, errno, config->name, "read the MTU of", "is it still there?");
    net->info.mtu = request.ifr_mtu >= 68 && request.ifr_mtu <= UINT16_MAX
                        ? (uint16_t)request.ifr_mtu
                        : MTU_DEFAULT;
    if (config->mac_kind != UHYVE_MAC_OF_TAP)
        return 0;
    if (ioctl(fd, SIOCGIFHWADDR, &request) != 0)
        return fail(error, errno, config->name, "read the address of", "is it still there?");
    if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER)
        return fail(error, EINVAL, config->name, "use the address of",
                    "it is not an Ethernet device");
    memcpy(net->info.mac, request.ifr_hwaddr.sa_data, NET_MAC_SIZE);
    return 0;
}

static int attach(struct net_backend *net, const struct uhyve_net *config,
                  struct uhyve_error *error)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    int header_size = sizeof(struct net_header);

    /* Otherwise TUNSETIFF would, as root, create an interface that nobody configured. */
    if (if_nametoindex(config->name) == 0)
        return fail_missing(error, config->name);
    net->fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (net->fd < 0)
        return fail_open(error, errno, config->name);
    memcpy(request.ifr_name, config->name, strlen(config->name));
    if (ioctl(net->fd, TUNSETIFF, &request) != 0)
        return fail_attach(error, errno, config->name);
    if (ioctl(net->fd, TUNSETVNETHDRSZ, &header_size) != 0)
        return fail(error, errno, config->name, "set the header of", "use Linux 4.17 or newer");
    return 0;
}

int net_tap_open(const struct uhyve_net *config, struct net_backend **result,
                 struct uhyve_error *error)
{
    struct net_backend *net = calloc(1, sizeof *net);
    if (!net)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    net->ops = &tap_ops;
    net->fd = -1;
    int err = attach(net, config, error);
    int fd = err ? -1 : socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!err && fd < 0)
        err = fail(error, errno, config->name, "ask about", "too many open files?");
    if (!err)
        err = query(net, fd, config, error);
    if (fd >= 0)
        close(fd);
    if (err) {
        tap_close(net);
        return err;
    }
    /* Kernels know all of these or only the checksum. */
    if (ioctl(net->fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN) == 0)
        net->info.offloads = OFFLOADS_KERNEL;
    else if (ioctl(net->fd, TUNSETOFFLOAD, TUN_F_CSUM) == 0)
        net->info.offloads = NET_OFFLOAD_CSUM;
    tap_set_offloads(net, 0);
    net->info.frame_max = net->info.offloads & NET_OFFLOAD_TSO4
                              ? NET_FRAME_MAX
                              : sizeof(struct net_header) + ETHERNET_MAX + net->info.mtu;
    *result = net;
    return 0;
}
