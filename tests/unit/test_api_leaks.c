/* Nothing of a VM outlives it, however far it got. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api_fixture.h"

#define WARM_UP 30 /* rounds after which stacks and heaps of threads are cached */
#define ROUNDS  50
#define FEW     20

/*
 * After this many rounds there are no more descriptors and threads than before. Allocators keep and
 * merge mappings as they like, so of these less than one for each round, and less than half of the
 * guest's memory.
 */
static void assert_released(const struct api_resources *before, unsigned rounds)
{
    struct api_resources now = api_resources();
    assert_int_equal(now.descriptors, before->descriptors);
    assert_int_equal(now.threads, before->threads);
    assert_true(now.mappings < before->mappings + rounds);
    assert_true(now.address_space < before->address_space + rounds * 16 * UHYVE_MIB);
}

static void rounds_of_create_run_destroy(void **state)
{
    static const char *const names[] = {"hello-v1", "hello-v2"};
    struct api_resources before = {0};
    for (int round = 0; round < WARM_UP + ROUNDS; round++) {
        struct api_vm api;
        if (round == WARM_UP)
            before = api_resources();
        api_init(&api, names[round % 2], NULL);
        api.params.cpu_count = 2;
        api_run(&api);
        assert_int_equal(api.result.outcome, UHYVE_EXITED);
        api_finish(&api);
    }
    assert_released(&before, ROUNDS);
}

static void rounds_of_crashes_and_stops(void **state)
{
    static const char *const way = "pagefault";
    struct api_resources before = {0};
    for (int round = 0; round < WARM_UP + FEW; round++) {
        struct api_vm api;
        if (round == WARM_UP)
            before = api_resources();
        api_init(&api, "crash-v2", &way);
        api_create(&api);
        if (round % 2)
            uhyve_stop(api.vm);
        api_run(&api);
        assert_int_equal(api.result.outcome, round % 2 ? UHYVE_STOPPED : UHYVE_CRASHED);
        api_finish(&api);
    }
    assert_released(&before, FEW);
}

static void rounds_of_vms_that_never_ran(void **state)
{
    struct api_resources before = {0};
    for (int round = 0; round < WARM_UP + ROUNDS; round++) {
        struct api_vm api;
        if (round == WARM_UP)
            before = api_resources();
        api_init(&api, "hello-v2", NULL);
        api_create(&api);
        api_finish(&api);
    }
    assert_released(&before, ROUNDS);
}

static void rounds_of_refusals(void **state)
{
    struct uhyve_params params;
    struct uhyve_error error;
    struct uhyve_vm *vm;
    struct api_resources before = {0};
    uhyve_params_init(&params);
    params.image = "/proc/self/exe";
    for (int round = 0; round < WARM_UP + ROUNDS; round++) {
        if (round == WARM_UP)
            before = api_resources();
        assert_true(uhyve_create(&params, &vm, &error) < 0);
        uhyve_probe(UHYVE_ACCEL_AUTO, &error);
    }
    assert_released(&before, ROUNDS);
}

/* Let the process have one more descriptor each time: every open of create and run fails once. */
static void every_missing_descriptor_is_a_clean_error(void **state)
{
    struct rlimit old;
    struct api_vm api;
    unsigned failures = 0;
    api_init(&api, "hello-v2", NULL);
    api_run(&api); /* what is opened only once is open now */
    uhyve_destroy(api.vm);
    api.vm = NULL;
    getrlimit(RLIMIT_NOFILE, &old);

    int next = dup(0);
    close(next);
    struct api_resources before = api_resources();
    for (rlim_t limit = (rlim_t)next;; limit++) {
        api.params.cpu_count = 2;
        api.params.stdout_fd = api.out;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit, old.rlim_max}), 0);
        int err = uhyve_create(&api.params, &api.vm, &api.error);
        if (!err)
            err = uhyve_run(api.vm, &api.result, &api.error);
        uhyve_destroy(api.vm);
        api.vm = NULL;
        setrlimit(RLIMIT_NOFILE, &old);
        assert_int_equal(api_resources().descriptors, before.descriptors);
        assert_int_equal(api_resources().threads, before.threads);
        if (!err)
            break;
        failures++;
        assert_true(failures < 50);
        assert_true(api.error.status == UHYVE_STATUS_FAILED ||
                    api.error.status == UHYVE_STATUS_BAD_IMAGE);
        assert_true(strlen(api.error.message) > 0);
    }
    assert_released(&before, failures);
    assert_true(failures >= 5); /* image, events, accelerator, machine, vCPUs */
    assert_int_equal(api.result.outcome, UHYVE_EXITED);
    api_finish(&api);
}

#define LIMIT (UINT64_C(512) << 20)

/* Memory that the process may not have: a sentence, not a crash. */
static void missing_address_space_is_a_clean_error(void **state)
{
    struct rlimit old;
    struct api_vm api;
    api_init(&api, "hello-v2", NULL);
    api.params.memory_size = 1024 * UHYVE_MIB;
    getrlimit(RLIMIT_AS, &old);
    assert_int_equal(setrlimit(RLIMIT_AS, &(struct rlimit){LIMIT, old.rlim_max}), 0);
    int err = uhyve_create(&api.params, &api.vm, &api.error);
    setrlimit(RLIMIT_AS, &old);
    assert_int_equal(err, -ENOMEM);
    assert_null(api.vm);
    assert_int_equal(api.error.status, UHYVE_STATUS_FAILED);
    assert_non_null(strstr(api.error.message, "1 GiB"));
    api_finish(&api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_of_create_run_destroy),
        cmocka_unit_test(rounds_of_crashes_and_stops),
        cmocka_unit_test(rounds_of_vms_that_never_ran),
        cmocka_unit_test(rounds_of_refusals),
        cmocka_unit_test(every_missing_descriptor_is_a_clean_error),
        cmocka_unit_test(missing_address_space_is_a_clean_error),
    };
    size_t count = sizeof tests / sizeof *tests;
    /* The shadow memory of a sanitizer is larger than any such limit. */
    if (api_resources().address_space > LIMIT / 2)
        count--;
    return api_run_tests(tests, count);
}
