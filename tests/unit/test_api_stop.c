/* Stopping a VM at every moment of its life, and several VMs at the same time. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "api_fixture.h"

#define PROMPT 5.0 /* seconds in which a stop must have had its effect, on any machine */

static void sleep_us(long microseconds)
{
    nanosleep(&(struct timespec){microseconds / 1000000, microseconds % 1000000 * 1000}, NULL);
}

#define AFTER_OUTPUT (-1) /* instead of a time: when the guest has written something */

struct stopper {
    const struct api_vm *api;
    long after_us;
    double stopped; /* when */
};

static void *stop_later(void *context)
{
    struct stopper *stopper = context;
    sigset_t all;
    sigfillset(&all); /* signals are for the thread that runs the guest */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    if (stopper->after_us == AFTER_OUTPUT)
        while (lseek(stopper->api->out, 0, SEEK_END) == 0)
            sleep_us(1000);
    else
        sleep_us(stopper->after_us);
    stopper->stopped = api_seconds();
    for (unsigned i = 0; i < 3; i++)
        uhyve_stop(stopper->api->vm);
    return NULL;
}

/* Run it, and stop it from another thread. */
static void run_and_stop(struct api_vm *api, long after_us)
{
    struct stopper stopper = {.api = api, .after_us = after_us};
    pthread_t thread;

    api_create(api);
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &stopper), 0);
    api_run(api);
    double end = api_seconds();
    pthread_join(thread, NULL);
    assert_true(end - stopper.stopped < PROMPT);
}

static void busy_and_idle_guests_are_stopped(void **state)
{
    static const char *const names[] = {"spin-forever-v1", "spin-forever-v2", "hlt-forever-v1",
                                        "hlt-forever-v2"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct api_vm api;
        api_init(&api, names[i], NULL);
        run_and_stop(&api, AFTER_OUTPUT);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        assert_null(api.result.report);
        api_finish(&api);
    }
}

static void all_cpus_are_stopped(void **state)
{
    static const unsigned cpus[] = {2, 7};
    for (size_t i = 0; i < 2; i++) {
        struct api_vm api;
        api_init(&api, "spin-forever-v2", NULL);
        api.params.cpu_count = cpus[i];
        run_and_stop(&api, 20000);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        api_finish(&api);
    }
}

/* Whatever the moment: start of the threads, of the vCPUs, first instructions. */
static void stop_at_any_moment(void **state)
{
    for (int round = 0; round < 90; round++) {
        struct api_vm api;
        api_init(&api, "spin-forever-v2", NULL);
        api.params.cpu_count = 1 + (unsigned)round % 3;
        run_and_stop(&api, round * 67);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        api_finish(&api);
    }
}

static void stopped_before_it_ran(void **state)
{
    static const char *const names[] = {"spin-forever-v2", "hello-v2", "hello-v1"};
    for (size_t i = 0; i < 3; i++) {
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
    api_init(&api, "hello-v2", NULL);
    api_run(&api);
    uhyve_stop(api.vm);
    assert_int_equal(api.result.outcome, UHYVE_EXITED);
    api_finish(&api);
}

/* Often, because the thread that waits and the one that ends the VM both wake up: the guest must
 * never see that its call was cut short. It would exit with 1. */
static void stop_while_the_guest_waits_for_input(void **state)
{
    static const char *const names[] = {"cat-v1", "cat-v2"};
    for (size_t i = 0; i < 30; i++) {
        struct api_vm api;
        int pipe_fd[2];
        assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
        assert_int_equal(write(pipe_fd[1], "some input\n", 11), 11);
        api_init(&api, names[i % 2], NULL);
        api.params.stdin_fd = pipe_fd[0];
        run_and_stop(&api, i < 20 ? AFTER_OUTPUT : (long)i * 1000);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        if (i < 20)
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
        assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
        api_init(&api, names[i], NULL);
        api.params.stdin_fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        api.params.stdout_fd = pipe_fd[1];
        run_and_stop(&api, 100000);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        close(api.params.stdin_fd);
        api_finish(&api);
        close(pipe_fd[0]);
        close(pipe_fd[1]);
    }
}

static struct uhyve_vm *signalled_vm;
static atomic_int signals; /* without a lock */

static void count_signal(int number)
{
    signals++;
}

static void stop_on_signal(int number)
{
    signals++;
    uhyve_stop(signalled_vm);
}

/* On the thread that runs the guest, from before it starts to in the middle of it. */
static void stopped_by_a_signal_handler(void **state)
{
    const struct sigaction action = {.sa_handler = stop_on_signal, .sa_flags = SA_RESTART};
    struct sigaction old;
    sigaction(SIGALRM, &action, &old);
    for (int round = 0; round < 60; round++) {
        const struct itimerval soon = {.it_value.tv_usec = 1 + round * 101}, never = {0};
        struct api_vm api;
        api_init(&api, "spin-forever-v2", NULL);
        api.params.cpu_count = 1 + (unsigned)round % 2;
        api_create(&api);
        signalled_vm = api.vm;
        signals = 0;
        setitimer(ITIMER_REAL, &soon, NULL);
        double start = api_seconds();
        api_run(&api);
        assert_true(api_seconds() - start < PROMPT);
        setitimer(ITIMER_REAL, &never, NULL);
        assert_int_equal(signals, 1);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        api_finish(&api);
    }
    sigaction(SIGALRM, &old, NULL);
}

/* Signals that do not stop the VM do not end its run either. */
static void other_signals_are_survived(void **state)
{
    const struct sigaction action = {.sa_handler = count_signal};
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {0};
    struct sigaction old;
    sigaction(SIGALRM, &action, &old);
    for (int round = 0; round < 10; round++) {
        struct api_vm api;
        api_init(&api, "spin-forever-v2", NULL);
        signals = 0;
        setitimer(ITIMER_REAL, &often, NULL);
        run_and_stop(&api, AFTER_OUTPUT);
        setitimer(ITIMER_REAL, &never, NULL);
        assert_true(signals > 0);
        assert_int_equal(api.result.outcome, UHYVE_STOPPED);
        api_finish(&api);
    }
    sigaction(SIGALRM, &old, NULL);
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
    assert_int_equal(pipe2(pipe_fd, O_CLOEXEC), 0);
    api_init(&other, "cat-v2", NULL);
    other.params.stdin_fd = pipe_fd[0];
    api_create(&other);
    assert_int_equal(pthread_create(&thread, NULL, run_one, &other), 0);

    api_init(&stopped, "spin-forever-v1", NULL);
    run_and_stop(&stopped, 50000);
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

/*
 * ThreadSanitizer puts the handler of a signal off until the thread calls the C library again,
 * which one that waits for the engine of the accelerator 'direct' need not do.
 */
static bool signals_are_put_off(void)
{
#if defined(__SANITIZE_THREAD__)
    const bool sanitized = true;
#elif defined(__has_feature)
    const bool sanitized = __has_feature(thread_sanitizer);
#else
    const bool sanitized = false;
#endif
    const char *accelerator = getenv("ACCELERATOR");
    return sanitized && (!accelerator || strcmp(accelerator, "kvm") != 0);
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
        cmocka_unit_test(vms_do_not_disturb_each_other),
        cmocka_unit_test(stopping_one_leaves_the_other_running),
        cmocka_unit_test(stopped_by_a_signal_handler),
        cmocka_unit_test(other_signals_are_survived),
    };
    size_t count = sizeof tests / sizeof *tests;
    if (signals_are_put_off())
        count -= 2;
    return api_run_tests(tests, count);
}
