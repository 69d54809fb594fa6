#include "kinds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "debugger.h"

static void text(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void text(struct run *run, const char *format, ...)
{
    size_t at = strlen(run->text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(run->text + at, sizeof run->text - at, format, arguments);
    va_end(arguments);
}

static bool is_kvm(const struct run *run)
{
    return strcmp(run->accel, "kvm") == 0;
}

static void prepare_hello(struct run *run)
{
    static const char *const names[] = {"hello-v1",     "hello-v2",      "hello-if2",
                                        "hello-legacy", "hello-exec-v1", "hello-exec-v2"};
    if (geteuid() == 0 && soak_chance(&run->random, 30))
        run_word(run, "--user=65534:65534");
    run_guest(run, names[soak_random(&run->random, 6)]);
    text(run, "Hello from a unikernel.\n");
}

/* The CPUs print in any order; the last line is always the same. */
static void prepare_smp(struct run *run)
{
    run_guest(run, soak_chance(&run->random, 50) ? "smp-v1" : "smp-v2");
    run->any_text = true;
    text(run, "%u cpus, counter %u, guarded %u\n", run->cpus, run->cpus * 1000, run->cpus * 1000);
}

static bool check_smp(struct run *run)
{
    char *output = run_output(run->out, NULL);
    unsigned lines = 0;

    for (const char *at = output; *at; at++)
        lines += *at == '\n';
    bool good = strstr(output, run->text) && lines == run->cpus + 1;
    if (!good)
        snprintf(run->why, sizeof run->why, "output: %.1500s", output);
    free(output);
    return good;
}

static void prepare_exit_code(struct run *run)
{
    run->status = (int)soak_random(&run->random, 256);
    run_guest(run, soak_chance(&run->random, 50) ? "exit-code-v1" : "exit-code-v2");
    run_word(run, "--");
    run_word(run, "--");
    run_word(run, "%d", run->status);
}

static void prepare_exit_from(struct run *run)
{
    unsigned cpu = (unsigned)soak_random(&run->random, run->cpus);

    run->any_text = true;
    run->status = 40 + (int)cpu;
    run_guest(run, "smp-v2");
    run_word(run, "--");
    run_word(run, "--");
    run_word(run, "exit-from");
    run_word(run, "%u", cpu);
}

static void prepare_arguments(struct run *run)
{
    uint64_t number = soak_random(&run->random, 1000000);

    run_word(run, "-e");
    run_word(run, "NUMBER=%llu", (unsigned long long)number);
    run_guest(run, "echo-args-v1");
    run_word(run, "kernel");
    run_word(run, "--");
    run_word(run, "--");
    run_word(run, "two words %llu", (unsigned long long)number);
    run->any_text = true;
    text(run, "app[0]=two words %llu\n", (unsigned long long)number);
}

static bool check_line(struct run *run)
{
    char *output = run_output(run->out, NULL);
    bool good = strstr(output, run->text) != NULL;

    if (!good)
        snprintf(run->why, sizeof run->why, "output: %.1500s", output);
    free(output);
    return good;
}

static void prepare_cat(struct run *run)
{
    size_t size = soak_random(&run->random, sizeof run->text - 1);

    for (size_t i = 0; i < size; i++)
        run->text[i] = (char)('a' + soak_random(&run->random, 26));
    run->text[size] = '\0';
    run->with_input = true;
    run_guest(run, soak_chance(&run->random, 50) ? "cat-v1" : "cat-v2");
}

static void feed_cat(struct run *run)
{
    size_t size = strlen(run->text);

    for (size_t done = 0; done < size;) {
        ssize_t count = write(run->in, run->text + done, size - done);
        if (count < 0 && errno != EINTR)
            break;
        done += count > 0 ? (size_t)count : 0;
    }
    close(run->in);
    run->in = -1;
}

/* A directory, a file of its own with a process that opens it, and files of the guest's. */
static void prepare_files(struct run *run)
{
    unsigned size = 1 + (unsigned)soak_random(&run->random, 1000u << soak_random(&run->random, 12));

    run_word(run, "--file-mapping");
    run_word(run, "%s:/data", run->directory);
    run_word(run, "--file-mapping");
    run_word(run, "%s/single:/in/single", run->directory);
    run_guest(run, soak_chance(&run->random, 50) ? "files-v1" : "files-v2");
    run_word(run, "--");
    run_word(run, "--");
    run_word(run, "open /in/single +c 600");
    run_word(run, "fill last %u", size);
    run_word(run, "seek last 0 0");
    run_word(run, "check last %u", size);
    run_word(run, "open /data/other wc 600");
    run_word(run, "write last 12345");
    run_word(run, "open /temporary wc 600");
    run_word(run, "fill last %u", size);
    run_word(run, "unlink /in/single");
    run->any_text = true;
    text(run, "check last %u = %u\n", size, size);
}

static bool check_files(struct run *run)
{
    char path[300], content[16] = "";
    struct stat status;

    if (!check_line(run))
        return false;
    snprintf(path, sizeof path, "%s/single", run->directory);
    bool gone = lstat(path, &status) != 0;
    snprintf(path, sizeof path, "%s/other", run->directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = gone && fd >= 0 && read(fd, content, sizeof content - 1) == 5 &&
                strcmp(content, "12345") == 0;
    if (fd >= 0)
        close(fd);
    if (!good)
        snprintf(run->why, sizeof run->why, "the mapped files are not as the guest left them");
    return good;
}

static void prepare_crash(struct run *run)
{
    static const char *const ways[] = {"ud2", "pagefault", "gp", "nullcall", "fetch", "triple"};

    run->status = 134;
    run->any_errors = true;
    if (soak_chance(&run->random, 50)) {
        run_word(run, "--crash-dump");
        run_word(run, "%s/core", run->directory);
    }
    run_guest(run, soak_chance(&run->random, 50) ? "crash-v1" : "crash-v2");
    run_word(run, "--");
    run_word(run, "--");
    run_word(run, "%s", ways[soak_random(&run->random, 6)]);
    run->any_text = true;
    text(run, "crashing: %s\n", run->words[run->count - 1]);
}

static bool check_crash(struct run *run)
{
    char *errors = run_output(run->err, NULL);
    bool good = strncmp(errors, "uhyve: error: the guest crashed: ", 33) == 0;

    if (!good)
        snprintf(run->why, sizeof run->why, "errors: %.1500s", errors);
    free(errors);
    return good && check_line(run);
}

static void prepare_stopped(struct run *run)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

    run->status = 128 + signals[soak_random(&run->random, 3)];
    run->any_text = true;
    run_guest(run, soak_chance(&run->random, 50) ? "spin-forever-v2" : "hlt-forever-v2");
}

static void stop(struct run *run)
{
    if (run_wait_for(run, run->out, NULL))
        kill(run->pid, run->status - 128);
}

static void prepare_gdb(struct run *run)
{
    run_word(run, "-s=0");
    run->any_errors = true;
    run_guest(run, "hello-v2");
    text(run, "Hello from a unikernel.\n");
}

int run_port(struct run *run)
{
    static const char line[] = "GDB connection on port ";

    if (!run_wait_for(run, run->err, line))
        return 0;
    char *errors = run_output(run->err, NULL);
    const char *at = strstr(errors, line);
    int port = at ? atoi(at + strlen(line)) : 0;
    free(errors);
    return port;
}

/* Attach, look, sometimes vanish and come back; then let the guest go. Whoever leaves without a
 * word leaves a guest that stands still. */
static void debug(struct run *run)
{
    unsigned visits = 1 + (unsigned)soak_random(&run->random, 2);
    int port = run_port(run);

    for (unsigned visit = 1; port && visit <= visits; visit++) {
        int fd = debugger_connect(port);
        if (fd < 0)
            break;
        debugger_send(fd, "?");
        debugger_send(fd, "g");
        if (visit == visits) {
            debugger_send(fd, "D");
            debugger_read_all(fd);
        }
        close(fd);
    }
}

static void prepare_net(struct run *run)
{
    run_word(run, "--net");
    run_word(run, "user");
    run_guest(run, "net-dhcp-v2");
    run->any_text = true;
    text(run, "address 10.0.5.3\n");
}

static void prepare_statistics(struct run *run)
{
    run_word(run, "--stats=json");
    run_word(run, "--trace");
    run_word(run, "--profile=%s/profile.svg", run->directory);
    run->any_errors = true;
    run_guest(run, "smp-v2");
    run->any_text = true;
    text(run, "\"cpus\":%u", run->cpus);
}

static void prepare_refused(struct run *run)
{
    static const int statuses[] = {126, 127, 2, 125};
    unsigned what = (unsigned)soak_random(&run->random, 4);

    run->status = statuses[what];
    run->any_errors = true;
    if (what == 2)
        run_word(run, "--no-such-option");
    if (what == 3) {
        run_word(run, "--tempdir");
        run_word(run, "%s/nowhere", run->directory);
    }
    if (what == 0)
        run_guest(run, "hello-if4");
    else
        run_guest(run, what == 1 ? "no-such-guest" : "hello-v2");
}

static bool check_one_error(struct run *run)
{
    char *errors = run_output(run->err, NULL), *end = strchr(errors, '\n');
    bool good = strncmp(errors, "uhyve: error: ", 14) == 0 && end && end[1] == '\0';

    if (!good)
        snprintf(run->why, sizeof run->why, "not one line of error: %.1500s", errors);
    free(errors);
    return good;
}

const struct run_kind run_kinds[] = {
    {"hello", prepare_hello, NULL, NULL},
    {"all CPUs", prepare_smp, NULL, check_smp},
    {"exit code", prepare_exit_code, NULL, NULL},
    {"exit of any CPU", prepare_exit_from, NULL, NULL},
    {"arguments", prepare_arguments, NULL, check_line},
    {"standard input", prepare_cat, feed_cat, NULL},
    {"files", prepare_files, NULL, check_files},
    {"crash", prepare_crash, NULL, check_crash},
    {"stopped", prepare_stopped, stop, NULL},
    {"debugger", prepare_gdb, debug, NULL},
    {"network", prepare_net, NULL, check_line},
    {"statistics", prepare_statistics, NULL, check_line},
    {"refused", prepare_refused, NULL, check_one_error},
};
const unsigned run_kind_count = sizeof run_kinds / sizeof *run_kinds;
const struct run_kind *const run_kind_with_keeper = &run_kinds[6];

void run_choose(struct run *run, unsigned most)
{
    run->kind = &run_kinds[soak_random(&run->random, run_kind_count)];
    /* A KVM that emulates guest code takes its time to start CPUs. */
    run->cpus = 1 + (unsigned)soak_random(&run->random, is_kvm(run) && most > 4 ? 4 : most);
}
