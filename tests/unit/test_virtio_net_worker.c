/* The network card with its thread, in front of a back end that is a socket. */
#include "unit.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "card_fixture.h"

#define FRAMES     8
#define FRAME_SIZE 60000 /* a socket takes a few of them */

static int peer;

static int socket_send(struct net_backend *net, const struct iovec *iov, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                                   .msg_iovlen = (size_t)count};
    return sendmsg(net->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static ssize_t socket_receive(struct net_backend *net, const struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                             .msg_iovlen = (size_t)count};
    ssize_t size = recvmsg(net->fd, &message, MSG_DONTWAIT);
    return size < 0 ? -errno : size == 0 ? -EPIPE : size;
}

static const struct net_ops socket_ops = {
    .name = "socket", .send = socket_send, .receive = socket_receive, .close = close_nothing};

static int start(void **state)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
        return -1;
    peer = fds[1];
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &(int){2 * FRAME_SIZE}, sizeof(int));
    setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 20},
               sizeof(struct timeval));
    backend.ops = &socket_ops;
    backend.fd = fds[0];
    if (create(state) != 0)
        return -1;
    assert_int_equal(virtio_net_start_backend(card, NULL, NULL, NULL), 0);
    bring_up(0);
    return virtio_net_start(card, NULL);
}

static int stop(void **state)
{
    destroy(state);
    close(peer);
    return close(backend.fd);
}

/* Wait until `condition` holds; a machine may be slow. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (unsigned tries = 0; !(condition) && tries < 20000; tries++)                           \
            usleep(1000);                                                                          \
        assert_true(condition);                                                                    \
    } while (0)

static void frames_come(void **state)
{
    static const uint8_t frame[112] = {[12] = 1, [111] = 2};

    for (uint16_t i = 0; i < 3; i++) {
        describe(0, i, BUFFER(i), 2000, 2, 0);
        offer(0, i);
        ring_bell(0);
        assert_int_equal(send(peer, frame, sizeof frame, 0), sizeof frame);
        WAIT_FOR(used(0) == i + 1);
        assert_memory_equal((uint8_t *)ram_at(&ram, BUFFER(i), 112) + 12, frame + 12, 100);
    }
    /* Without a buffer it waits in the socket. */
    assert_int_equal(send(peer, frame, sizeof frame, 0), sizeof frame);
    WAIT_FOR(__atomic_load_n(&words(DEVICE(0))[0], __ATOMIC_ACQUIRE) == 0);
    describe(0, 3, BUFFER(3), 2000, 2, 0);
    offer(0, 3);
    ring_bell(0);
    WAIT_FOR(used(0) == 4);
}

/* The vCPU does not wait for room: the worker sends the rest. */
static void frames_wait_for_room(void **state)
{
    static uint8_t frame[FRAME_SIZE + 1];

    memset(ram_at(&ram, BUFFER(0), FRAME_SIZE), 0, FRAME_SIZE);
    for (uint16_t i = 0; i < FRAMES; i++) {
        describe(1, i, BUFFER(0), FRAME_SIZE, 0, 0);
        offer(1, i);
    }
    ring_bell(1);
    assert_in_range(used(1), 1, FRAMES - 1);
    for (unsigned i = 0; i < FRAMES; i++)
        assert_int_equal(recv(peer, frame, sizeof frame, 0), FRAME_SIZE);
    WAIT_FOR(used(1) == FRAMES);
    struct uhyve_net_stats stats;
    virtio_net_get_stats(card, &stats);
    assert_int_equal(stats.sent_frames, FRAMES);
    assert_int_equal(stats.sent_lost, 0);
}

/* A driver that has no handler yet gets its interrupt again and again, one that has it does not. */
static void an_interrupt_without_a_handler(void **state)
{
    static const uint8_t frame[112];

    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    ring_bell(0);
    assert_int_equal(send(peer, frame, sizeof frame, 0), sizeof frame);
    for (unsigned i = 0; i < 3; i++) {
        WAIT_FOR(line);
        WAIT_FOR(!line);
    }
    WAIT_FOR(line);
    assert_int_equal(get(VIRTIO_ISR, 1), 1);
    assert_false(line);
}

static void the_peer_ends(void **state)
{
    describe(0, 0, BUFFER(0), 2000, 2, 0);
    offer(0, 0);
    ring_bell(0);
    shutdown(peer, SHUT_RDWR);
    WAIT_FOR(atomic_load(&card->backend_ended));
    virtio_net_stop(card);
    assert_int_equal(messages, 1);
    assert_string_equal(last_message,
                        "the network card receives nothing any more: socket: Broken pipe");
    assert_int_equal(used(0), 0);
}

static void without_a_card(void **state)
{
    virtio_net_destroy(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_come),   TEST(frames_wait_for_room),       TEST(an_interrupt_without_a_handler),
        TEST(the_peer_ends), cmocka_unit_test(without_a_card),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
