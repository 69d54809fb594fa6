/* Network back ends: what can be seen of them without a network. */
#include "unit.h"

#include <errno.h>

#include "net/net.h"

static const struct log quiet;

static void addresses_are_local_and_stable(void **state)
{
    uint8_t a[NET_MAC_SIZE], again[NET_MAC_SIZE], b[NET_MAC_SIZE];

    net_make_mac(a, "tap10");
    net_make_mac(again, "tap10");
    net_make_mac(b, "tap11");
    assert_int_equal(a[0] & 3, 2);
    assert_memory_equal(a, again, sizeof a);
    assert_memory_not_equal(a, b, sizeof a);
}

static void a_missing_tap_is_named_with_a_remedy(void **state)
{
    const struct uhyve_net config = {.kind = UHYVE_NET_TAP, .name = "uhyve-none"};
    struct net_backend *net = (void *)1;
    struct uhyve_error error = {0};

    assert_int_equal(net_open(&config, &quiet, &net, &error), -ENODEV);
    assert_null(net);
    assert_int_equal(error.status, UHYVE_STATUS_FAILED);
    assert_non_null(strstr(error.message, "'uhyve-none'"));
    assert_non_null(strstr(error.message, "ip tuntap add dev uhyve-none mode tap user "));
}

static void a_name_is_needed_where_it_means_something(void **state)
{
    static const enum uhyve_net_kind kinds[] = {UHYVE_NET_TAP, UHYVE_NET_SOCKET, UHYVE_NET_USER};

    for (unsigned i = 0; i < 3; i++) {
        const struct uhyve_net config = {.kind = kinds[i]};
        struct net_backend *net = NULL;
        struct uhyve_error error = {0};
        int err = net_open(&config, &quiet, &net, &error);
        if (kinds[i] != UHYVE_NET_USER) {
            assert_int_equal(err, -EINVAL);
            assert_int_equal(error.status, UHYVE_STATUS_USAGE);
        }
        if (net)
            net_close(net);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_local_and_stable),
        cmocka_unit_test(a_missing_tap_is_named_with_a_remedy),
        cmocka_unit_test(a_name_is_needed_where_it_means_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
