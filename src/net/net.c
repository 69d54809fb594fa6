#include "net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "net/user.h"
#include "util/error.h"

int net_open(const struct uhyve_net *config, const struct log *log, struct net_backend **net,
             struct uhyve_error *error)
{
    /* That of the user network is not needed, but distinguishes cards if it is given. */
    const char *name = config->name ? config->name : "user";
    int err;

    *net = NULL;
    if (!config->name && (config->kind == UHYVE_NET_TAP || config->kind == UHYVE_NET_SOCKET))
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL, "a network needs the name of its %s",
                         config->kind == UHYVE_NET_TAP ? "tap interface" : "socket");
    switch (config->kind) {
    case UHYVE_NET_TAP:
        err = net_tap_open(config, net, error);
        break;
    case UHYVE_NET_USER:
        err = net_user_open(config, log, net, error);
        break;
    case UHYVE_NET_SOCKET:
        err = net_socket_open(config, log, net, error);
        break;
    default:
        err = error_set(error, UHYVE_STATUS_USAGE, EINVAL, "there is no such kind of network");
    }
    if (err)
        return err;
    uint8_t *mac = (*net)->info.mac;
    if (config->mac_kind == UHYVE_MAC_GIVEN)
        memcpy(mac, config->mac, NET_MAC_SIZE);
    else if (config->mac_kind == UHYVE_MAC_DEFAULT)
        net_make_mac(mac, name);
    log_info(log, "network card %02x:%02x:%02x:%02x:%02x:%02x on %s, MTU %u", mac[0], mac[1],
             mac[2], mac[3], mac[4], mac[5], (*net)->ops->name, (*net)->info.mtu);
    err = config->dump ? net_dump_open(config, log, net, error) : 0;
    if (err) {
        net_close(*net);
        *net = NULL;
    }
    return err;
}

/* FNV-1a, 64 bits: http://www.isthe.com/chongo/tech/comp/fnv */
static uint64_t hash(uint64_t value, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        value = (value ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    return value;
}

void net_make_mac(uint8_t mac[NET_MAC_SIZE], const char *name)
{
    char text[256] = "";
    uint64_t value = hash(UINT64_C(0xcbf29ce484222325), name, strlen(name) + 1);

    if (gethostname(text, sizeof text - 1) == 0)
        value = hash(value, text, strlen(text) + 1);
    int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t size = read(fd, text, sizeof text);
        if (size > 0)
            value = hash(value, text, (size_t)size);
        close(fd);
    }
    for (unsigned i = 0; i < NET_MAC_SIZE; i++)
        mac[i] = (uint8_t)(value >> (8 * i));
    mac[0] = (mac[0] & 0xfc) | 0x02; /* one station, locally administered */
}
