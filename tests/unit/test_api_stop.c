/* Stopping a VM at every moment of its life, and several VMs at the same time. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "api_fixture.h"

#define PROMPT 5.0 /* seconds in which a stop must have had its effect, on any machine */

static void sleep_ms(long milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000}, NULL);
}

struct stopper {
    struct uhyve_vm *vm;
    long after_ms;
    unsigned times;
};

static void *stop_later(void *context)
{
    const struct stopper *stopper = context;
    sleep_ms(stopper->after_ms);
    for (unsigned i = 0; i < stopper->times; i++)
        uhyve_stop(stopper->vm);
    return NULL;
}

/* Run it, and stop it from another thread. */
static void run_and_stop(struct api_vm *api, long after_ms)
{
    struct stopper stopper = {.after_ms = after_ms, .times = 3};
    pthread_t thread;

    api_create(api);
    stopper.vm = api->vm;
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &stopper), 0);
    double start = api_seconds();
    api_run(api);
    assert_true(api_seconds() - start < PROMPT + (double)after_ms / 1000);
    pthread_join(thread, NULL);
}

static void busy_and_idle_guests_are_stopped(void **state)
{
    static const char *const names[] = {"spin-forever-v1", "spin-forever-v2", "hlt-forever-v1",
                                        "hlt-forever-v2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct api_vm api;
        NEED_GUEST(names[i]);
        api_init(&api, names[i], NULL);
        run_and_stop(&api, 50);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        assert_null(api.result.report);
        assert_true(strlen(api_text(api.out)) > 0); /* it had been running */
        api_finish(&api);
    }
}

static void all_cpus_are_stopped(void **state)
{
    static const unsigned cpus[] = {2, 7};
    NEED_GUEST("spin-forever-v2");
    for (size_t i = 0; i < 2; i++) {
        struct api_vm api;
        api_init(&api, "spin-forever-v2", NULL);
        api.params.cpu_count = cpus[i];
        run_and_stop(&api, 20);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        api_finish(&api);
    }
}

/* Whatever the moment: start of the threads, of the vCPUs, first instructions. */
static void stop_at_any_moment(void **state)
{
    NEED_GUEST("spin-forever-v2");
    for (int round = 0; round < 40; round++) {
        struct api_vm api;
        api_init(&api, "spin-forever-v2", NULL);
        api.params.cpu_count = 1 + (unsigned)round % 3;
        run_and_stop(&api, round % 10);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        api_finish(&api);
    }
}

static void stopped_before_it_ran(void **state)
{
    static const char *const names[] = {"spin-forever-v2", "hello-v2", "hello-v1"};
    for (size_t i = 0; i < 3; i++) {
        NEED_GUEST(names[i]);
        for (int round = 0; round < 10; round++) {
            struct api_vm api;
            struct uhyve_stats stats;
            api_init(&api, names[i], NULL);
            api_create(&api);
            uhyve_stop(api.vm);
            api_run(&api);
            assert_int_equal(api.result.outcome, UHYVE_STOPPED);
            assert_string_equal(api_text(api.out), ""); /* not a single instruction */
            assert_int_equal(uhyve_run(api.vm, &api.result, &api.error), -EINVAL);
            uhyve_get_stats(api.vm, &stats);
            assert_int_equal(stats.first_ns, 0);
            api_finish(&api);
        }
    }
}

static void stop_after_the_end_changes_nothing(void **state)
{
    struct api_vm api;
    NEED_GUEST("hello-v2");
    api_init(&api, "hello-v2", NULL);
    api_run(&api);
    uhyve_stop(api.vm);
    assert_int_equal(api.result.outcome, UHYVE_EXITED);
    api_finish(&api);
}

static void stop_while_the_guest_waits_for_input(void **state)
{
    static const char *const names[] = {"cat-v1", "cat-v2"};
    for (size_t i = 0; i < 2; i++) {
        struct api_vm api;
        int pipe_fd[2];
        NEED_GUEST(names[i]);
        assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
        assert_int_equal(write(pipe_fd[1], "some input\n", 11), 11);
        api_init(&api, names[i], NULL);
        api.params.stdin_fd = pipe_fd[0];
        run_and_stop(&api, 100);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        assert_string_equal(api_text(api.out), "some input\n");
        api_finish(&api);
        close(pipe_fd[0]);
        close(pipe_fd[1]);
    }
}

static void stop_while_nobody_reads_the_output(void **state)
{
    static const char *const names[] = {"cat-v1", "cat-v2"};
    for (size_t i = 0; i < 2; i++) {
        struct api_vm api;
        int pipe_fd[2];
        NEED_GUEST(names[i]);
        assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
        api_init(&api, names[i], NULL);
        api.params.stdin_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        api.params.stdout_fd = pipe_fd[1];
        run_and_stop(&api, 100);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        close(api.params.stdin_fd);
        api_finish(&api);
        close(pipe_fd[0]);
        close(pipe_fd[1]);
    }
}

static struct uhyve_vm *signalled_vm;
static volatile sig_atomic_t signals;

static void stop_on_signal(int number)
{
    signals++;
    uhyve_stop(signalled_vm);
}

static void stopped_by_a_signal_handler(void **state)
{
    const struct sigaction action = {.sa_handler = stop_on_signal};
    const struct itimerval soon = {.it_value.tv_usec = 50000}, never = {0};
    struct sigaction old;
    struct api_vm api;
    NEED_GUEST("spin-forever-v2");
    api_init(&api, "spin-forever-v2", NULL);
    api_create(&api);
    signalled_vm = api.vm;
    signals = 0;
    sigaction(SIGALRM, &action, &old);
    setitimer(ITIMER_REAL, &soon, NULL);
    double start = api_seconds();
    api_run(&api);
    assert_true(api_seconds() - start < PROMPT);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &old, NULL);
    assert_int_equal(signals, 1);
    assert_int_equal(api.result.outcome, UHYVE_STOPPED);
    api_finish(&api);
}

/* Several at once. */

struct lane {
    const char *guest;
    unsigned number;
    unsigned rounds;
    bool right;
};

static void *run_lane(void *context)
{
    struct lane *lane = context;
    char argument[16];
    const char *arguments[] = {argument};

    lane->right = true;
    for (unsigned round = 0; round < lane->rounds && lane->right; round++) {
        unsigned code = lane->number * 1000 + round;
        struct api_vm api;
        snprintf(argument, sizeof argument, "%u", code);
        api_init(&api, lane->guest, arguments);
        api.params.cpu_count = 1 + round % 2;
        lane->right = uhyve_create(&api.params, &api.vm, &api.error) == 0 &&
                      uhyve_run(api.vm, &api.result, &api.error) == 0 &&
                      api.result.outcome == UHYVE_EXITED && api.result.exit_code == (int)code;
        api_finish(&api);
    }
    return NULL;
}

static void vms_do_not_disturb_each_other(void **state)
{
    struct lane lanes[] = {
        {"exit-code-v1", 1, 12}, {"exit-code-v2", 2, 12}, {"exit-code-v2", 3, 12}};
    pthread_t threads[3];
    NEED_GUEST("exit-code-v1");
    NEED_GUEST("exit-code-v2");
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_lane, &lanes[i]), 0);
    for (size_t i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        assert_true(lanes[i].right);
    }
}

static void *run_one(void *context)
{
    struct api_vm *api = context;
    if (uhyve_run(api->vm, &api->result, &api->error) != 0)
        api->result.outcome = UHYVE_CRASHED;
    return NULL;
}

static void stopping_one_leaves_the_other_running(void **state)
{
    struct api_vm stopped, other;
    int pipe_fd[2];
    pthread_t thread;
    NEED_GUEST("cat-v2");
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    api_init(&other, "cat-v2", NULL);
    other.params.stdin_fd = pipe_fd[0];
    api_create(&other);
    assert_int_equal(pthread_create(&thread, NULL, run_one, &other), 0);

    api_init(&stopped, "spin-forever-v1", NULL);
    run_and_stop(&stopped, 50);
    assert_int_equal(stopped.result.outcome, UHYVE_STOPPED);
    api_finish(&stopped);

    assert_int_equal(write(pipe_fd[1], "still here", 10), 10);
    close(pipe_fd[1]);
    pthread_join(thread, NULL);
    assert_int_equal(other.result.outcome, UHYVE_EXITED);
    assert_int_equal(other.result.exit_code, 0);
    assert_string_equal(api_text(other.out), "still here");
    api_finish(&other);
    close(pipe_fd[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(busy_and_idle_guests_are_stopped),
        cmocka_unit_test(all_cpus_are_stopped),
        cmocka_unit_test(stop_at_any_moment),
        cmocka_unit_test(stopped_before_it_ran),
        cmocka_unit_test(stop_after_the_end_changes_nothing),
        cmocka_unit_test(stop_while_the_guest_waits_for_input),
        cmocka_unit_test(stop_while_nobody_reads_the_output),
        cmocka_unit_test(stopped_by_a_signal_handler),
        cmocka_unit_test(vms_do_not_disturb_each_other),
        cmocka_unit_test(stopping_one_leaves_the_other_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
