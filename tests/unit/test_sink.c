/* Writing to descriptors of every kind, with readers that read late, never, or no more. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "console/sink.h"

#define BIG (UINT32_C(1) << 20) /* more than any pipe or socket takes without a reader */

/* A connection to a reader, and the sink's side of it. */
struct channel {
    int reader, writer, stop;
    struct sink sink;
};

static void channel_open(struct channel *channel, enum sink_kind kind)
{
    int ends[2];
    if (kind == SINK_SOCKET) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    } else {
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    }
    channel->reader = ends[0];
    channel->writer = ends[1];
    channel->stop = eventfd(0, EFD_CLOEXEC);
    assert_true(channel->stop >= 0);
    sink_open(&channel->sink, channel->writer, channel->stop);
    if (kind == SINK_POLLED || kind == SINK_FILE) { /* as if opening it again had failed */
        sink_close(&channel->sink);
        channel->sink.kind = kind;
        channel->sink.fd = channel->writer;
    }
    assert_int_equal(channel->sink.kind, kind);
}

static void channel_close(struct channel *channel)
{
    sink_close(&channel->sink);
    if (channel->reader >= 0)
        close(channel->reader);
    close(channel->writer);
    close(channel->stop);
}

struct job {
    const struct sink *sink;
    const char *bytes;
    int result;
    size_t written;
};

static void *write_big(void *argument)
{
    struct job *job = argument;
    struct iovec iov[40]; /* more than one system call takes, some of them empty */
    size_t part = BIG / 32, at = 0;
    for (size_t i = 0; i < 40; i++) {
        size_t size = i % 5 == 1 ? 0 : part;
        iov[i] = (struct iovec){(void *)(uintptr_t)(job->bytes + at), size};
        at += size;
    }
    assert_int_equal(at, BIG);
    job->result = sink_write(job->sink, iov, 40, &job->written);
    return NULL;
}

static char *make_bytes(void)
{
    char *bytes = malloc(BIG);
    assert_non_null(bytes);
    for (size_t i = 0; i < BIG; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    return bytes;
}

/* The test fails, rather than hangs, if the thread does not return. */
static void join_soon(pthread_t thread)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    assert_int_equal(pthread_timedjoin_np(thread, NULL, &deadline), 0);
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static const enum sink_kind waiting_kinds[] = {SINK_DIRECT, SINK_SOCKET, SINK_POLLED};

static void a_late_reader_gets_everything(void **state)
{
    char *bytes = make_bytes(), *got = malloc(BIG);
    for (size_t i = 0; i < 3; i++) {
        struct channel channel;
        channel_open(&channel, waiting_kinds[i]);
        struct job job = {.sink = &channel.sink, .bytes = bytes};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_big, &job), 0);
        sleep_ms(10);
        for (size_t size = 0; size < BIG;) {
            ssize_t part = read(channel.reader, got + size, BIG - size);
            assert_true(part > 0);
            size += (size_t)part;
        }
        join_soon(thread);
        assert_int_equal(job.result, 0);
        assert_int_equal(job.written, BIG);
        assert_memory_equal(got, bytes, BIG);
        channel_close(&channel);
    }
    free(bytes);
    free(got);
}

static void the_stop_ends_a_write_nobody_reads(void **state)
{
    char *bytes = make_bytes();
    for (size_t i = 0; i < 3; i++) {
        struct channel channel;
        channel_open(&channel, waiting_kinds[i]);
        struct job job = {.sink = &channel.sink, .bytes = bytes};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_big, &job), 0);
        sleep_ms(10);
        assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
        eventfd_write(channel.stop, 1);
        join_soon(thread);
        assert_int_equal(job.result, -EINTR);
        assert_in_range(job.written, 4096, BIG - 1);

        /* After the stop, what fits is still written. */
        char drained[8192];
        assert_true(read(channel.reader, drained, sizeof drained) > 0);
        assert_true(read(channel.reader, drained, sizeof drained) > 0);
        if (waiting_kinds[i] != SINK_SOCKET) {
            size_t written;
            struct iovec small = {bytes, 100};
            assert_int_equal(sink_write(&channel.sink, &small, 1, &written), 0);
            assert_int_equal(written, 100);
        }
        channel_close(&channel);
    }
    free(bytes);
}

static void ignore_signal(int number)
{
}

static void a_signal_ends_a_write_that_blocks_after_all(void **state)
{
    struct sigaction action = {.sa_handler = ignore_signal}, before;
    sigaction(SIGUSR1, &action, &before);
    char *bytes = make_bytes();
    struct channel channel;
    channel_open(&channel, SINK_FILE); /* written without asking: blocks in the system call */
    struct job job = {.sink = &channel.sink, .bytes = bytes};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_big, &job), 0);
    sleep_ms(10);
    pthread_kill(thread, SIGUSR1); /* alone it changes nothing */
    sleep_ms(10);
    assert_int_equal(pthread_tryjoin_np(thread, NULL), EBUSY);
    eventfd_write(channel.stop, 1);
    while (pthread_tryjoin_np(thread, NULL) == EBUSY) {
        pthread_kill(thread, SIGUSR1);
        sleep_ms(1);
    }
    assert_int_equal(job.result, -EINTR);
    channel_close(&channel);
    free(bytes);
    sigaction(SIGUSR1, &before, NULL);
}

static void errors_come_back(void **state)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before);
    char bytes[] = "x";
    struct iovec iov = {bytes, 1};
    size_t written;
    for (size_t i = 0; i < 3; i++) {
        struct channel channel;
        channel_open(&channel, waiting_kinds[i]);
        close(channel.reader);
        channel.reader = -1;
        assert_int_equal(sink_write(&channel.sink, &iov, 1, &written), -EPIPE);
        assert_int_equal(written, 0);
        channel_close(&channel);
    }
    sigaction(SIGPIPE, &before, NULL);

    struct sink sink;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    sink_open(&sink, full, -1);
    assert_int_equal(sink_write(&sink, &iov, 1, &written), -ENOSPC);
    sink_close(&sink);
    close(full);
    sink_open(&sink, full, -1);
    assert_int_equal(sink_write(&sink, &iov, 1, &written), -EBADF);
    sink_close(&sink);
}

static void the_callers_descriptor_is_left_alone(void **state)
{
    struct channel channel;
    channel_open(&channel, SINK_DIRECT);
    assert_int_not_equal(channel.sink.fd, channel.writer);
    assert_false(fcntl(channel.writer, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(channel.sink.fd, F_GETFD) & FD_CLOEXEC);
    sink_close(&channel.sink);
    assert_int_equal(write(channel.writer, "x", 1), 1);
    channel_close(&channel);
}

static void no_descriptor_discards(void **state)
{
    char bytes[] = "text";
    struct iovec iov[] = {{bytes, 4}, {bytes, 0}, {bytes, 2}};
    struct sink sink;
    size_t written;
    sink_open(&sink, -1, -1);
    assert_int_equal(sink_write(&sink, iov, 3, &written), 0);
    assert_int_equal(written, 6);
    sink_close(&sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_reader_gets_everything),
        cmocka_unit_test(the_stop_ends_a_write_nobody_reads),
        cmocka_unit_test(a_signal_ends_a_write_that_blocks_after_all),
        cmocka_unit_test(errors_come_back),
        cmocka_unit_test(the_callers_descriptor_is_left_alone),
        cmocka_unit_test(no_descriptor_discards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
