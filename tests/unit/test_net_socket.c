/* The stream back end, with a real socket whose other side is the test; and captures. */
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "net/user.h"
#include "net_fixture.h"

static struct net_fixture fixture;
static struct uhyve_error error;
static char directory[] = "/tmp/uhyve-test-net-XXXXXX";
static char path[64], warning[512];
static int other = -1;
static pthread_mutex_t warning_lock = PTHREAD_MUTEX_INITIALIZER;

static void keep_warning(void *context, enum uhyve_level level, const char *text)
{
    pthread_mutex_lock(&warning_lock);
    snprintf(warning, sizeof warning, "%s", text);
    pthread_mutex_unlock(&warning_lock);
}

static const struct log test_log = {.message = keep_warning, .level = UHYVE_LEVEL_WARN};

static int make_directory(void **state)
{
    snprintf(path, sizeof path, "%s/socket", mkdtemp(directory));
    return 0;
}

static int remove_directory(void **state)
{
    return rmdir(directory);
}

static int listen_at(const char *where)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, where);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static struct net_backend *connect_to_other(const struct uhyve_net *config)
{
    struct net_backend *net = NULL;
    int listener = listen_at(path);

    if (net_socket_open(config, &test_log, &net, &error) != 0)
        fail_msg("%s", error.message);
    other = accept(listener, NULL, NULL);
    assert_true(other >= 0);
    close(listener);
    unlink(path);
    return net;
}

static int start(void **state)
{
    const struct uhyve_net config = {.kind = UHYVE_NET_SOCKET, .name = path};

    warning[0] = '\0';
    net_fixture_start(&fixture, connect_to_other(&config));
    return 0;
}

static int end(void **state)
{
    net_fixture_end(&fixture);
    if (other >= 0)
        close(other);
    return 0;
}

static void write_frame(const void *frame, uint32_t size)
{
    uint32_t length = htonl(size);
    assert_int_equal(write(other, &length, 4), 4);
    assert_int_equal(write(other, frame, size), size);
}

static uint32_t read_frame(void *frame)
{
    uint32_t length;
    assert_int_equal(recv(other, &length, 4, MSG_WAITALL), 4);
    length = ntohl(length);
    assert_true(length <= 2048);
    assert_int_equal(recv(other, frame, length, MSG_WAITALL), length);
    return length;
}

static void expect_frame(const void *frame, size_t expected)
{
    size_t size;
    const uint8_t *got = net_fixture_next(&fixture, &size);
    assert_int_equal(size, expected);
    assert_memory_equal(got, frame, size);
}

static struct timespec now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time;
}

static long elapsed_ms(const struct timespec *since)
{
    const struct timespec time = now();
    return (time.tv_sec - since->tv_sec) * 1000 + (time.tv_nsec - since->tv_nsec) / 1000000;
}

static void wait_for_warning(const char *text)
{
    for (int i = 0; i < 10000; i++) {
        pthread_mutex_lock(&warning_lock);
        bool found = strstr(warning, text) != NULL;
        pthread_mutex_unlock(&warning_lock);
        if (found)
            return;
        usleep(1000);
    }
    fail_msg("no warning about '%s'", text);
}

static void frames_go_both_ways(void **state)
{
    char frame[2048];

    net_fixture_send(&fixture, "from the guest", 14);
    assert_int_equal(read_frame(frame), 14);
    assert_memory_equal(frame, "from the guest", 14);
    write_frame("to the guest", 12);
    expect_frame("to the guest", 12);
    memset(frame, 'x', 1518);
    write_frame(frame, 1518);
    expect_frame(frame, 1518);
}

/* As a stream may deliver it: bytes one by one, or several frames at once. */
static void frames_may_come_in_pieces(void **state)
{
    static const char stream[] = "\0\0\0\005first\0\0\0\006second\0\0\0\1t";

    for (size_t i = 0; i < sizeof stream - 1; i++) {
        assert_int_equal(write(other, stream + i, 1), 1);
        usleep(200);
    }
    expect_frame("first", 5);
    expect_frame("second", 6);
    expect_frame("t", 1);
    assert_int_equal(write(other, stream, sizeof stream - 1), sizeof stream - 1);
    expect_frame("first", 5);
    expect_frame("second", 6);
    expect_frame("t", 1);
}

static void frames_larger_than_the_guest_takes_are_left_out(void **state)
{
    char frame[4000] = "";

    write_frame(frame, 1519);
    write_frame(frame, 0);
    write_frame(frame, 4000);
    write_frame("next", 4);
    expect_frame("next", 4);
}

/* Thousands of frames while the other side does not read: the guest has to wait, nothing is lost.
 */
static void a_slow_other_side_slows_the_guest_down(void **state)
{
    char frame[2048], text[1400] = "";
    struct net_header header = {0};
    unsigned sent = 0, refused = 0;
    struct iovec iov[] = {{&header, sizeof header}, {text, sizeof text}};

    while (refused < 100) {
        snprintf(text, sizeof text, "%u", sent);
        int err = fixture.net->ops->send(fixture.net, iov, 2);
        assert_true(err == 0 || err == -EAGAIN);
        sent += !err;
        refused = err ? refused + 1 : 0;
        usleep(err ? 1000 : 0);
    }
    assert_true(sent > 256);
    unsigned calls = fixture.ready_calls;
    for (unsigned i = 0; i < sent; i++) {
        read_frame(frame);
        assert_int_equal(atoi(frame), i);
    }
    /* It was told when to go on. */
    for (int i = 0; i < 10000 && fixture.ready_calls == calls; i++)
        usleep(1000);
    assert_true(fixture.ready_calls > calls);
}

static void *write_many(void *context)
{
    char text[600] = "";

    for (unsigned i = 0; i < 400; i++) {
        snprintf(text, sizeof text, "%u", i);
        write_frame(text, sizeof text);
    }
    return NULL;
}

/* A guest without buffers slows the other side down: nothing is lost. */
static void a_slow_guest_slows_the_other_side_down(void **state)
{
    pthread_t writer;
    size_t size;

    net_fixture_open(&fixture, false);
    pthread_create(&writer, NULL, write_many, NULL);
    usleep(50000);
    net_fixture_open(&fixture, true);
    for (int i = 0; i < 400; i++)
        assert_int_equal(atoi((const char *)net_fixture_next(&fixture, &size)), i);
    pthread_join(writer, NULL);
}

static void the_end_of_the_other_side_is_told(void **state)
{
    write_frame("last", 4);
    close(other);
    other = -1;
    expect_frame("last", 4);
    wait_for_warning("the other side has closed it");
    for (int i = 0; i < 1000; i++) /* lost, but not refused for ever */
        net_fixture_send(&fixture, "frame", 5);
}

/* The other side is there again, at the same path. */
static void accept_again(int listener)
{
    other = accept(listener, NULL, NULL);
    assert_true(other >= 0);
}

static void it_connects_again(void **state)
{
    char frame[2048];
    uint32_t length = htonl(1000);

    write_frame("first", 5);
    expect_frame("first", 5);
    for (int round = 0; round < 3; round++) {
        /* In the middle of a frame: the next stream begins with a new one. */
        assert_int_equal(write(other, &length, 4), 4);
        assert_int_equal(write(other, frame, 10), 10);
        close(other);
        wait_for_warning("interrupted");
        net_fixture_send(&fixture, "lost", 4);
        int listener = listen_at(path);
        accept_again(listener);
        write_frame("again", 5);
        expect_frame("again", 5);
        wait_for_warning("is back");
        net_fixture_send(&fixture, "from the guest", 14);
        assert_int_equal(read_frame(frame), 14);
        assert_memory_equal(frame, "from the guest", 14);
        close(listener);
        unlink(path);
    }
}

static void a_path_that_is_none_is_told(void **state)
{
    close(other);
    other = -1;
    wait_for_warning("interrupted");
    /* Its directory becomes a file. */
    char moved[80];
    snprintf(moved, sizeof moved, "%s.moved", directory);
    assert_int_equal(rename(directory, moved), 0);
    close(open(directory, O_WRONLY | O_CREAT, 0600));
    wait_for_warning("cannot connect to socket");
    assert_int_equal(unlink(directory), 0);
    assert_int_equal(rename(moved, directory), 0);
    accept_again(listen_at(path));
    write_frame("again", 5);
    expect_frame("again", 5);
    wait_for_warning("is back");
    unlink(path);
}

/* One that takes connections and ends them at once. The intervals grow all the same, and nothing is
 * said of it. */
static void a_useless_other_side_is_tried_less_and_less_often(void **state)
{
    int accepted = 0, listener = listen_at(path);
    struct pollfd wait = {.fd = listener, .events = POLLIN};

    close(other);
    other = -1;
    wait_for_warning("interrupted");
    warning[0] = '\0';
    for (struct timespec start = now(); elapsed_ms(&start) < 700;)
        if (poll(&wait, 1, 50) > 0) {
            close(accept(listener, NULL, NULL));
            accepted++;
        }
    /* After 50, 100, 200, 400 ms, ... */
    assert_in_range(accepted, 1, 5);
    assert_string_equal(warning, "");
    close(listener);
    unlink(path);
}

static void nonsense_ends_the_network(void **state)
{
    assert_int_equal(write(other, "GET / HTTP/1.1\r\n", 16), 16);
    wait_for_warning("not frames with their lengths");
    net_fixture_send(&fixture, "frame", 5);
}

static void failures_to_connect_say_why(void **state)
{
    char longer[200];
    struct net_backend *net = NULL;
    struct uhyve_net config = {.kind = UHYVE_NET_SOCKET, .name = path};

    assert_true(net_socket_open(&config, &test_log, &net, &error) < 0);
    assert_null(net);
    assert_int_equal(error.status, UHYVE_STATUS_FAILED);
    assert_non_null(strstr(error.message, "passt"));
    assert_non_null(strstr(error.message, path));
    close(listen_at(path));
    assert_true(net_socket_open(&config, &test_log, &net, &error) < 0);
    assert_non_null(strstr(error.message, "refused"));
    unlink(path);
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    config.name = longer;
    assert_true(net_socket_open(&config, &test_log, &net, &error) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_USAGE);
}

static void captures_have_what_went_through(void **state)
{
    char dump[96], frame[2048];
    struct uhyve_net config = {.kind = UHYVE_NET_SOCKET, .name = path, .dump = dump};
    struct {
        uint32_t magic;
        uint16_t major, minor;
        uint32_t zone, accuracy, length, link;
    } head;
    struct {
        uint32_t seconds, nanoseconds, stored, length;
    } record;

    snprintf(dump, sizeof dump, "%s/capture.pcap", directory);
    struct net_backend *net = connect_to_other(&config);
    assert_int_equal(net_dump_open(&config, &test_log, &net, &error), 0);
    net_fixture_start(&fixture, net);
    net_fixture_send(&fixture, "from the guest", 14);
    assert_int_equal(read_frame(frame), 14);
    write_frame("answer", 6);
    expect_frame("answer", 6);
    end(NULL);

    FILE *file = fopen(dump, "r");
    assert_non_null(file);
    assert_int_equal(fread(&head, sizeof head, 1, file), 1);
    assert_int_equal(head.magic, 0xa1b23c4d);
    assert_int_equal(head.major, 2);
    assert_int_equal(head.minor, 4);
    assert_int_equal(head.link, 1);
    assert_int_equal(fread(&record, sizeof record, 1, file), 1);
    assert_int_equal(record.stored, 14);
    assert_int_equal(record.length, 14);
    assert_true(record.nanoseconds < 1000000000 && record.seconds > 1600000000);
    assert_int_equal(fread(frame, 14, 1, file), 1);
    assert_memory_equal(frame, "from the guest", 14);
    assert_int_equal(fread(&record, sizeof record, 1, file), 1);
    assert_int_equal(record.stored, 6);
    assert_int_equal(fread(frame, 6, 1, file), 1);
    assert_memory_equal(frame, "answer", 6);
    assert_int_equal(fread(frame, 1, 1, file), 0);
    fclose(file);

    /* An existing file is kept. */
    net = connect_to_other(&config);
    struct net_backend *before = net;
    assert_true(net_dump_open(&config, &test_log, &net, &error) < 0);
    assert_ptr_equal(net, before);
    assert_non_null(strstr(error.message, "capture.pcap"));
    net_close(net);
    close(other);
    other = -1;
    unlink(dump);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_go_both_ways, start, end),
        cmocka_unit_test_setup_teardown(frames_may_come_in_pieces, start, end),
        cmocka_unit_test_setup_teardown(frames_larger_than_the_guest_takes_are_left_out, start,
                                        end),
        cmocka_unit_test_setup_teardown(a_slow_other_side_slows_the_guest_down, start, end),
        cmocka_unit_test_setup_teardown(a_slow_guest_slows_the_other_side_down, start, end),
        cmocka_unit_test_setup_teardown(the_end_of_the_other_side_is_told, start, end),
        cmocka_unit_test_setup_teardown(it_connects_again, start, end),
        cmocka_unit_test_setup_teardown(a_path_that_is_none_is_told, start, end),
        cmocka_unit_test_setup_teardown(a_useless_other_side_is_tried_less_and_less_often, start,
                                        end),
        cmocka_unit_test_setup_teardown(nonsense_ends_the_network, start, end),
        cmocka_unit_test(failures_to_connect_say_why),
        cmocka_unit_test(captures_have_what_went_through),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
