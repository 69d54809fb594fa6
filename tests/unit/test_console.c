/* Where guest output ends up, in which order, and that it cannot keep the VM from stopping. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "console/console.h"
#include "console/log_tail.h"

struct fixture {
    int out[2], log[2], stop;
    struct uhyve_params params;
    struct log messages;
    int message_count;
    char message[256];
    struct console *console;
};

static void keep_message(void *context, enum uhyve_level level, const char *text)
{
    struct fixture *fixture = context;
    fixture->message_count++;
    snprintf(fixture->message, sizeof fixture->message, "%s", text);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.params = {.stdin_fd = -1, .output_fd = -1}};
    if (pipe2(fixture.out, O_NONBLOCK | O_CLOEXEC) || pipe2(fixture.log, O_NONBLOCK | O_CLOEXEC))
        return -1;
    fixture.stop = eventfd(0, EFD_CLOEXEC);
    fixture.params.stdout_fd = fixture.out[1];
    fixture.params.log_fd = fixture.log[1];
    fixture.messages = (struct log){keep_message, &fixture, UHYVE_LEVEL_WARN};
    *state = &fixture;
    return fixture.stop < 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    console_destroy(fixture->console);
    for (int i = 0; i < 2; i++) {
        close(fixture->out[i]);
        close(fixture->log[i]);
    }
    close(fixture->stop);
    return 0;
}

static struct console *start(struct fixture *fixture)
{
    struct uhyve_error error;
    assert_int_equal(console_create(&fixture->console, &fixture->params, fixture->stop,
                                    &fixture->messages, &error),
                     0);
    return fixture->console;
}

static void program(struct console *console, int fd, const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    assert_int_equal(console_program_write(console, fd, &iov, 1), strlen(text));
}

static void serial(struct console *console, const char *text)
{
    assert_int_equal(console_serial_write(console, text, strlen(text)), strlen(text));
}

static void serial_bytes(struct console *console, const char *text)
{
    for (; *text; text++)
        assert_int_equal(console_serial_write(console, text, 1), 1);
}

/* Everything that has been written to the other end so far. */
static void expect(const int ends[2], const char *text)
{
    char got[8192];
    ssize_t size = read(ends[0], got, sizeof got - 1);
    got[size > 0 ? size : 0] = '\0';
    assert_string_equal(got, text);
}

static const char boot_log[] = "[0][INFO] Welcome to Hermit 0.6.9\r\n"
                               "[0][INFO] tls_info = Some(\n"
                               "    TlsInfo {\n"
                               "        start: 0x4906f8,\n"
                               "    },\n"
                               ")\n";

static void streams_go_their_ways(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    size_t dropped;
    serial_bytes(console, boot_log);
    serial_bytes(console, "[    0.1][0][\x1b[33mWARN\x1b[0m  apic] careful\n  more\n");
    program(console, 1, "Hello, ");
    program(console, 2, "oops\n");
    program(console, 1, "world!\n");
    serial(console, "printed\n[0][INFO] bye\n[0][PANIC] at x:\nwhy\n");
    expect(fixture->out, "Hello, world!\nprinted\n");
    expect(fixture->log, "[    0.1][0][\x1b[33mWARN\x1b[0m  apic] careful\n  more\noops\n"
                         "[0][PANIC] at x:\nwhy\n");
    char kept[sizeof boot_log + 64];
    snprintf(kept, sizeof kept, "%s[0][INFO] bye\n", boot_log);
    assert_string_equal(console_kernel_log(console, &dropped), kept);
    assert_int_equal(dropped, 0);
    assert_int_equal(console_error(console), 0);
}

static void verbose_shows_all_of_the_log(void **state)
{
    struct fixture *fixture = *state;
    fixture->params.verbose = true;
    struct console *console = start(fixture);
    size_t dropped;
    serial_bytes(console, boot_log);
    expect(fixture->out, "");
    expect(fixture->log, boot_log);
    assert_string_equal(console_kernel_log(console, &dropped), "");
}

static void scattered_buffers_are_one_text(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    char text[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    struct iovec iov[36];
    for (size_t i = 0; i < 36; i++)
        iov[i] = (struct iovec){text + i, 1};
    iov[3].iov_len = 0;
    assert_int_equal(console_program_write(console, 1, iov, 36), 35);
    expect(fixture->out, "abcefghijklmnopqrstuvwxyz0123456789");
    assert_int_equal(console_program_write(console, 1, iov, 0), 0);
    struct iovec huge[] = {{text, SIZE_MAX / 2}, {text, SIZE_MAX / 2}};
    assert_int_equal(console_program_write(console, 1, huge, 2), -EINVAL);
}

static void a_prompt_appears_byte_by_byte(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    serial_bytes(console, "[1]");
    serial_bytes(console, " "); /* decides: a log prefix would go on with a bracket */
    expect(fixture->out, "[1] ");
    for (const char *p = "choose: "; *p; p++) {
        const char byte[] = {*p, '\0'};
        serial(console, byte);
        expect(fixture->out, byte);
    }
}

static void serial_and_program_text_keep_their_order(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    serial(console, "[0");
    expect(fixture->out, "");
    program(console, 1, "A");
    serial(console, "][INFO] not a log line any more\n[0][");
    program(console, 2, "E");
    expect(fixture->out, "[0A][INFO] not a log line any more\n[0][");
    serial(console, "\n[0][WARN] no newline");
    program(console, 2, "F\n");
    expect(fixture->log, "E[0][WARN] no newlineF\n");
    serial(console, "\n[0][IN");
    console_flush(console);
    expect(fixture->out, "\n[0][IN");
}

static void *write_program_text(void *console)
{
    program(console, 1, "other vCPU\n");
    return NULL;
}

static void another_vcpu_does_not_tear_a_log_line(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    const char line[] = "[0][WARN] text\n";
    for (const char *p = line; *p; p++) {
        serial_bytes(console, (char[]){*p, '\0'});
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, write_program_text, console), 0);
        pthread_join(thread, NULL);
        expect(fixture->out, "other vCPU\n");
    }
    expect(fixture->log, line);
}

static void a_shown_log_line_is_one_write(void **state)
{
    struct fixture *fixture = *state;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    fixture->params.log_fd = ends[1];
    struct console *console = start(fixture);
    serial_bytes(console, "[0][ERROR] a\n[0][ERROR] b\n");
    expect(ends, "[0][ERROR] a\n");
    expect(ends, "[0][ERROR] b\n");
    close(ends[0]);
    close(ends[1]);
}

static void the_output_file_gets_everything_in_order(void **state)
{
    struct fixture *fixture = *state;
    char path[] = "/tmp/test_console.XXXXXX", got[512] = "";
    int file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    fixture->params.output_fd = file;
    struct console *console = start(fixture);
    serial_bytes(console, "[0][INFO] a\n[0");
    program(console, 1, "b");
    program(console, 2, "c");
    serial(console, "][WARN] d\ne");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_program_text, console), 0);
    pthread_join(thread, NULL);
    serial(console, "f");
    console_flush(console);
    assert_true(pread(file, got, sizeof got - 1, 0) > 0);
    assert_string_equal(got, "[0][INFO] a\n[0bc][WARN] d\neother vCPU\nf");
    expect(fixture->out, "");
    expect(fixture->log, "");
    size_t dropped;
    assert_string_equal(console_kernel_log(console, &dropped), "");
    close(file);
}

static void discarded_output_goes_nowhere(void **state)
{
    struct fixture *fixture = *state;
    fixture->params.discard_output = true;
    fixture->params.output_fd = fixture->out[1];
    struct console *console = start(fixture);
    size_t dropped;
    program(console, 1, "a");
    program(console, 2, "b");
    serial(console, "[0][INFO] c\n[0][PANIC] d\ne\n");
    console_flush(console);
    expect(fixture->out, "");
    expect(fixture->log, "");
    assert_string_equal(console_kernel_log(console, &dropped), "");
    assert_int_equal(dropped, 0);
}

static void without_a_log_descriptor_all_lines_are_kept(void **state)
{
    struct fixture *fixture = *state;
    fixture->params.log_fd = -1;
    fixture->params.verbose = true;
    struct console *console = start(fixture);
    size_t dropped;
    serial(console, "[0][INFO] a\n[0][ERROR] b\nc\n");
    program(console, 2, "gone");
    assert_string_equal(console_kernel_log(console, &dropped), "[0][INFO] a\n[0][ERROR] b\n");
    expect(fixture->out, "c\n");
}

static void the_tail_keeps_whole_lines(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    size_t total = 0, dropped;
    for (int i = 0; i < 5000; i++) {
        char line[64];
        total += (size_t)snprintf(line, sizeof line, "[0][INFO] line number %d\n", i);
        serial(console, line);
    }
    const char *kept = console_kernel_log(console, &dropped);
    size_t size = strlen(kept);
    assert_in_range(size, LOG_TAIL_SIZE - 64, LOG_TAIL_SIZE);
    assert_int_equal(size + dropped, total);
    assert_memory_equal(kept, "[0][INFO] line number ", 22);
    assert_string_equal(kept + size - 5, "4999\n");

    console_serial_write(console, "[0][INFO] nul\0inside\n", 21);
    kept = console_kernel_log(console, &dropped);
    assert_string_equal(kept + strlen(kept) - 21, "[0][INFO] nul?inside\n");
}

static void lost_output_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    fixture->params.stdout_fd = full;
    struct console *console = start(fixture);
    char text[] = "text\n";
    struct iovec iov = {text, 5};
    assert_int_equal(console_program_write(console, 1, &iov, 1), -ENOSPC);
    assert_int_equal(console_program_write(console, 1, &iov, 1), -ENOSPC);
    assert_int_equal(console_serial_write(console, text, 5), -ENOSPC);
    assert_int_equal(console_error(console), ENOSPC);
    assert_int_equal(fixture->message_count, 1);
    assert_non_null(strstr(fixture->message, "the program's output"));
    assert_non_null(strstr(fixture->message, strerror(ENOSPC)));
    serial(console, "[0][ERROR] the other stream still works\n");
    expect(fixture->log, "[0][ERROR] the other stream still works\n");
    close(full);
}

static void a_gone_reader_is_lost_output(void **state)
{
    struct fixture *fixture = *state;
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before);
    struct console *console = start(fixture);
    close(fixture->out[0]);
    fixture->out[0] = -1;
    char text[] = "text\n";
    struct iovec iov = {text, 5};
    assert_int_equal(console_program_write(console, 1, &iov, 1), -EPIPE);
    assert_int_equal(console_error(console), EPIPE);
    sigaction(SIGPIPE, &before, NULL);
}

#define BIG (UINT32_C(1) << 20) /* more than a pipe takes */

struct job {
    struct console *console;
    bool serial;
    ssize_t result;
};

static void *write_much(void *argument)
{
    struct job *job = argument;
    char *bytes = malloc(BIG);
    memset(bytes, job->serial ? 's' : 'p', BIG);
    struct iovec iov = {bytes, BIG};
    job->result = job->serial ? console_serial_write(job->console, bytes, BIG)
                              : console_program_write(job->console, 1, &iov, 1);
    free(bytes);
    return NULL;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Four threads: one blocked in the write, the others waiting behind it. */
static void start_jobs(struct console *console, struct job jobs[4], pthread_t threads[4])
{
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct job){.console = console, .serial = i % 2};
        assert_int_equal(pthread_create(&threads[i], NULL, write_much, &jobs[i]), 0);
    }
    sleep_ms(20);
}

static void join_soon(pthread_t thread)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    assert_int_equal(pthread_timedjoin_np(thread, NULL, &deadline), 0);
}

static void the_stop_frees_writers_and_waiters(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    struct job jobs[4];
    pthread_t threads[4];
    start_jobs(console, jobs, threads);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_tryjoin_np(threads[i], NULL), EBUSY);
    eventfd_write(fixture->stop, 1);
    for (int i = 0; i < 4; i++) {
        join_soon(threads[i]);
        assert_int_equal(jobs[i].result, -EINTR);
    }
    assert_int_equal(console_error(console), 0);
    console_flush(console);

    /* Whoever comes after the stop still gets out what needs no waiting. */
    char drained[32768];
    while (read(fixture->out[0], drained, sizeof drained) > 0)
        ;
    program(console, 1, "last words");
    expect(fixture->out, "last words");
}

static void calls_are_contiguous_and_complete(void **state)
{
    struct fixture *fixture = *state;
    struct console *console = start(fixture);
    struct job jobs[4];
    pthread_t threads[4];
    fcntl(fixture->out[0], F_SETFL, 0);
    start_jobs(console, jobs, threads);
    char *got = malloc(4 * (size_t)BIG);
    for (size_t size = 0; size < 4 * (size_t)BIG;) {
        ssize_t part = read(fixture->out[0], got + size, 4 * (size_t)BIG - size);
        assert_true(part > 0);
        size += (size_t)part;
    }
    for (int i = 0; i < 4; i++) {
        join_soon(threads[i]);
        assert_int_equal(jobs[i].result, BIG);
    }
    for (size_t i = 0; i < 4 * (size_t)BIG; i++)
        if (got[i] != got[i / BIG * BIG])
            fail_msg("byte %zu belongs to another call", i);
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(streams_go_their_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(verbose_shows_all_of_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(scattered_buffers_are_one_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_prompt_appears_byte_by_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(serial_and_program_text_keep_their_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(another_vcpu_does_not_tear_a_log_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_shown_log_line_is_one_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_output_file_gets_everything_in_order, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(discarded_output_goes_nowhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_log_descriptor_all_lines_are_kept, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_tail_keeps_whole_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lost_output_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_gone_reader_is_lost_output, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_stop_frees_writers_and_waiters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(calls_are_contiguous_and_complete, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
