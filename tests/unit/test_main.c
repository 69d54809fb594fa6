/* The program from its first descriptor to its exit status, in a child process for each run. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_vm.h"

int uhyve_main(int argc, char **argv);

/* What came out of one run. */
static struct {
    int status; /* exit status, or 1000 + signal */
    char out[4096], err[4096];
} ran;

static void read_file(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, buffer, size - 1);
    assert_true(got >= 0);
    buffer[got] = '\0';
    close(fd);
}

/* Run the program with the words after "uhyve"; `prepare` runs in the child just before. */
static void run_prepared(void (*prepare)(void), const char *const *words)
{
    char *argv[16] = {strdup("uhyve")};
    int argc = 1, status;

    for (; words[argc - 1]; argc++)
        argv[argc] = strdup(words[argc - 1]);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(open("out", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600), STDOUT_FILENO);
        dup2(open("err", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600), STDERR_FILENO);
        signal(SIGSEGV, SIG_DFL); /* cmocka would go on with the next test */
        if (prepare)
            prepare();
        _exit(uhyve_main(argc, argv));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    ran.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    read_file("out", ran.out, sizeof ran.out);
    read_file("err", ran.err, sizeof ran.err);
    while (argc--)
        free(argv[argc]);
}

#define RUN(...)               run_prepared(NULL, (const char *const[]){__VA_ARGS__, NULL})
#define RUN_AFTER(before, ...) run_prepared(before, (const char *const[]){__VA_ARGS__, NULL})

static int start(void **state)
{
    char path[] = "/tmp/test_main.XXXXXX";
    if (!mkdtemp(path) || chdir(path) != 0)
        return -1;
    clear_environment();
    fake_vm = (struct fake_vm){0};
    fake_vm.result.kernel_log = "";
    fake_vm.stats.accel = "none";
    *state = strdup(path);
    return 0;
}

static int stop(void **state)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", (char *)*state);
    free(*state);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void help_and_version(void **state)
{
    RUN("--help");
    assert_int_equal(ran.status, 0);
    assert_non_null(strstr(ran.out, "Usage: uhyve"));
    assert_string_equal(ran.err, "");
    RUN("-V");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.out, "uhyve 0.0-fake\n");
    RUN("--nonsense");
    assert_int_equal(ran.status, 2);
    assert_string_equal(ran.out, "");
    assert_string_equal(ran.err, "uhyve: error: unknown option '--nonsense' (see uhyve --help)\n");
}

static void exit_codes(void **state)
{
    static const int codes[][2] = {{0, 0}, {1, 1}, {255, 255}, {-1, 255}, {256, 0}, {258, 2}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fake_vm.result.exit_code = codes[i][0];
        RUN("k");
        assert_int_equal(ran.status, codes[i][1]);
        assert_string_equal(ran.err, "");
    }
}

static void kernel_log_of_a_failure(void **state)
{
    fake_vm.result.kernel_log = "[0][INFO] one\n[0][INFO] two";
    RUN("k");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.err, "");

    fake_vm.result.exit_code = 3;
    RUN("k");
    assert_int_equal(ran.status, 3);
    assert_string_equal(ran.err, "uhyve: the guest exited with code 3; its kernel log:\n"
                                 "[0][INFO] one\n[0][INFO] two\n");
    assert_string_equal(ran.out, "");

    fake_vm.result.kernel_log_dropped = 77;
    fake_vm.result.outcome = UHYVE_CRASHED;
    fake_vm.result.report = "RIP 0\nRSP 1\n";
    RUN("k");
    assert_int_equal(ran.status, 134);
    assert_string_equal(
        ran.err,
        "uhyve: the kernel log of the guest, which crashed (77 bytes before this are lost):\n"
        "[0][INFO] one\n[0][INFO] two\nuhyve: error: the guest crashed: RIP 0\nRSP 1\n");
    fake_vm.result.kernel_log = "";
    fake_vm.result.report = NULL;
    RUN("k");
    assert_int_equal(ran.status, 134);
    assert_string_equal(ran.err, "uhyve: error: the guest crashed: out of memory for the report\n");
}

static void failures_of_the_vm(void **state)
{
    fake_vm.create_error = (struct uhyve_error){127, "cannot find the image 'k'"};
    RUN("k");
    assert_int_equal(ran.status, 127);
    assert_string_equal(ran.err, "uhyve: error: cannot find the image 'k'\n");
    RUN("k", "-o", "file");
    assert_int_equal(ran.status, 127);
    assert_int_equal(access("file", F_OK), -1);

    fake_vm.create_error.status = 0;
    fake_vm.run_error = (struct uhyve_error){125, "no threads"};
    RUN("k", "--stats");
    assert_int_equal(ran.status, 125);
    assert_string_equal(ran.err, "uhyve: error: no threads\n");
    assert_string_equal(ran.out, "");
}

static void lost_output(void **state)
{
    fake_vm.result.output_error = ENOSPC;
    RUN("k");
    assert_int_equal(ran.status, 125);
    assert_string_equal(ran.err, "uhyve: error: output of the guest was lost: No space left on "
                                 "device (make room on that file system)\n");
    fake_vm.result.exit_code = 9;
    RUN("k");
    assert_int_equal(ran.status, 9);
}

static void guest_writes(const struct uhyve_params *params)
{
    int fd = params->output_fd >= 0 ? params->output_fd : params->stdout_fd;
    if (!params->discard_output && write(fd, "guest\n", 6) != 6)
        fake_vm.result.output_error = errno;
}

static void output_goes_where_it_should(void **state)
{
    char content[64];
    struct stat info;

    fake_vm.run = guest_writes;
    RUN("k");
    assert_string_equal(ran.out, "guest\n");
    RUN("k", "-onone");
    assert_string_equal(ran.out, "");
    assert_int_equal(access("none", F_OK), -1);

    umask(027);
    RUN("k", "-o", "file");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.out, "");
    read_file("file", content, sizeof content);
    assert_string_equal(content, "guest\n");
    assert_int_equal(stat("file", &info), 0);
    assert_int_equal(info.st_mode & 07777, 0640);

    RUN("k", "-o", "file");
    assert_int_equal(ran.status, 125);
    assert_non_null(strstr(ran.err, "'file': File exists (remove it"));
    read_file("file", content, sizeof content);
    assert_string_equal(content, "guest\n");
    assert_int_equal(symlink("elsewhere", "link"), 0);
    RUN("k", "-o", "link");
    assert_int_equal(ran.status, 125);
    assert_int_equal(access("elsewhere", F_OK), -1);
}

static void close_all(void)
{
    close(0);
    close(1);
    close(2);
}

static void close_output(void)
{
    close(1);
}

static void close_error(void)
{
    close(2);
}

static void full_output(void)
{
    dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
}

static void broken_pipe(void)
{
    int ends[2];
    if (pipe(ends) == 0 && dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO)
        close(ends[0]);
    signal(SIGPIPE, SIG_DFL);
}

/* A full pipe that does not block, and a reader that comes later. */
static void slow_pipe(void)
{
    int ends[2];
    char byte = 0;
    if (pipe2(ends, O_NONBLOCK) != 0)
        _exit(99);
    while (write(ends[1], &byte, 1) == 1)
        ;
    if (fork() == 0) {
        static char buffer[70000];
        close(ends[1]);
        close(1);
        usleep(50000);
        struct pollfd readable = {.fd = ends[0], .events = POLLIN};
        while (poll(&readable, 1, -1) == 1 && read(ends[0], buffer, sizeof buffer) > 0)
            ;
        _exit(0);
    }
    dup2(ends[1], STDOUT_FILENO);
    close(ends[1]);
    close(ends[0]);
}

/* The output file must not become standard output or error, where uhyve itself writes. */
static void closed_streams_are_not_reused(void **state)
{
    static void (*const closers[])(void) = {close_all, close_output, close_error};
    static const char *const names[] = {"a", "b", "c"};
    char content[64];

    fake_vm.run = guest_writes;
    fake_vm.result.exit_code = 3;
    fake_vm.result.kernel_log = "log";
    for (size_t i = 0; i < 3; i++) {
        RUN_AFTER(closers[i], "k", "-o", names[i], "--stats=json");
        assert_int_equal(ran.status, 3);
        read_file(names[i], content, sizeof content);
        assert_string_equal(content, "guest\n");
    }
}

static void write_errors_are_noticed(void **state)
{
    RUN_AFTER(close_output, "--help");
    assert_int_equal(ran.status, 125);
    assert_non_null(strstr(ran.err, "standard output: Bad file descriptor"));
    RUN_AFTER(full_output, "--version");
    assert_int_equal(ran.status, 125);
    assert_non_null(strstr(ran.err, "standard output: No space left on device"));
    RUN_AFTER(broken_pipe, "--help");
    assert_int_equal(ran.status, 125);
    assert_non_null(strstr(ran.err, "standard output: Broken pipe"));
    RUN_AFTER(slow_pipe, "--help");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.err, "");

    fake_vm.result.exit_code = 5;
    RUN_AFTER(full_output, "k", "--stats");
    assert_int_equal(ran.status, 5);
    assert_non_null(strstr(ran.err, "standard output: No space left on device"));
    fake_vm.run = guest_writes;
    fake_vm.result.exit_code = 0;
    RUN_AFTER(broken_pipe, "k");
    assert_int_equal(ran.status, 125);
    assert_non_null(strstr(ran.err, "lost: Broken pipe"));
}

static void statistics_follow_the_output(void **state)
{
    fake_vm.run = guest_writes;
    RUN("k", "--stats");
    assert_int_equal(strncmp(ran.out, "guest\nRun statistics:\n", 22), 0);
    RUN("k", "--stats=json");
    assert_int_equal(strncmp(ran.out, "guest\n{\"accel\":\"none\",", 22), 0);
    assert_ptr_equal(strchr(ran.out + 6, '\n'), ran.out + strlen(ran.out) - 1);
    RUN("k", "-o", "file", "--stats");
    assert_int_equal(strncmp(ran.out, "Run statistics:\n", 16), 0);
}

static int signal_to_send;

static void send_once(const struct uhyve_params *params)
{
    raise(signal_to_send);
}

static void send_until_dead(const struct uhyve_params *params)
{
    raise(SIGHUP);
    raise(SIGHUP);
    raise(signal_to_send);
}

static void ignore_hangup(void)
{
    signal(SIGHUP, SIG_IGN);
}

static void ignore_interrupt(void)
{
    signal(SIGINT, SIG_IGN);
}

static void signals_stop_the_vm(void **state)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    fake_vm.result.exit_code = 4;
    fake_vm.run = send_once;
    for (size_t i = 0; i < 3; i++) {
        signal_to_send = numbers[i];
        RUN("k");
        assert_int_equal(ran.status, 128 + numbers[i]);
        assert_string_equal(ran.err, "");
    }
    RUN_AFTER(ignore_hangup, "k"); /* nohup */
    assert_int_equal(ran.status, 4);

    fake_vm.run = send_until_dead;
    signal_to_send = SIGINT;
    RUN("k");
    assert_int_equal(ran.status, 1000 + SIGINT);
    RUN_AFTER(ignore_interrupt, "k");
    assert_int_equal(ran.status, 128 + SIGHUP);
    signal_to_send = SIGTERM;
    RUN("k");
    assert_int_equal(ran.status, 1000 + SIGTERM);
}

static void say_something(const struct uhyve_params *params)
{
    params->message(params->message_context, UHYVE_LEVEL_WARN, "this is odd");
    params->message(params->message_context, UHYVE_LEVEL_NOTICE, "waiting");
}

static void messages_have_levels(void **state)
{
    fake_vm.run = say_something;
    RUN("k");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.err, "uhyve: warning: this is odd\nuhyve: waiting\n");
}

/* The user of a debugger ended it. */
static void stopped_without_a_signal(void **state)
{
    fake_vm.result.outcome = UHYVE_STOPPED;
    RUN("k");
    assert_int_equal(ran.status, 0);
    assert_string_equal(ran.err, "");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(help_and_version),
        TEST(exit_codes),
        TEST(kernel_log_of_a_failure),
        TEST(failures_of_the_vm),
        TEST(lost_output),
        TEST(output_goes_where_it_should),
        TEST(closed_streams_are_not_reused),
        TEST(write_errors_are_noticed),
        TEST(statistics_follow_the_output),
        TEST(signals_stop_the_vm),
        TEST(messages_have_levels),
        TEST(stopped_without_a_signal),
    };
    unit_keep_output_format();
    signal(SIGHUP, SIG_DFL); /* whoever runs the tests may ignore it: nohup does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
