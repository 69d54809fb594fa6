/* What accelerators do for debuggers: breakpoints, steps, watchpoints, vector registers. Pieces of
 * code are entered by setting RIP, and left by an OUT to PORT_DONE. */
#include "machine.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define PORT_DONE   0x10
#define PORT_VECTOR 0x13 /* the handler of an exception or interrupt tells its vector */

#define FLAG_TF UINT64_C(0x100)
#define FLAG_IF UINT64_C(0x200)

/* STEP INSTRUCTION notes in `steps` where the instruction is. */
extern const uint8_t guest[], guest_handlers[], guest_end[];
extern const uint8_t plain[], plain_second[], plain_third[], stepped[], stepped_end[], shadow[],
    shadow_end[], interrupting[], halting[], faulting[], writes[], write_1[], write_2[], write_3[],
    write_string[], reads[], read_1[], read_2[], read_3[], stack_use[], stack_1[], stack_2[],
    stack_3[], stack_4[], stack_5[], stack_6[], stack_7[], stack_8[], stack_9[], own_breakpoint[],
    sensitive[], sensitive_pushf[], sensitive_cpuid[], vectors[], vectors_1[], vectors_2[],
    vectors_3[], vectors_4[], vectors_5[], halting_1[], halting_2[], several[], several_function[],
    several_next[], several_watched[], spinning[];
extern const uint64_t steps[], steps_end[];
__asm__(".macro STEP instruction:vararg\n"
        "991: \\instruction\n"
        ".pushsection .data.rel.ro.steps, \"aw\"\n"
        ".quad 991b\n"
        ".popsection\n"
        ".endm\n"
        ".macro DONE\n"
        "    out %al, $0x10\n"
        "    ud2\n"
        ".endm\n"
        ".pushsection .data.rel.ro.steps, \"aw\"\n"
        "steps:\n"
        ".popsection\n"
        ".pushsection .rodata\n"
        "guest:\n"
        "plain:\n"
        "    mov $1, %ecx\n"
        "plain_second:\n"
        "    mov $2, %ecx\n"
        "plain_third:\n"
        "    mov $3, %ecx\n"
        "    DONE\n"

        /* Every way an instruction can be special, one step each. */
        "stepped:\n"
        "    STEP nop\n"
        "    STEP pushfq\n"
        "    STEP pop %r10\n"
        "    STEP push %r10\n"
        "    STEP popfq\n"
        "    STEP cli\n"
        "    STEP nop\n"
        "    STEP xor %eax, %eax\n"
        "    STEP cpuid\n"
        "    STEP mov %cs, %eax\n"
        "    STEP mov $0xc0000080, %ecx\n"
        "    STEP rdmsr\n"
        "    STEP rdtsc\n"
        "    STEP jmp 1f\n"
        "    ud2\n"
        "2:  STEP pushfq\n"
        "    STEP pop %r8\n"
        "    STEP ret\n"
        "1:  STEP call 2b\n"
        "    STEP mov %rsp, %rdx\n"
        "    STEP push $16\n"
        "    STEP push %rdx\n"
        "    STEP push $2\n"
        "    STEP push $8\n"
        "    STEP lea 3f(%rip), %rax\n"
        "    STEP push %rax\n"
        "    STEP iretq\n"
        "    ud2\n"
        "3:  STEP nop\n"
        "    STEP pushfq\n"
        "    STEP pop %r9\n"
        "stepped_end:\n"
        "    DONE\n"

        "shadow:\n"
        "    sti\n"
        "    nop\n"
        "    mov %eax, %ss\n"
        "    nop\n"
        "shadow_end:\n"
        "    cli\n"
        "    DONE\n"
        "interrupting:\n" /* x2APIC mode, enabled, and an interrupt to itself */
        "    mov $0x1b, %ecx\n"
        "    rdmsr\n"
        "    or $0x400, %eax\n"
        "    wrmsr\n"
        "    mov $0x80f, %ecx\n"
        "    mov $0x1ff, %eax\n"
        "    xor %edx, %edx\n"
        "    wrmsr\n"
        "    mov $0x83f, %ecx\n"
        "    mov $0x40, %eax\n"
        "    wrmsr\n"
        "    DONE\n"
        "halting:\n"
        "    hlt\n"
        "halting_1:\n"
        "    nop\n"
        "halting_2:\n"
        "    DONE\n"
        "faulting:\n"
        "    mov (%rax), %rbx\n"
        "    nop\n"
        "    DONE\n"

        /* RDI points to data. Labels are behind the accesses that are to be noticed. */
        "writes:\n"
        "    movb $1, 7(%rdi)\n"
        "    movb $1, 16(%rdi)\n"
        "    mov 8(%rdi), %rax\n"
        "    movb $1, 9(%rdi)\n"
        "write_1:\n"
        "    nop\n"
        "    movq $2, 4(%rdi)\n"
        "write_2:\n"
        "    lock incq 8(%rdi)\n"
        "write_3:\n"
        "    mov $3, %ecx\n"
        "write_string:\n"
        "    rep stosq\n"
        "    DONE\n"
        "reads:\n"
        "    movb 15(%rdi), %al\n"
        "    movb 18(%rdi), %al\n"
        "    movw 15(%rdi), %ax\n"
        "read_1:\n"
        "    movw %ax, 16(%rdi)\n"
        "read_2:\n"
        "    cmpb $0, 17(%rdi)\n"
        "read_3:\n"
        "    DONE\n"
        "stack_use:\n"
        "    push %rax\n"
        "stack_1:\n"
        "    pop %rax\n"
        "stack_2:\n"
        "    call 1f\n"
        "stack_4:\n"
        "    pushq $3\n"
        "stack_5:\n"
        "    popq 8(%rdi)\n"
        "stack_6:\n"
        "    movq $3, -8(%rsp)\n"
        "stack_7:\n"
        "    imul -8(%rsp), %rax\n"
        "stack_8:\n"
        "    shlq $1, -8(%rsp)\n"
        "stack_9:\n"
        "    DONE\n"
        "stack_3:\n"
        "1:  ret\n"
        "own_breakpoint:\n"
        "    int3\n"
        "    nop\n"
        "    DONE\n"
        "sensitive:\n"
        "    nop\n"
        "sensitive_pushf:\n"
        "    pushfq\n"
        "    pop %rbx\n"
        "    xor %eax, %eax\n"
        "sensitive_cpuid:\n"
        "    cpuid\n"
        "    DONE\n"
        "vectors:\n"
        "    movups %xmm0, (%rdi)\n"
        "vectors_1:\n"
        "    addps 16(%rdi), %xmm1\n"
        "vectors_2:\n"
        "    cvtsi2sd 8(%rdi), %xmm2\n"
        "vectors_3:\n"
        "    fldl 24(%rdi)\n"
        "vectors_4:\n"
        "    fstpl (%rdi)\n"
        "vectors_5:\n"
        "    DONE\n"

        "spinning:\n"
        "    pause\n"
        "    jmp spinning\n"
        "several:\n"
        "    mov $200, %ecx\n"
        "1:  lock incq (%rdi)\n"
        "    call several_function\n"
        "    movups %xmm0, 128(%rdi)\n"
        "    loop 1b\n"
        "    DONE\n"
        "several_function:\n"
        "    addps %xmm1, %xmm1\n" /* the emulator does not know it */
        "several_next:\n"
        "    movq $1, 64(%rdi)\n"
        "several_watched:\n"
        "    ret\n"
        "    .balign 16\n"
        "guest_handlers:\n"
        "    .set vector, 0\n"
        "    .rept 256\n"
        "    .balign 16\n"
        "    push %rax\n"
        "    mov $vector, %al\n"
        "    out %al, $0x13\n"
        "    pop %rax\n"
        "    .if vector == 14\n"
        "    add $8, %rsp\n"
        "    .endif\n"
        "    iretq\n"
        "    .set vector, vector + 1\n"
        "    .endr\n"
        "guest_end:\n"
        ".popsection\n"
        ".pushsection .data.rel.ro.steps, \"aw\"\n"
        "steps_end:\n"
        ".popsection\n");

#define DATA (MACHINE_RAM + MACHINE_DATA)

static struct machine machine;
static struct x86_state state;
static struct accel_debug debug;

static bool is_direct(void)
{
    return strcmp(machine.accel->name, "direct") == 0;
}

/* A KVM without hardware beneath has neither breakpoint instructions nor watchpoints. */
static bool lacks_breakpoints(void)
{
    if (machine.emulated)
        print_message("# such a KVM cannot do it\n");
    return machine.emulated;
}

/* Where a label is in the guest. */
static gva_t at(const uint8_t *label)
{
    return MACHINE_RAM + (uint64_t)(label - guest);
}

static void get(void)
{
    assert_int_equal(machine.accel->vcpu_get_state(machine.vcpus[0], &state), 0);
}

static void set(void)
{
    assert_int_equal(machine.accel->vcpu_set_state(machine.vcpus[0], &state), 0);
}

static void set_debug(void)
{
    assert_int_equal(machine.accel->vcpu_set_debug(machine.vcpus[0], &debug), 0);
}

static int set_up(void **unused)
{
    debug = (struct accel_debug){.enabled = true};
    machine_create(&machine, 1, guest, (size_t)(guest_end - guest), 0,
                   (size_t)(guest_handlers - guest));
    set_debug();
    get();
    state.gpr[X86_RDI] = DATA;
    return 0;
}

static int tear_down(void **unused)
{
    machine_destroy(&machine);
    return 0;
}

static void start_at(const uint8_t *label)
{
    state.rip = at(label);
    set();
}

static void expect_port(uint16_t port, uint8_t value)
{
    machine_run(&machine);
    assert_int_equal(machine.exit.kind, ACCEL_EXIT_IO);
    assert_int_equal(machine.exit.io.port, port);
    if (port == PORT_VECTOR)
        assert_int_equal(machine.exit.io.data[0], value);
}

static void expect_event(enum accel_debug_event event, gva_t rip)
{
    machine_run(&machine);
    assert_int_equal(machine.exit.kind, ACCEL_EXIT_DEBUG);
    assert_int_equal(machine.exit.debug.event, event);
    assert_int_equal(machine.exit.debug.rip, rip);
    get();
    assert_int_equal(state.rip, rip);
}

static void expect_slot(unsigned slot, gva_t rip)
{
    expect_event(ACCEL_DEBUG_HARDWARE, rip);
    assert_int_equal(machine.exit.debug.slot, slot);
}

static void step(bool on)
{
    debug.step = on;
    set_debug();
}

static uint8_t exchange_byte(gva_t address, uint8_t byte)
{
    uint8_t *here = machine_at(&machine, address), old = *here;
    if (machine.accel->vm_original_code)
        machine.accel->vm_original_code(machine.vm, address, &old, 1);
    *here = byte;
    if (machine.accel->vm_code_written)
        assert_int_equal(machine.accel->vm_code_written(machine.vm, address, 1), 0);
    return old;
}

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

/* Breakpoints in hardware. */

static void set_slot(unsigned slot, enum accel_breakpoint_kind kind, gva_t address, uint8_t size)
{
    debug.slot[slot] = (struct accel_hardware_breakpoint){kind, size, address};
    set_debug();
}

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

/* What a debugger writes is code of the guest's like any other. */
static void changed_code_is_prepared_too(void **unused)
{
    static const uint8_t code[] = {0x9c, 0x41, 0x5a, 0x90, 0x90}; /* pushfq; pop %r10; nop; nop */

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

static int set_up_two(void **unused)
{
    debug = (struct accel_debug){.enabled = true};
    machine_create(&machine, 2, guest, (size_t)(guest_end - guest), 0,
                   (size_t)(guest_handlers - guest));
    set_debug();
    get();
    return 0;
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
        TEST(impossible_breakpoints_are_refused),
        TEST(breakpoints_of_both_kinds_do_not_mind_each_other),
        TEST(changed_code_is_prepared_too),
        TEST(execution_is_noticed),
        TEST(writes_are_noticed),
        TEST(accesses_are_noticed),
        TEST(the_stack_can_be_watched),
        TEST(a_watched_step_reports_the_access),
        TEST(vector_accesses_are_noticed),
        cmocka_unit_test_setup_teardown(a_stopped_cpu_is_not_waited_for, set_up_two, tear_down),
        cmocka_unit_test_setup_teardown(breakpoints_of_one_cpu_are_no_matter_to_another, set_up_two,
                                        tear_down),
    };
    return MACHINE_RUN_TESTS(tests);
}
