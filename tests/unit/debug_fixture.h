/*
 * A guest that is debugged: the machine of machine.h around the code of debug_guest.S, and what
 * tests expect of it. One program, one machine.
 */
#ifndef DEBUG_FIXTURE_H
#define DEBUG_FIXTURE_H

#include "machine.h"

#define PORT_DONE   0x10
#define PORT_VECTOR 0x13 /* the handler of an exception or interrupt tells its vector */

#define FLAG_TF UINT64_C(0x100)
#define FLAG_IF UINT64_C(0x200)

#pragma GCC visibility push(hidden)
extern const uint8_t guest[], guest_handlers[], guest_end[];
extern const uint8_t plain[], plain_second[], plain_third[], stepped[], stepped_end[], shadow[],
    shadow_end[], interrupting[], halting[], faulting[], writes[], write_1[], write_2[], write_3[],
    write_string[], reads[], read_1[], read_2[], read_3[], stack_use[], stack_1[], stack_2[],
    stack_3[], stack_4[], stack_5[], stack_6[], stack_7[], stack_8[], stack_9[], own_breakpoint[],
    sensitive[], sensitive_pushf[], sensitive_cpuid[], vectors[], vectors_1[], vectors_2[],
    vectors_3[], vectors_4[], vectors_5[], halting_1[], halting_2[], several[], several_function[],
    several_next[], several_watched[], spinning[], scanning[], scanning_1[], scanning_2[];
extern const uint64_t steps[], steps_end[];
#pragma GCC visibility pop

#define DATA (MACHINE_RAM + MACHINE_DATA)

static struct machine machine;
static struct x86_state state;
static struct accel_debug debug;

static inline bool is_direct(void)
{
    return strcmp(machine.accel->name, "direct") == 0;
}

/* A KVM without hardware beneath, and that in the emulated machine of tests/nested, have neither
 * breakpoint instructions nor watchpoints. */
static inline bool lacks_breakpoints(void)
{
    bool lacks = machine.emulated || getenv("UHYVE_NESTED");
    if (lacks)
        print_message("# such a KVM cannot do it\n");
    return lacks;
}

/* Where a label is in the guest. */
static inline gva_t at(const uint8_t *label)
{
    return MACHINE_RAM + (uint64_t)(label - guest);
}

static inline void get(void)
{
    assert_int_equal(machine.accel->vcpu_get_state(machine.vcpus[0], &state), 0);
}

static inline void set(void)
{
    assert_int_equal(machine.accel->vcpu_set_state(machine.vcpus[0], &state), 0);
}

static inline void set_debug(void)
{
    assert_int_equal(machine.accel->vcpu_set_debug(machine.vcpus[0], &debug), 0);
}

static inline int set_up(void **unused)
{
    debug = (struct accel_debug){.enabled = true};
    machine_create(&machine, 1, guest, (size_t)(guest_end - guest), 0,
                   (size_t)(guest_handlers - guest));
    set_debug();
    get();
    state.gpr[X86_RDI] = DATA;
    return 0;
}

static inline int tear_down(void **unused)
{
    machine_destroy(&machine);
    return 0;
}

static inline void start_at(const uint8_t *label)
{
    state.rip = at(label);
    set();
}

static inline void expect_port(uint16_t port, uint8_t value)
{
    machine_run(&machine);
    assert_int_equal(machine.exit.kind, ACCEL_EXIT_IO);
    assert_int_equal(machine.exit.io.port, port);
    if (port == PORT_VECTOR)
        assert_int_equal(machine.exit.io.data[0], value);
}

static inline void expect_event(enum accel_debug_event event, gva_t rip)
{
    machine_run(&machine);
    assert_int_equal(machine.exit.kind, ACCEL_EXIT_DEBUG);
    assert_int_equal(machine.exit.debug.event, event);
    assert_int_equal(machine.exit.debug.rip, rip);
    get();
    assert_int_equal(state.rip, rip);
}

static inline void expect_slot(unsigned slot, gva_t rip)
{
    expect_event(ACCEL_DEBUG_HARDWARE, rip);
    assert_int_equal(machine.exit.debug.slot, slot);
}

static inline void step(bool on)
{
    debug.step = on;
    set_debug();
}

static inline uint8_t exchange_byte(gva_t address, uint8_t byte)
{
    uint8_t *here = machine_at(&machine, address), old = *here;
    if (machine.accel->vm_original_code)
        machine.accel->vm_original_code(machine.vm, address, &old, 1);
    *here = byte;
    if (machine.accel->vm_code_written)
        assert_int_equal(machine.accel->vm_code_written(machine.vm, address, 1), 0);
    return old;
}

static inline void set_slot(unsigned slot, enum accel_breakpoint_kind kind, gva_t address,
                            uint8_t size)
{
    debug.slot[slot] = (struct accel_hardware_breakpoint){kind, size, address};
    set_debug();
}

static inline int set_up_two(void **unused)
{
    debug = (struct accel_debug){.enabled = true};
    machine_create(&machine, 2, guest, (size_t)(guest_end - guest), 0,
                   (size_t)(guest_handlers - guest));
    set_debug();
    get();
    return 0;
}

#endif
