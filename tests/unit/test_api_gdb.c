/* The debug server of a VM at every moment of its life, by a client that speaks the protocol
 * itself. What GDB's users do is tested in tests/system/gdb.bats. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api_fixture.h"
#include "debug/gdb/packet.h"

#define PATIENCE_MS 20000 /* an answer that takes longer does not come */

/* A VM that runs on a thread of its own, with a debug server. */
struct debugged {
    struct api_vm api;
    pthread_t thread;
    atomic_uint port;
    int status; /* of uhyve_run */
};

static void take_port(void *context, enum uhyve_level level, const char *text)
{
    struct debugged *vm = context;
    const char *number = strstr(text, "port ");
    if (level == UHYVE_LEVEL_NOTICE && number)
        atomic_store(&vm->port, (unsigned)atoi(number + 5));
}

static void *run_vm(void *context)
{
    struct debugged *vm = context;
    vm->status = uhyve_run(vm->api.vm, &vm->api.result, &vm->api.error);
    return NULL;
}

static void sleep_us(long microseconds)
{
    nanosleep(&(struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000}, NULL);
}

static void vm_init(struct debugged *vm, const char *guest, unsigned cpus)
{
    atomic_init(&vm->port, 0);
    api_init(&vm->api, guest, NULL);
    vm->api.params.cpu_count = cpus;
    vm->api.params.gdb = true;
    vm->api.params.message = take_port;
    vm->api.params.message_context = vm;
}

static void vm_start(struct debugged *vm)
{
    api_create(&vm->api);
    assert_int_equal(pthread_create(&vm->thread, NULL, run_vm, vm), 0);
    while (!atomic_load(&vm->port))
        sleep_us(1000);
}

static void vm_finish(struct debugged *vm, enum uhyve_outcome outcome)
{
    pthread_join(vm->thread, NULL);
    assert_int_equal(vm->status, 0);
    assert_int_equal(vm->api.result.outcome, outcome);
    api_finish(&vm->api);
}

/* A client of the server. */
struct client {
    int fd;
    struct packet_parser parser;
};

static void client_connect(struct client *client, struct debugged *vm)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)atomic_load(&vm->port)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    memset(client, 0, sizeof *client);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client->fd, (const struct sockaddr *)&address, sizeof address), 0);
}

static void client_send(struct client *client, const char *payload)
{
    struct text packet = {0};
    packet_add(&packet, payload, strlen(payload));
    ssize_t ignored = send(client->fd, packet.data, packet.size, MSG_NOSIGNAL);
    (void)ignored;
    text_free(&packet);
}

/* The payload of the next packet, or NULL when the connection has ended. */
static const char *client_receive(struct client *client)
{
    struct pollfd fd = {.fd = client->fd, .events = POLLIN};
    for (;;) {
        uint8_t byte;
        if (poll(&fd, 1, PATIENCE_MS) != 1)
            fail_msg("no answer");
        if (recv(client->fd, &byte, 1, 0) != 1)
            return NULL;
        if (packet_feed(&client->parser, byte) == PACKET_COMPLETE)
            return client->parser.data;
    }
}

static const char *client_ask(struct client *client, const char *payload)
{
    client_send(client, payload);
    return client_receive(client);
}

static void client_interrupt(struct client *client)
{
    assert_int_equal(send(client->fd, "\x03", 1, MSG_NOSIGNAL), 1);
}

static void expect_start(const char *answer, const char *start)
{
    assert_non_null(answer);
    if (strncmp(answer, start, strlen(start)) != 0)
        fail_msg("'%s' does not start with '%s'", answer, start);
}

#define EXPECT(client, payload, start) expect_start(client_ask(client, payload), start)

static void nothing_runs_before_the_first_resume(void **state)
{
    struct debugged vm;
    struct client client;
    vm_init(&vm, "hello-v2", 2);
    vm_start(&vm);
    client_connect(&client, &vm);
    EXPECT(&client, "?", "T05");
    EXPECT(&client, "qfThreadInfo", "m1,2");
    EXPECT(&client, "g", "");
    assert_string_equal(api_text(vm.api.out), "");
    client_send(&client, "vCont;c");
    expect_start(client_receive(&client), "W00");
    assert_null(client_receive(&client));
    close(client.fd);
    vm_finish(&vm, UHYVE_EXITED);
}

static void guests_go_on_when_the_client_leaves(void **state)
{
    for (int how = 0; how < 4; how++) {
        struct debugged vm;
        struct client client;
        vm_init(&vm, "hello-v2", 1 + (unsigned)how % 2);
        vm_start(&vm);
        client_connect(&client, &vm);
        if (how == 1)
            client_send(&client, "vCont;c");
        if (how == 2)
            assert_int_equal(send(client.fd, "$m0,10", 6, MSG_NOSIGNAL), 6);
        if (how == 3)
            EXPECT(&client, "D", "OK");
        close(client.fd);
        vm_finish(&vm, UHYVE_EXITED);
    }
}

static void vms_are_stopped_whatever_the_debugger_does(void **state)
{
    for (int how = 0; how < 4; how++) {
        struct debugged vm;
        struct client client = {.fd = -1};
        vm_init(&vm, "spin-forever-v2", 1 + (unsigned)how % 3);
        vm_start(&vm);
        if (how)
            client_connect(&client, &vm);
        if (how >= 2)
            EXPECT(&client, "?", "T05");
        if (how == 3) {
            client_send(&client, "vCont;c");
            while (lseek(vm.api.out, 0, SEEK_END) == 0) /* not before it has come through */
                sleep_us(1000);
        }
        uhyve_stop(vm.api.vm);
        if (how == 3)
            expect_start(client_receive(&client), "X0f");
        else if (how)
            assert_null(client_receive(&client));
        if (how)
            close(client.fd);
        vm_finish(&vm, UHYVE_STOPPED);
    }
}

static void a_debugger_that_never_starts(void **state)
{
    struct debugged vm;
    struct uhyve_result result;
    vm_init(&vm, "hello-v2", 2);
    api_create(&vm.api);
    uhyve_stop(vm.api.vm);
    assert_int_equal(uhyve_run(vm.api.vm, &result, &vm.api.error), 0);
    assert_int_equal(result.outcome, UHYVE_STOPPED);
    api_finish(&vm.api);
    vm_init(&vm, "hello-v2", 2);
    api_create(&vm.api);
    api_finish(&vm.api);
}

/* Every CPU is stopped when the reply is there, and can be looked at. */
static void all_cpus_are_interrupted_again_and_again(void **state)
{
    static const unsigned cpus[] = {1, 2, 7};
    for (size_t i = 0; i < 3; i++) {
        struct debugged vm;
        struct client client;
        vm_init(&vm, "spin-forever-v2", cpus[i]);
        vm_start(&vm);
        client_connect(&client, &vm);
        for (int round = 0; round < 20; round++) {
            client_send(&client, "vCont;c");
            sleep_us(round * 300);
            client_interrupt(&client);
            expect_start(client_receive(&client), "T02");
            for (unsigned cpu = 0; cpu < cpus[i]; cpu++) {
                char select[16];
                snprintf(select, sizeof select, "Hg%x", cpu + 1);
                EXPECT(&client, select, "OK");
                assert_true(strlen(client_ask(&client, "p10")) == 16);
                EXPECT(&client, "P0=0000000000000000", "OK");
            }
        }
        EXPECT(&client, "vKill;1", "OK");
        close(client.fd);
        vm_finish(&vm, UHYVE_STOPPED);
    }
}

static void clients_come_and_go(void **state)
{
    struct debugged vm;
    vm_init(&vm, "spin-forever-v2", 2);
    vm_start(&vm);
    for (int round = 0; round < 40; round++) {
        struct client client, second;
        client_connect(&client, &vm);
        if (round % 3)
            EXPECT(&client, "?", "T");
        if (round % 4 == 1) {
            client_connect(&second, &vm);
            assert_null(client_receive(&second));
            close(second.fd);
        }
        if (round % 2)
            client_send(&client, "vCont;c");
        if (round % 5 == 2)
            client_interrupt(&client);
        sleep_us(round * 53 % 700);
        close(client.fd);
    }
    uhyve_stop(vm.api.vm);
    vm_finish(&vm, UHYVE_STOPPED);
}

struct stopper {
    struct debugged *vm;
    long after_us;
};

static void *stop_later(void *context)
{
    struct stopper *stopper = context;
    sleep_us(stopper->after_us);
    uhyve_stop(stopper->vm->api.vm);
    return NULL;
}

static void stopped_at_any_moment(void **state)
{
    for (int round = 0; round < 40; round++) {
        struct debugged vm;
        struct client client;
        struct stopper stopper = {&vm, round * 211};
        pthread_t thread;
        vm_init(&vm, "spin-forever-v2", 1 + (unsigned)round % 3);
        vm_start(&vm);
        client_connect(&client, &vm);
        assert_int_equal(pthread_create(&thread, NULL, stop_later, &stopper), 0);
        const char *answer = "";
        while (answer) {
            client_send(&client, "vCont;c");
            ssize_t ignored = send(client.fd, "\x03", 1, MSG_NOSIGNAL);
            (void)ignored;
            answer = client_receive(&client);
            if (answer && *answer == 'T')
                answer = client_ask(&client, "g");
        }
        close(client.fd);
        pthread_join(thread, NULL);
        vm_finish(&vm, UHYVE_STOPPED);
    }
}

/* A CPU that waits for input is not in the guest, and counts as stopped. */
static void a_host_call_can_be_looked_at(void **state)
{
    struct debugged vm;
    struct client client;
    int pipe_fd[2];
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    vm_init(&vm, "cat-v2", 1);
    vm.api.params.stdin_fd = pipe_fd[0];
    vm_start(&vm);
    client_connect(&client, &vm);
    for (int round = 0; round < 3; round++) {
        client_send(&client, "vCont;c");
        sleep_us(50000);
        client_interrupt(&client);
        expect_start(client_receive(&client), "T02");
        assert_int_equal(strlen(client_ask(&client, "p10")), 16);
    }
    /* The registers belong to the call. */
    EXPECT(&client, "P0=0000000000000000", "E");
    /* Its end waits for the debugger, who may look meanwhile. */
    assert_int_equal(write(pipe_fd[1], "text", 4), 4);
    close(pipe_fd[1]);
    sleep_us(50000);
    EXPECT(&client, "?", "T02");
    assert_string_equal(api_text(vm.api.out), "");
    client_send(&client, "vCont;c");
    expect_start(client_receive(&client), "W00");
    assert_string_equal(api_text(vm.api.out), "text");
    close(client.fd);
    vm_finish(&vm, UHYVE_EXITED);
    close(pipe_fd[0]);
}

static void crashes_can_be_looked_at(void **state)
{
    static const char *const arguments[] = {"ud2"};
    for (int how = 0; how < 3; how++) {
        struct debugged vm;
        struct client client;
        vm_init(&vm, "crash-v2", 2);
        vm.api.params.app_args = arguments;
        vm.api.params.app_arg_count = 1;
        vm_start(&vm);
        client_connect(&client, &vm);
        client_send(&client, "vCont;c");
        expect_start(client_receive(&client), "T04");
        assert_int_equal(strlen(client_ask(&client, "p10")), 16);
        if (how == 0) {
            client_send(&client, "vCont;c");
            expect_start(client_receive(&client), "X04");
        } else if (how == 1) {
            EXPECT(&client, "D", "OK");
        }
        close(client.fd);
        vm_finish(&vm, UHYVE_CRASHED);
    }
}

static void a_client_that_does_not_read(void **state)
{
    struct debugged vm;
    struct client client;
    vm_init(&vm, "spin-forever-v2", 1);
    vm_start(&vm);
    client_connect(&client, &vm);
    /* More answers than the sockets hold. */
    for (int i = 0; i < 20000; i++) {
        ssize_t size = send(client.fd, "$qXfer:features:read:target.xml:0,4000#e5", 41,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (size < 0)
            break;
    }
    uhyve_stop(vm.api.vm);
    vm_finish(&vm, UHYVE_STOPPED);
    close(client.fd);
}

static void nothing_is_left_behind(void **state)
{
    struct api_resources before = {0}, after;
    for (int round = 0; round < 6; round++) {
        struct debugged vm;
        struct client client;
        if (round == 3)
            before = api_resources();
        vm_init(&vm, "hello-v2", 2);
        vm_start(&vm);
        client_connect(&client, &vm);
        EXPECT(&client, "Z0,fffffffffffffff8,1", "");
        close(client.fd);
        vm_finish(&vm, UHYVE_EXITED);
    }
    after = api_resources();
    assert_int_equal(after.descriptors, before.descriptors);
    assert_int_equal(after.threads, before.threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_runs_before_the_first_resume),
        cmocka_unit_test(guests_go_on_when_the_client_leaves),
        cmocka_unit_test(vms_are_stopped_whatever_the_debugger_does),
        cmocka_unit_test(a_debugger_that_never_starts),
        cmocka_unit_test(all_cpus_are_interrupted_again_and_again),
        cmocka_unit_test(clients_come_and_go),
        cmocka_unit_test(stopped_at_any_moment),
        cmocka_unit_test(a_host_call_can_be_looked_at),
        cmocka_unit_test(crashes_can_be_looked_at),
        cmocka_unit_test(a_client_that_does_not_read),
        cmocka_unit_test(nothing_is_left_behind),
    };
    return API_RUN_TESTS(tests);
}
