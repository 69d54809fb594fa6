/* The network as it is asked for: --net, --publish and --net-dump. */
#include "unit.h"

#include "cli_fixture.h"

static void networks(void **state)
{
    const struct uhyve_net *net = &settings.params.net;

    MUST_LOAD("k");
    assert_int_equal(net->kind, UHYVE_NET_NONE);
    MUST_LOAD("k", "-ntap");
    assert_int_equal(net->kind, UHYVE_NET_TAP);
    assert_string_equal(net->name, "tap10");
    assert_int_equal(net->mac_kind, UHYVE_MAC_DEFAULT);
    REFUSE(WORDS("k", "--net", "tap:br0.5,mac=02:aB:0:00:00:01"), WORDS("hardware address"));
    MUST_LOAD("k", "--net", "tap:br0.5,mac=02:aB:00:00:00:01");
    assert_string_equal(net->name, "br0.5");
    assert_int_equal(net->mac_kind, UHYVE_MAC_GIVEN);
    assert_memory_equal(net->mac, "\x02\xab\0\0\0\x01", 6);
    MUST_LOAD("k", "--net=tap,mac=tap");
    assert_int_equal(net->mac_kind, UHYVE_MAC_OF_TAP);
    MUST_LOAD("k", "--net=socket:/run/a b,mac=02:00:00:00:00:01");
    assert_int_equal(net->kind, UHYVE_NET_SOCKET);
    assert_string_equal(net->name, "/run/a b");
    MUST_LOAD("k", "--net=user,hostfwd=tcp::8080-:80,hostfwd=udp:127.0.0.1:53-10.0.2.15:5353");
    assert_int_equal(net->kind, UHYVE_NET_USER);
    assert_int_equal(net->forward_count, 2);
    assert_false(net->forwards[0].udp);
    assert_string_equal(net->forwards[0].host_address, "");
    assert_int_equal(net->forwards[0].host_port, 8080);
    assert_int_equal(net->forwards[0].guest_port, 80);
    assert_true(net->forwards[1].udp);
    assert_string_equal(net->forwards[1].host_address, "127.0.0.1");
    assert_int_equal(net->forwards[1].host_port, 53);
    assert_string_equal(net->forwards[1].guest_address, "10.0.2.15");
    assert_int_equal(net->forwards[1].guest_port, 5353);

    REFUSE(WORDS("k", "--net="), WORDS("--net"));
    REFUSE(WORDS("k", "--net=bridge"), WORDS("--net", "bridge", "tap:INTERFACE"));
    REFUSE(WORDS("k", "--net=tap:"), WORDS("--net", "name of an interface"));
    REFUSE(WORDS("k", "--net=tap:a-name-too-long-1"), WORDS("a-name-too-long-1", "15 characters"));
    REFUSE(WORDS("k", "--net=tap:../x"), WORDS("../x"));
    REFUSE(WORDS("k", "--net=socket"), WORDS("socket:PATH"));
    REFUSE(WORDS("k", "--net=user:x"), WORDS("user:x"));
    REFUSE(WORDS("k", "--net=user,mac=tap"), WORDS("mac=tap"));
    REFUSE(WORDS("k", "--net=tap,mac=02:00:00:00:00"), WORDS("hardware address"));
    REFUSE(WORDS("k", "--net=tap,mac=02:00:00:00:00:01:"), WORDS("hardware address"));
    REFUSE(WORDS("k", "--net=tap,mac=03:00:00:00:00:01"), WORDS("group"));
    REFUSE(WORDS("k", "--net=tap,vlan=3"), WORDS("vlan=3"));
    REFUSE(WORDS("k", "--net=tap,hostfwd=tcp::1-:1"), WORDS("--net user only"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp::0-:80"), WORDS("hostfwd=tcp::8080-:80"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp:1.2.3:1-:80"), WORDS("1.2.3"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp::80"), WORDS("tcp::80"));
    REFUSE(WORDS("k", "--net=user,hostfwd=sctp::80-:80"), WORDS("sctp::80-:80"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp:80-:80"), WORDS("tcp:80-:80"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp::-:80"), WORDS("tcp::-:80"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp::800000-:80"), WORDS("tcp::800000"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp::70000-:80"), WORDS("tcp::70000"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp::80x-:80"), WORDS("tcp::80x"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp::80-1.2.3.4.5:80"), WORDS("1.2.3.4.5"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp:[]:80-:80"), WORDS("[]"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp:[:80-:80"), WORDS("tcp:[:80"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp:[::1:80-:80"), WORDS("tcp:[::1:80"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp:[1.2.3.4]:80-:80"), WORDS("[1.2.3.4]"));
    REFUSE(WORDS("k", "--net=user,hostfwd=tcp:"
                      "0000000000000000000000000000000000000000000000:80-:80"),
           WORDS("tcp:0000"));
    REFUSE(WORDS("k", "--net=socket:"), WORDS("socket:PATH"));
    MUST_LOAD("k", "--net=user,hostfwd=::8080-:80,hostfwd=tcp:[::1]:80-[fe80::1]:81");
    assert_false(net->forwards[0].udp);
    assert_string_equal(net->forwards[1].host_address, "::1");
    assert_string_equal(net->forwards[1].guest_address, "fe80::1");
}

static void published_ports(void **state)
{
    const struct uhyve_net *net = &settings.params.net;

    MUST_LOAD("k", "-p", "8080:80", "-p127.0.0.1:53:5353/udp", "--publish=[::1]:1:2/tcp", "-p:3:4");
    assert_int_equal(net->kind, UHYVE_NET_USER);
    assert_string_equal(net->name, "user");
    static const struct uhyve_forward expected[] = {
        {.host_port = 8080, .guest_port = 80},
        {.udp = true, .host_address = "127.0.0.1", .host_port = 53, .guest_port = 5353},
        {.host_address = "::1", .host_port = 1, .guest_port = 2},
        {.host_port = 3, .guest_port = 4},
    };
    assert_int_equal(net->forward_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(net->forwards[i].udp, expected[i].udp);
        assert_string_equal(net->forwards[i].host_address, expected[i].host_address);
        assert_string_equal(net->forwards[i].guest_address, "");
        assert_int_equal(net->forwards[i].host_port, expected[i].host_port);
        assert_int_equal(net->forwards[i].guest_port, expected[i].guest_port);
    }
    MUST_LOAD("k", "-nuser", "-p1:1");
    assert_int_equal(net->forward_count, 1);

    static const char *const bad[] = {
        "80",     ":80",      "80:",      "0:80",       "80:0",          "80:65536", "80:80/sctp",
        "80:80/", "80:80/ud", "x:80:80",  "1.2.3:1:1",  "[::1:80:80",    "::1]:1:1", "[]:1:1",
        "8x:80",  "80:8x",    "80/udp:1", "1.2.3.4:80", "[1.2.3.4]:1:1", "",
    };
    for (size_t i = 1; i < sizeof bad / sizeof *bad; i++) {
        char word[64];
        snprintf(word, sizeof word, "--publish=%s", bad[i - 1]);
        REFUSE(WORDS("k", word), WORDS("--publish: ", "does not publish a port", bad[i - 1]));
    }
    REFUSE(WORDS("k", "-ntap", "-p1:1"), WORDS("--publish", "only --net user"));
    REFUSE(WORDS("k", "-nsocket:/s", "-p1:1"), WORDS("--publish", "only --net user"));
}

static void a_capture_needs_a_network(void **state)
{
    MUST_LOAD("k", "-nuser", "--net-dump", "f.pcap");
    assert_string_equal(settings.params.net.dump, "f.pcap");
    MUST_LOAD("k", "-p1:1", "--net-dump=f.pcap");
    REFUSE(WORDS("k", "--net-dump", "f.pcap"), WORDS("--net-dump", "--net"));
}

/* Each is one too many, or one too long. */
static void networks_are_bounded(void **state)
{
    const struct uhyve_net *net = &settings.params.net;
    char many[1100] = "--net=user", *argv[] = {"uhyve", "k", many, "-p1:1", NULL};

    for (size_t i = 0; i < CLI_FORWARDS_MAX; i++)
        strcat(many, ",hostfwd=::1-:1");
    settings_free(&settings);
    settings_init(&settings);
    assert_int_equal(settings_load(&settings, 3, argv, &failure), 0);
    assert_int_equal(net->forward_count, CLI_FORWARDS_MAX);
    settings_free(&settings);
    settings_init(&settings);
    assert_true(settings_load(&settings, 4, argv, &failure) < 0);
    assert_non_null(strstr(failure.message, "more than 64 forwarded ports"));

    for (size_t size = 250; size < sizeof many - 1; size += 400) {
        memset(many, 0, sizeof many);
        strcpy(many, "--net=socket:");
        memset(many + strlen(many), 'x', size);
        settings_free(&settings);
        settings_init(&settings);
        bool fits = size <= CLI_NET_NAME_MAX;
        assert_true((settings_load(&settings, 3, argv, &failure) == 0) == fits);
    }
}

int main(void)
{
    unit_keep_output_format();
    const struct CMUnitTest tests[] = {
        CLI_TEST(networks),
        CLI_TEST(published_ports),
        CLI_TEST(a_capture_needs_a_network),
        CLI_TEST(networks_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
