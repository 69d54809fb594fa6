/* What accelerators do for debuggers: breakpoint instructions, steps, vector registers. */
#include "debug_fixture.h"

/* Breakpoint instructions. */

static void a_breakpoint_stops_before_it(void **unused)
{
    if (lacks_breakpoints())
        return;
    uint8_t old = exchange_byte(at(plain_second), 0xcc);
    start_at(plain);
    expect_event(ACCEL_DEBUG_BREAKPOINT, at(plain_second));
    assert_int_equal(state.gpr[X86_RCX], 1);
    expect_event(ACCEL_DEBUG_BREAKPOINT, at(plain_second)); /* it is still there */
    exchange_byte(at(plain_second), old);
    step(true);
    expect_event(ACCEL_DEBUG_STEP, at(plain_third));
    assert_int_equal(state.gpr[X86_RCX], 2);
    step(false);
    expect_port(PORT_DONE, 0);
}

static void the_guest_keeps_its_own_breakpoints(void **unused)
{
    if (lacks_breakpoints())
        return;
    start_at(own_breakpoint);
    expect_event(ACCEL_DEBUG_BREAKPOINT, at(own_breakpoint));
    assert_int_equal(machine.accel->vcpu_inject_breakpoint(machine.vcpus[0]), 0);
    expect_port(PORT_VECTOR, 3);
    expect_port(PORT_DONE, 0);
    debug.enabled = false;
    set_debug();
    start_at(own_breakpoint);
    expect_port(PORT_VECTOR, 3);
    expect_port(PORT_DONE, 0);
}

static void sensitive_instructions_can_have_breakpoints(void **unused)
{
    if (lacks_breakpoints())
        return;
    start_at(sensitive);
    expect_port(PORT_DONE, 0); /* has been executed: whatever is done to it is done */
    static const uint8_t *const labels[] = {sensitive_pushf, sensitive_cpuid};
    for (unsigned i = 0; i < 2; i++) {
        uint8_t old = exchange_byte(at(labels[i]), 0xcc);
        assert_int_equal(old, *labels[i]);
        start_at(sensitive);
        expect_event(ACCEL_DEBUG_BREAKPOINT, at(labels[i]));
        exchange_byte(at(labels[i]), old);
        expect_port(PORT_DONE, 0);
        get();
        assert_int_equal(state.gpr[X86_RSP] % 16, 0);
        start_at(sensitive);
        expect_port(PORT_DONE, 0);
    }
}

/* Steps. */

static void every_instruction_is_a_step(void **unused)
{
    start_at(stepped);
    step(true);
    /* In order of execution, which is not that of the code. */
    unsigned count = 0;
    for (; state.rip != at(stepped_end) && count < 100; count++) {
        bool known = false;
        for (const uint64_t *s = steps; s < steps_end; s++)
            known |= at((const uint8_t *)(uintptr_t)*s) == state.rip;
        if (!known)
            fail_msg("a step ended at guest+0x%llx", (unsigned long long)(state.rip - MACHINE_RAM));
        machine_run(&machine);
        assert_int_equal(machine.exit.kind, ACCEL_EXIT_DEBUG);
        assert_int_equal(machine.exit.debug.event, ACCEL_DEBUG_STEP);
        get();
        assert_int_equal(machine.exit.debug.rip, state.rip);
        assert_int_equal(state.rflags & FLAG_TF, 0);
    }
    if (!machine.emulated) /* or one in 29 is lost */
        assert_int_equal(count, steps_end - steps);
    uint64_t seen = state.gpr[X86_R10] | state.gpr[X86_R8] | state.gpr[X86_R9];
    if (is_direct()) /* KVM lets the guest see how it is done */
        assert_int_equal(seen & FLAG_TF, 0);
    step(false);
    expect_port(PORT_DONE, 0);
}

static void a_fault_is_a_step_to_its_handler(void **unused)
{
    state.gpr[X86_RAX] = 0;
    start_at(faulting);
    step(true);
    if (is_direct()) /* KVM goes on until the handler returns */
        expect_event(ACCEL_DEBUG_STEP, at(guest_handlers) + 14 * 16);
    step(false);
    expect_port(PORT_VECTOR, 14);
}

static void interrupts_wait_for_the_end_of_stepping(void **unused)
{
    if (!is_direct()) /* KVM does so from Linux 5.16 on */
        return;
    start_at(interrupting);
    expect_port(PORT_DONE, 0);
    get();
    state.gpr[X86_RAX] = 16;
    start_at(shadow);
    step(true);
    for (unsigned i = 0; i < 4 && state.rip != at(shadow_end); i++) {
        machine_run(&machine);
        assert_int_equal(machine.exit.debug.event, ACCEL_DEBUG_STEP);
        get();
    }
    assert_int_equal(state.rip, at(shadow_end));
    assert_true(state.rflags & FLAG_IF);
    step(false);
    expect_port(PORT_VECTOR, 0x40);
    expect_port(PORT_DONE, 0);
}

static void a_halt_is_a_step(void **unused)
{
    if (!is_direct())
        return;
    start_at(interrupting);
    expect_port(PORT_DONE, 0);
    get();
    state.rflags |= FLAG_IF;
    start_at(halting);
    step(true);
    expect_event(ACCEL_DEBUG_STEP, at(halting_1));
    expect_event(ACCEL_DEBUG_STEP, at(halting_2)); /* the interrupt is there, but held back */
    step(false);
    expect_port(PORT_VECTOR, 0x40);
    expect_port(PORT_DONE, 0);
    /* Sent elsewhere, it waits no longer. */
    start_at(halting);
    step(true);
    expect_event(ACCEL_DEBUG_STEP, at(halting_1));
    start_at(plain);
    expect_event(ACCEL_DEBUG_STEP, at(plain_second));
}

/* Vector registers. */

static void vector_registers_are_read_and_written(void **unused)
{
    static uint8_t area[4096], again[4096];
    int size = machine.accel->vcpu_get_xsave(machine.vcpus[0], area, sizeof area);
    assert_true(size >= 576);
    assert_int_equal(machine.accel->vcpu_get_xsave(machine.vcpus[0], again, 600), 600);
    for (unsigned i = 0; i < 256; i++)
        area[160 + i] = (uint8_t)i; /* XMM registers */
    area[512] |= 3;                 /* both components are there */
    memcpy(area, &(uint16_t){0x27f}, 2);
    assert_int_equal(
        machine.accel->vcpu_set_xsave(machine.vcpus[0], area, machine.emulated ? 4096 : 576), 0);
    if (!machine.emulated) {
        get();
        state.gpr[X86_RDI] = DATA;
        state.cr4 |= 0x600;
        start_at(vectors);
        expect_port(PORT_DONE, 0);
        assert_memory_equal((uint8_t *)machine_at(&machine, DATA) + 8, area + 160 + 8, 8);
    } else {
        start_at(plain);
        expect_port(PORT_DONE, 0);
    }
    size = machine.accel->vcpu_get_xsave(machine.vcpus[0], again, sizeof again);
    assert_memory_equal(again, &(uint16_t){0x27f}, 2);
    assert_memory_equal(again + 160, area + 160, 16);
    assert_memory_equal(again + 208, area + 208, 160);
}

/* What a debugger writes is code of the guest's like any other. */
static void changed_code_is_prepared_too(void **unused)
{
    static const uint8_t code[] = {0x9c, 0x41, 0x5a, 0x90, 0x90}; /* pushfq; pop %r10; nop; nop */

    if (getenv("UHYVE_NESTED"))
        return;
    start_at(plain);
    expect_port(PORT_DONE, 0); /* the code is in use */
    set_slot(0, ACCEL_BREAK_EXECUTE, at(plain_second) + 1, 1);
    memcpy(machine_at(&machine, at(plain_second)), code, sizeof code);
    if (machine.accel->vm_code_written)
        assert_int_equal(machine.accel->vm_code_written(machine.vm, at(plain_second), sizeof code),
                         0);
    start_at(plain);
    expect_slot(0, at(plain_second) + 1);
    set_slot(0, ACCEL_BREAK_NONE, 0, 0);
    expect_port(PORT_DONE, 0);
    get();
    assert_int_equal(state.gpr[X86_R10] & FLAG_IF, 0); /* the guest's own flags */
    uint8_t shown[sizeof code];
    memcpy(shown, machine_at(&machine, at(plain_second)), sizeof shown);
    if (machine.accel->vm_original_code)
        machine.accel->vm_original_code(machine.vm, at(plain_second), shown, sizeof shown);
    assert_memory_equal(shown, code, sizeof shown);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_breakpoint_stops_before_it),
        TEST(the_guest_keeps_its_own_breakpoints),
        TEST(sensitive_instructions_can_have_breakpoints),
        TEST(every_instruction_is_a_step),
        TEST(a_fault_is_a_step_to_its_handler),
        TEST(interrupts_wait_for_the_end_of_stepping),
        TEST(a_halt_is_a_step),
        TEST(vector_registers_are_read_and_written),
        TEST(changed_code_is_prepared_too),
    };
    return MACHINE_RUN_TESTS(tests);
}
