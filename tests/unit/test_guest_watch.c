/* Breakpoints of the kind that hardware has, on execution and on data. */
#include "debug_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* Instructions that the emulator does not know are executed all the same. */
static void vector_accesses_are_noticed(void **unused)
{
    if (machine.emulated)
        return;
    get();
    state.gpr[X86_RDI] = DATA;
    state.cr4 |= 0x600; /* OSFXSR, OSXMMEXCPT */
    set_slot(0, ACCEL_BREAK_WRITE, DATA + 4, 4);
    set_slot(1, ACCEL_BREAK_ACCESS, DATA + 24, 8);
    start_at(vectors);
    expect_slot(0, at(vectors_1));
    expect_slot(1, at(vectors_2));
    expect_slot(1, at(vectors_4));
    expect_slot(0, at(vectors_5));
    expect_port(PORT_DONE, 0);
}

static void a_scan_ends_where_it_should(void **unused)
{
    if (lacks_breakpoints())
        return;
    set_slot(0, ACCEL_BREAK_ACCESS, DATA, 2);
    memcpy(machine_at(&machine, DATA), "ABCD", 4);
    state.gpr[X86_RAX] = 'B';
    start_at(scanning);
    expect_slot(0, at(scanning_1));
    expect_slot(0, at(scanning_2));
    assert_int_equal(state.gpr[X86_RCX], 2);
    expect_port(PORT_DONE, 0);
}

/* Both kinds at one address, removed in either order. */
static void breakpoints_of_both_kinds_do_not_mind_each_other(void **unused)
{
    if (lacks_breakpoints())
        return;
    for (unsigned i = 0; i < 2; i++) {
        set_slot(0, ACCEL_BREAK_EXECUTE, at(plain_second), 1);
        uint8_t old = exchange_byte(at(plain_second), 0xcc);
        assert_int_equal(old, *plain_second);
        start_at(plain);
        machine_run(&machine);
        assert_int_equal(machine.exit.kind, ACCEL_EXIT_DEBUG);
        assert_int_equal(machine.exit.debug.rip, at(plain_second));
        if (i)
            set_slot(0, ACCEL_BREAK_NONE, 0, 0);
        else
            exchange_byte(at(plain_second), old);
        start_at(plain);
        if (i)
            expect_event(ACCEL_DEBUG_BREAKPOINT, at(plain_second));
        else
            expect_slot(0, at(plain_second));
        if (i)
            exchange_byte(at(plain_second), old);
        else
            set_slot(0, ACCEL_BREAK_NONE, 0, 0);
        start_at(plain);
        expect_port(PORT_DONE, 0);
        assert_int_equal(*(uint8_t *)machine_at(&machine, at(plain_second)), *plain_second);
    }
}

static void impossible_breakpoints_are_refused(void **unused)
{
    static const struct accel_hardware_breakpoint wrong[] = {
        {ACCEL_BREAK_WRITE, 3, DATA},   {ACCEL_BREAK_WRITE, 16, DATA},
        {ACCEL_BREAK_ACCESS, 0, DATA},  {ACCEL_BREAK_ACCESS, 4, DATA + 2},
        {ACCEL_BREAK_EXECUTE, 2, DATA}, {ACCEL_BREAK_ACCESS + 1, 1, DATA},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        debug.slot[i % 4] = wrong[i];
        assert_int_equal(machine.accel->vcpu_set_debug(machine.vcpus[0], &debug), -EINVAL);
        debug.slot[i % 4] = (struct accel_hardware_breakpoint){0};
    }
    set_debug();
}

static void execution_is_noticed(void **unused)
{
    set_slot(3, ACCEL_BREAK_EXECUTE, at(plain_third), 1);
    start_at(plain);
    expect_slot(3, at(plain_third));
    assert_int_equal(state.gpr[X86_RCX], 2);
    set_slot(3, ACCEL_BREAK_NONE, 0, 0);
    step(true);
    expect_event(ACCEL_DEBUG_STEP, at(plain_third) + 5);
    step(false);
    expect_port(PORT_DONE, 0);
    start_at(plain);
    expect_port(PORT_DONE, 0);
}

static void writes_are_noticed(void **unused)
{
    if (lacks_breakpoints())
        return;
    set_slot(1, ACCEL_BREAK_WRITE, DATA + 8, 8);
    start_at(writes);
    expect_slot(1, at(write_1));
    expect_slot(1, at(write_2));
    expect_slot(1, at(write_3));
    assert_int_equal(*(uint64_t *)machine_at(&machine, DATA + 8), 1);
    expect_slot(1, at(write_string));
    assert_int_equal(state.gpr[X86_RCX], 1); /* after the second of three */
    expect_port(PORT_DONE, 0);
    set_slot(1, ACCEL_BREAK_NONE, 0, 0);
    start_at(writes);
    expect_port(PORT_DONE, 0);
}

static void accesses_are_noticed(void **unused)
{
    if (lacks_breakpoints())
        return;
    set_slot(0, ACCEL_BREAK_ACCESS, DATA + 16, 2);
    start_at(reads);
    expect_slot(0, at(read_1));
    expect_slot(0, at(read_2));
    expect_slot(0, at(read_3));
    expect_port(PORT_DONE, 0);
}

static void the_stack_can_be_watched(void **unused)
{
    if (lacks_breakpoints())
        return;
    static const uint8_t *const labels[] = {stack_1, stack_2, stack_3, stack_4, stack_5,
                                            stack_6, stack_7, stack_8, stack_9};
    for (unsigned i = 0; i < 2; i++) {
        set_slot(2, i ? ACCEL_BREAK_ACCESS : ACCEL_BREAK_WRITE, state.gpr[X86_RSP] - 8, 8);
        start_at(stack_use);
        for (unsigned j = 0; j < sizeof labels / sizeof *labels; j++) {
            /* pop, ret, pop and imul only read. */
            if (i || !(j == 1 || j == 3 || j == 5 || j == 7))
                expect_slot(2, at(labels[j]));
        }
        expect_port(PORT_DONE, 0);
    }
}

static void a_watched_step_reports_the_access(void **unused)
{
    if (lacks_breakpoints())
        return;
    set_slot(0, ACCEL_BREAK_WRITE, DATA + 7, 1);
    start_at(writes);
    step(true);
    expect_slot(0, at(writes) + 4);
    expect_event(ACCEL_DEBUG_STEP, at(writes) + 8);
}

/* Several CPUs: vCPU 1 has breakpoints that are not for vCPU 0, which gets in its way. */

static void prepare(unsigned index)
{
    struct x86_state its;
    assert_int_equal(machine.accel->vcpu_get_state(machine.vcpus[index], &its), 0);
    its.rip = at(several);
    its.gpr[X86_RDI] = DATA;
    its.cr4 |= 0x600;
    assert_int_equal(machine.accel->vcpu_set_state(machine.vcpus[index], &its), 0);
}

static void set_debug_of(unsigned index, const struct accel_debug *its)
{
    assert_int_equal(machine.accel->vcpu_set_debug(machine.vcpus[index], its), 0);
}

static void run_of(unsigned index, struct accel_exit *exit)
{
    do
        machine.accel->vcpu_run(machine.vcpus[index], exit);
    while (exit->kind == ACCEL_EXIT_INTERRUPTED);
}

static unsigned seen_executions, seen_writes, wrong_exits;
static atomic_bool finished;

static void *run_debugged(void *unused)
{
    const struct accel_debug watching = {
        .slot = {{ACCEL_BREAK_EXECUTE, 1, at(several_function)}, {ACCEL_BREAK_WRITE, 8, DATA + 64}},
    };
    struct accel_debug stepping = {.step = true};
    struct accel_exit exit = {0};

    machine_create_vcpu(&machine, 1);
    prepare(1);
    set_debug_of(1, &watching);
    for (run_of(1, &exit); exit.kind == ACCEL_EXIT_DEBUG; run_of(1, &exit)) {
        if (exit.debug.event != ACCEL_DEBUG_HARDWARE)
            wrong_exits++;
        else if (exit.debug.slot == 1)
            seen_writes += exit.debug.rip == at(several_watched);
        else {
            seen_executions += exit.debug.rip == at(several_function);
            set_debug_of(1, &stepping);
            run_of(1, &exit);
            wrong_exits += exit.kind != ACCEL_EXIT_DEBUG || exit.debug.event != ACCEL_DEBUG_STEP ||
                           exit.debug.rip != at(several_next);
            set_debug_of(1, &watching);
        }
    }
    wrong_exits += exit.kind != ACCEL_EXIT_IO || exit.io.port != PORT_DONE;
    atomic_store(&finished, true);
    return NULL;
}

static void breakpoints_of_one_cpu_are_no_matter_to_another(void **unused)
{
    pthread_t thread;

    if (!is_direct())
        return;
    seen_executions = seen_writes = wrong_exits = 0;
    atomic_store(&finished, false);
    debug.enabled = false;
    set_debug();
    assert_int_equal(pthread_create(&thread, NULL, run_debugged, NULL), 0);
    unsigned rounds = 1; /* that of vCPU 1 */
    do {
        rounds++;
        prepare(0);
        expect_port(PORT_DONE, 0);
    } while (!atomic_load(&finished));
    pthread_join(thread, NULL);
    assert_int_equal(wrong_exits, 0);
    assert_int_equal(seen_executions, 200);
    assert_int_equal(seen_writes, 200);
    assert_int_equal(*(uint64_t *)machine_at(&machine, DATA), rounds * 200);
}

static void *run_until_kicked(void *unused)
{
    struct x86_state its;
    struct accel_exit exit = {0};

    machine_create_vcpu(&machine, 1);
    machine.accel->vcpu_get_state(machine.vcpus[1], &its);
    its.rip = at(spinning);
    machine.accel->vcpu_set_state(machine.vcpus[1], &its);
    atomic_store(&finished, true);
    machine.accel->vcpu_run(machine.vcpus[1], &exit);
    wrong_exits = exit.kind != ACCEL_EXIT_INTERRUPTED;
    return NULL;
}

/* One CPU needs to be alone for a moment, while another is in the hands of the debugger. */
static void a_stopped_cpu_is_not_waited_for(void **unused)
{
    pthread_t thread;

    if (!is_direct())
        return;
    atomic_store(&finished, false);
    assert_int_equal(pthread_create(&thread, NULL, run_until_kicked, NULL), 0);
    while (!atomic_load(&finished))
        sched_yield();
    machine.accel->vcpu_kick(machine.vcpus[1]);
    pthread_join(thread, NULL);
    assert_int_equal(wrong_exits, 0);
    set_slot(0, ACCEL_BREAK_ACCESS, DATA + 24, 8);
    get();
    state.gpr[X86_RDI] = DATA;
    state.cr4 |= 0x600;
    start_at(vectors);
    expect_slot(0, at(vectors_2));
    expect_slot(0, at(vectors_4));
    expect_port(PORT_DONE, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(impossible_breakpoints_are_refused),
        TEST(execution_is_noticed),
        TEST(breakpoints_of_both_kinds_do_not_mind_each_other),
        TEST(writes_are_noticed),
        TEST(accesses_are_noticed),
        TEST(the_stack_can_be_watched),
        TEST(a_scan_ends_where_it_should),
        TEST(a_watched_step_reports_the_access),
        TEST(vector_accesses_are_noticed),
        cmocka_unit_test_setup_teardown(a_stopped_cpu_is_not_waited_for, set_up_two, tear_down),
        cmocka_unit_test_setup_teardown(breakpoints_of_one_cpu_are_no_matter_to_another, set_up_two,
                                        tear_down),
    };
    return MACHINE_RUN_TESTS(tests);
}
