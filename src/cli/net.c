#include "cli/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/options.h"
#include "util/error.h"
#include "util/text.h"

#define TAP_DEFAULT "tap10" /* spec/devices.md section 6 */

static int refuse_mode(const struct cli_source *source, const char *value,
                       struct uhyve_error *error)
{
    return option_refuse(source, error,
                         "'%.80s' is not a kind of network (use tap, tap:INTERFACE, user or "
                         "socket:PATH)",
                         value);
}

/* Two hexadecimal digits six times, with colons between them. */
static bool parse_mac(const char *text, uint8_t mac[6])
{
    for (unsigned i = 0; i < 6; i++) {
        char *end;
        if (strspn(text, "0123456789abcdefABCDEF") != 2)
            return false;
        mac[i] = (uint8_t)strtoul(text, &end, 16);
        if (*end != (i < 5 ? ':' : '\0'))
            return false;
        text = end + 1;
    }
    return true;
}

static int set_mac(struct uhyve_net *net, const struct cli_source *source, const char *value,
                   struct uhyve_error *error)
{
    if (strcmp(value, "tap") == 0) {
        if (net->kind != UHYVE_NET_TAP)
            return option_refuse(source, error,
                                 "mac=tap is for --net tap only (give an address instead)");
        net->mac_kind = UHYVE_MAC_OF_TAP;
        return 0;
    }
    if (!parse_mac(value, net->mac))
        return option_refuse(source, error,
                             "'%.80s' is not a hardware address such as 02:00:5e:10:00:01", value);
    if (net->mac[0] & 1)
        return option_refuse(source, error,
                             "'%.80s' is the address of a group of stations, not of one (its first "
                             "byte must be even)",
                             value);
    net->mac_kind = UHYVE_MAC_GIVEN;
    return 0;
}

/* "80", of 1 to 65535. */
static bool parse_port(const char *text, size_t size, uint16_t *port)
{
    char digits[6];
    uint64_t number;

    if (size == 0 || size >= sizeof digits)
        return false;
    memcpy(digits, text, size);
    digits[size] = '\0';
    if (text_parse_unsigned(digits, UINT16_MAX, &number) != 0 || number == 0)
        return false;
    *port = (uint16_t)number;
    return true;
}

/*
 * "[ADDRESS:]PORT" in `size` characters; an IPv6 address stands in brackets. The address may be
 * empty, and with `optional` missing together with its colon.
 */
static bool parse_end(const char *text, size_t size, bool optional, char address[46],
                      uint16_t *port)
{
    const char *colon = memrchr(text, ':', size);
    unsigned char binary[16];

    address[0] = '\0';
    if (!colon)
        return optional && parse_port(text, size, port);
    size_t length = (size_t)(colon - text);
    if (!parse_port(colon + 1, size - length - 1, port))
        return false;
    if (length == 0)
        return true;
    bool v6 = text[0] == '[' && text[length - 1] == ']' && length > 2;
    if (v6) {
        text++;
        length -= 2;
    }
    if (length >= 46)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    return inet_pton(v6 ? AF_INET6 : AF_INET, address, binary) == 1;
}

static int add_forward(struct cli_settings *settings, const struct cli_source *source,
                       const struct uhyve_forward *forward, struct uhyve_error *error)
{
    struct uhyve_net *net = &settings->params.net;

    if (net->forward_count == CLI_FORWARDS_MAX)
        return option_refuse(source, error, "more than %d forwarded ports", CLI_FORWARDS_MAX);
    settings->forwards[net->forward_count++] = *forward;
    net->forwards = settings->forwards;
    return 0;
}

/* hostfwd=[tcp|udp]:[ADDRESS]:PORT-[ADDRESS]:PORT */
static int set_forward(struct cli_settings *settings, const struct cli_source *source,
                       const char *value, struct uhyve_error *error)
{
    struct uhyve_forward forward = {.udp = strncmp(value, "udp:", 4) == 0};
    const char *rest = forward.udp || strncmp(value, "tcp:", 4) == 0 ? value + 4 : NULL;
    const char *dash;

    if (!rest && value[0] == ':')
        rest = value + 1;
    dash = rest ? strchr(rest, '-') : NULL;
    if (settings->params.net.kind != UHYVE_NET_USER)
        return option_refuse(source, error, "hostfwd= is for --net user only");
    if (!dash ||
        !parse_end(rest, (size_t)(dash - rest), false, forward.host_address, &forward.host_port) ||
        !parse_end(dash + 1, strlen(dash + 1), false, forward.guest_address, &forward.guest_port))
        return option_refuse(
            source, error, "'%.80s' does not forward a port (write hostfwd=tcp::8080-:80)", value);
    return add_forward(settings, source, &forward, error);
}

static int set_option(struct cli_settings *settings, const struct cli_source *source,
                      const char *option, struct uhyve_error *error)
{
    if (strncmp(option, "mac=", 4) == 0)
        return set_mac(&settings->params.net, source, option + 4, error);
    if (strncmp(option, "hostfwd=", 8) == 0)
        return set_forward(settings, source, option + 8, error);
    return option_refuse(source, error,
                         "'%.80s' is not an option of a network (use mac=ADDRESS or "
                         "hostfwd=tcp::8080-:80)",
                         option);
}

/* The kind and the name behind its colon, which is in settings->net_name; no colon: NULL. */
static int set_kind(struct uhyve_net *net, const struct cli_source *source, const char *value,
                    const char *kind, const char *name, struct uhyve_error *error)
{
    if (strcmp(kind, "tap") == 0) {
        net->kind = UHYVE_NET_TAP;
        net->name = name ? name : TAP_DEFAULT;
        if (!*net->name || strlen(net->name) >= IFNAMSIZ || strchr(net->name, '/'))
            return option_refuse(source, error,
                                 "'%.80s' is not the name of an interface (1 to %d characters)",
                                 net->name, IFNAMSIZ - 1);
        return 0;
    }
    if (strcmp(kind, "user") == 0 && !name) {
        net->kind = UHYVE_NET_USER;
        net->name = "user";
        return 0;
    }
    if (strcmp(kind, "socket") == 0 && name && *name) {
        net->kind = UHYVE_NET_SOCKET;
        net->name = name;
        return 0;
    }
    return refuse_mode(source, value, error);
}

int net_parse(struct cli_settings *settings, const struct cli_source *source, const char *value,
              struct uhyve_error *error)
{
    struct uhyve_net *net = &settings->params.net;
    char text[1024], *rest = text;

    if (strlen(value) >= sizeof text)
        return refuse_mode(source, value, error);
    strcpy(text, value);
    char *first = strsep(&rest, ",");
    char *colon = strchr(first, ':');
    if (colon)
        *colon++ = '\0';
    if (colon && strlen(colon) > CLI_NET_NAME_MAX)
        return refuse_mode(source, value, error);
    if (colon)
        strcpy(settings->net_name, colon);
    int err = set_kind(net, source, value, first, colon ? settings->net_name : NULL, error);
    while (!err && rest)
        err = set_option(settings, source, strsep(&rest, ","), error);
    return err;
}

int net_parse_publish(struct cli_settings *settings, const struct cli_source *source,
                      const char *value, struct uhyve_error *error)
{
    struct uhyve_forward forward = {0};
    size_t size = strlen(value);
    const char *slash = strchr(value, '/'), *colon;

    if (slash) {
        forward.udp = strcmp(slash, "/udp") == 0;
        size = forward.udp || strcmp(slash, "/tcp") == 0 ? (size_t)(slash - value) : 0;
    }
    colon = memrchr(value, ':', size);
    if (!colon ||
        !parse_end(value, (size_t)(colon - value), true, forward.host_address,
                   &forward.host_port) ||
        !parse_port(colon + 1, size - (size_t)(colon + 1 - value), &forward.guest_port))
        return option_refuse(source, error,
                             "'%.80s' does not publish a port (write HOST:GUEST, such as 8080:80, "
                             "127.0.0.1:8080:80 or 5353:53/udp)",
                             value);
    return add_forward(settings, source, &forward, error);
}

int net_check(struct cli_settings *settings, struct uhyve_error *error)
{
    struct uhyve_net *net = &settings->params.net;

    if (net->forward_count && net->kind == UHYVE_NET_NONE) {
        net->kind = UHYVE_NET_USER;
        net->name = "user";
    }
    if (net->forward_count && net->kind != UHYVE_NET_USER)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "--publish: only --net user forwards ports, and needs to (see uhyve "
                         "--help)");
    if (net->dump && net->kind == UHYVE_NET_NONE)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "--net-dump: the guest has no network (add --net, see uhyve --help)");
    return 0;
}
