/* The public interface: the life of a VM, its results and its output. */
#include "api_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const versions[] = {"v1", "v2"};

static const char *variant(const char *name, size_t version)
{
    static char text[64];
    snprintf(text, sizeof text, "%s-%s", name, versions[version]);
    return text;
}

static void vm_that_never_ran_is_destroyed(void **state)
{
    struct api_vm api;
    struct uhyve_stats stats;
    api_init(&api, "hello-v2", NULL);
    api_create(&api);
    uhyve_get_stats(api.vm, &stats);
    assert_int_equal(stats.first_ns, 0);
    assert_int_equal(stats.exit_ns, 0);
    assert_int_equal(stats.exit_count, 0);
    api_finish(&api);
}

static void guest_runs_to_its_end(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        struct api_vm api;
        api_init(&api, variant("hello", i), NULL);
        api_run(&api);
        assert_int_equal(api.result.outcome, UHYVE_EXITED);
        assert_int_equal(api.result.exit_code, 0);
        assert_null(api.result.report);
        assert_int_equal(api.result.output_error, 0);
        assert_string_equal(api.result.kernel_log, "");
        assert_string_equal(api_text(api.out), "Hello from a unikernel.\n");
        assert_string_equal(api_text(api.log), "");
        api_finish(&api);
    }
}

static void exit_codes_arrive_whole(void **state)
{
    static const char *const texts[] = {"0", "1", "42", "255", "256", "65535"};
    for (size_t i = 0; i < 2; i++) {
        for (size_t j = 0; j < sizeof texts / sizeof *texts; j++) {
            struct api_vm api;
            api_init(&api, variant("exit-code", i), &texts[j]);
            api_run(&api);
            assert_int_equal(api.result.outcome, UHYVE_EXITED);
            assert_int_equal(api.result.exit_code, atoi(texts[j]));
            api_finish(&api);
        }
    }
}

static void vm_runs_only_once(void **state)
{
    struct api_vm api;
    api_init(&api, "hello-v2", NULL);
    api_run(&api);
    assert_int_equal(uhyve_run(api.vm, &api.result, &api.error), -EINVAL);
    assert_int_equal(api.error.status, UHYVE_STATUS_FAILED);
    assert_non_null(strstr(api.error.message, "only once"));
    assert_string_equal(api_text(api.out), "Hello from a unikernel.\n");
    api_finish(&api);
}

static void crash_is_reported(void **state)
{
    static const char *const way = "ud2";
    for (size_t i = 0; i < 2; i++) {
        struct api_vm api;
        api_init(&api, variant("crash", i), &way);
        api_run(&api);
        assert_int_equal(api.result.outcome, UHYVE_CRASHED);
        assert_non_null(api.result.report);
        assert_non_null(strstr(api.result.report, "CPU 0"));
        assert_string_equal(api_text(api.out), "crashing: ud2\n");
        api_finish(&api);
    }
}

static void statistics_add_up(void **state)
{
    struct api_vm api;
    struct uhyve_stats stats;
    api_init(&api, "hello-v2", NULL);
    api.params.cpu_count = 2;
    double start = api_seconds();
    api_run(&api);
    double elapsed = (api_seconds() - start) * 1e9;
    uhyve_get_stats(api.vm, &stats);
    assert_true(strcmp(stats.accel, "kvm") == 0 || strcmp(stats.accel, "direct") == 0);
    assert_int_equal(stats.cpu_count, 2);
    assert_true(stats.create_ns > 0 && stats.load_ns > 0);
    assert_true(stats.create_ns <= stats.first_ns && stats.first_ns <= stats.exit_ns);
    assert_true((double)stats.exit_ns <= elapsed);
    assert_true(stats.cpu_run_ns[0] > 0 && (double)stats.cpu_run_ns[0] <= elapsed);
    assert_true(stats.peak_memory > 0);
    uint64_t exits = 0;
    for (size_t i = 0; i < stats.exit_count; i++) {
        const struct uhyve_exit_count *row = &stats.exits[i];
        assert_int_equal(row->total, row->per_cpu[0] + row->per_cpu[1]);
        assert_true(row->total > 0);
        exits += strcmp(row->name, "Hypercall(V2(Exit))") == 0 ? row->total : 0;
    }
    assert_int_equal(exits, 1);
    api_finish(&api);
}

/* Output. */

static void streams_are_kept_apart(void **state)
{
    struct api_vm api;
    api_init(&api, "stderr-v2", NULL);
    api_run(&api);
    assert_string_equal(api_text(api.out), "1 stdout\n3 serial\n5 stdout\n6 serial\n");
    assert_string_equal(api_text(api.log), "2 stderr\n4 stderr\n");
    api_finish(&api);
}

static void output_file_gets_everything_in_order(void **state)
{
    struct api_vm api;
    api_init(&api, "stderr-v1", NULL);
    api.params.output_fd = memfd_create("output", MFD_CLOEXEC);
    api_run(&api);
    assert_string_equal(api_text(api.params.output_fd),
                        "1 stdout\n2 stderr\n3 serial\n4 stderr\n5 stdout\n6 serial\n");
    assert_string_equal(api_text(api.out), "");
    assert_string_equal(api_text(api.log), "");
    close(api.params.output_fd);
    api_finish(&api);
}

static void discarded_output_goes_nowhere(void **state)
{
    struct api_vm api;
    api_init(&api, "stderr-v2", NULL);
    api.params.discard_output = true;
    api_run(&api);
    assert_int_equal(api.result.exit_code, 0);
    assert_string_equal(api_text(api.out), "");
    assert_string_equal(api_text(api.log), "");
    api_finish(&api);
}

static void withheld_log_is_in_the_result(void **state)
{
    struct api_vm api;
    for (int verbose = 0; verbose < 2; verbose++) {
        api_init(&api, "log-v2", NULL);
        api.params.verbose = verbose;
        api_run(&api);
        const char *shown = api_text(api.log), *kept = api.result.kernel_log;
        assert_non_null(strstr(shown, "old ERROR"));
        assert_int_equal(strstr(shown, "old INFO") != NULL, verbose);
        assert_int_equal(strstr(kept, "old INFO") != NULL, !verbose);
        assert_int_equal(api.result.kernel_log_dropped, 0);
        assert_null(strstr(api_text(api.out), "INFO"));
        api_finish(&api);
    }
}

/*
 * The guest ends while the console still holds a byte that may become a log line: it is written by
 * the thread that called uhyve_run, which would get the signal. In a process of its own, because
 * what is feared would end it.
 */
static void closed_pipe_does_not_end_the_process(void **state)
{
    static const uint8_t code[] = {
        0xbf, '[',  0,    0,    0,          /* mov edi, '[' */
        0x66, 0xba, 0x20, 0x10, 0xef,       /* mov dx, SerialWriteByte; out dx, eax */
        0x31, 0xff,                         /* xor edi, edi */
        0x66, 0xba, 0x10, 0x10, 0xef, 0xf4, /* mov dx, Exit; out dx, eax; hlt */
    };
    pid_t child = fork();
    if (child == 0) {
        struct api_vm api;
        int pipe_fd[2];
        signal(SIGPIPE, SIG_DFL);
        if (pipe2(pipe_fd, O_CLOEXEC) != 0)
            _exit(1);
        close(pipe_fd[0]);
        api_init_code(&api, code, sizeof code);
        api.params.stdout_fd = pipe_fd[1];
        api_run(&api);
        _exit(api.result.outcome == UHYVE_EXITED && api.result.output_error == EPIPE ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The profile is written after the end of the guest, the memory of 'direct' made before its start.
 */
static void limit_on_files_does_not_end_the_process(void **state)
{
    char path[] = "/tmp/test-api-XXXXXX";
    int file = mkostemp(path, O_CLOEXEC);
    assert_true(file >= 0);
    unlink(path);
    pid_t child = fork();
    if (child == 0) {
        struct uhyve_vm *vm;
        struct uhyve_result result;
        struct uhyve_error error;
        struct api_vm api;
        signal(SIGXFSZ, SIG_DFL);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){1, 1});
        api_init(&api, "hello-v2", NULL);
        api.params.profile = UHYVE_PROFILE_TABLE;
        api.params.profile_fd = file;
        int err = uhyve_create(&api.params, &vm, &error);
        if (!err)
            err = uhyve_run(vm, &result, &error);
        _exit(err == 0 || err == -EFBIG ? 0 : 1);
    }
    close(file);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void lost_output_is_in_the_result(void **state)
{
    struct api_vm api;
    int pipe_fd[2];
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    close(pipe_fd[0]);
    api_init(&api, "hello-v2", NULL);
    api.params.stdout_fd = pipe_fd[1];
    api_run(&api);
    assert_int_equal(api.result.outcome, UHYVE_EXITED);
    assert_int_equal(api.result.output_error, EPIPE);
    api_finish(&api);
    close(pipe_fd[1]);
}

/* Messages and the rest of the process. */

static unsigned messages[UHYVE_LEVEL_DEBUG + 1];

static void count_message(void *context, enum uhyve_level level, const char *text)
{
    assert_ptr_equal(context, messages);
    assert_null(strchr(text, '\n'));
    messages[level]++;
}

static void messages_respect_their_level(void **state)
{
    static const enum uhyve_level levels[] = {UHYVE_LEVEL_WARN, UHYVE_LEVEL_DEBUG};
    for (size_t i = 0; i < 2; i++) {
        struct api_vm api;
        memset(messages, 0, sizeof messages);
        api_init(&api, "hello-v2", NULL);
        api.params.message = count_message;
        api.params.message_context = messages;
        api.params.message_level = levels[i];
        api_run(&api);
        api_finish(&api);
        assert_int_equal(messages[UHYVE_LEVEL_ERROR] + messages[UHYVE_LEVEL_WARN], 0);
        assert_int_equal(messages[UHYVE_LEVEL_INFO] > 0, levels[i] == UHYVE_LEVEL_DEBUG);
        assert_int_equal(messages[UHYVE_LEVEL_DEBUG] > 0, levels[i] == UHYVE_LEVEL_DEBUG);
    }
}

static void pinning_to_impossible_cpus_only_warns(void **state)
{
    static const unsigned host_cpus[] = {0, 60000, 65535};
    for (size_t i = 0; i < sizeof host_cpus / sizeof *host_cpus; i++) {
        struct api_vm api;
        memset(messages, 0, sizeof messages);
        api_init(&api, "hello-v2", NULL);
        api.params.affinity = &host_cpus[i];
        api.params.affinity_count = 1;
        api.params.message = count_message;
        api.params.message_context = messages;
        api_run(&api);
        assert_int_equal(api.result.exit_code, 0);
        assert_int_equal(messages[UHYVE_LEVEL_WARN], host_cpus[i] ? 1 : 0);
        api_finish(&api);
    }
}

static void caller_is_pinned_only_while_the_guest_runs(void **state)
{
    cpu_set_t before, after;
    unsigned first = 0;
    sched_getaffinity(0, sizeof before, &before);
    while (!CPU_ISSET(first, &before))
        first++;
    for (int stopped = 0; stopped < 2; stopped++) {
        struct api_vm api;
        api_init(&api, "hello-v2", NULL);
        api.params.affinity = &first;
        api.params.affinity_count = 1;
        api_create(&api);
        if (stopped)
            uhyve_stop(api.vm);
        api_run(&api);
        api_finish(&api);
        sched_getaffinity(0, sizeof after, &after);
        assert_true(CPU_EQUAL(&before, &after));
    }
}

static void signals_of_the_caller_are_left_alone(void **state)
{
    struct api_vm api;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    api_init(&api, "hello-v2", NULL);
    api_run(&api);
    api_finish(&api);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number <= SIGRTMAX; number++) {
        struct sigaction action;
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
        if (number == SIGSTKFLT || sigaction(number, NULL, &action) != 0)
            continue;
        /* cmocka has handlers of its own for faults. */
        if (number != SIGSEGV && number != SIGBUS && number != SIGFPE && number != SIGILL &&
            number != SIGSYS)
            assert_true(action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vm_that_never_ran_is_destroyed),
        cmocka_unit_test(guest_runs_to_its_end),
        cmocka_unit_test(exit_codes_arrive_whole),
        cmocka_unit_test(vm_runs_only_once),
        cmocka_unit_test(crash_is_reported),
        cmocka_unit_test(statistics_add_up),
        cmocka_unit_test(streams_are_kept_apart),
        cmocka_unit_test(output_file_gets_everything_in_order),
        cmocka_unit_test(discarded_output_goes_nowhere),
        cmocka_unit_test(withheld_log_is_in_the_result),
        cmocka_unit_test(closed_pipe_does_not_end_the_process),
        cmocka_unit_test(limit_on_files_does_not_end_the_process),
        cmocka_unit_test(lost_output_is_in_the_result),
        cmocka_unit_test(messages_respect_their_level),
        cmocka_unit_test(caller_is_pinned_only_while_the_guest_runs),
        cmocka_unit_test(pinning_to_impossible_cpus_only_warns),
        cmocka_unit_test(signals_of_the_caller_are_left_alone),
    };
    return API_RUN_TESTS(tests);
}
