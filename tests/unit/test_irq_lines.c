/* Inputs of the guest's I/O APIC: edge and level-triggered, masked, with vCPUs that run, sleep or
 * are elsewhere. The guest does one thing after another as the test asks it to. */
#include "machine.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

/* What the guest can be asked for, by the answer to an IN from PORT_COMMAND. */
enum command {
    COMMAND_TAKE,  /* enable interrupts for a moment */
    COMMAND_SLEEP, /* HLT with interrupts enabled */
    COMMAND_SPIN,  /* enable interrupts until one has come */
    COMMAND_END,   /* end of interrupt */
    COMMAND_WRITE, /* PORT_VALUE to register PORT_INDEX of the I/O APIC */
    COMMAND_READ,  /* register PORT_INDEX to PORT_VALUE */
};

#define PORT_COMMAND 0x10
#define PORT_INDEX   0x11
#define PORT_VALUE   0x12
#define PORT_VECTOR  0x13 /* an interrupt handler tells its vector */

extern const uint8_t guest[], guest_handlers[], guest_end[];
__asm__(".pushsection .rodata\n"
        "guest:\n"
        "    mov $0x1b, %ecx\n" /* x2APIC mode, then enable it by software */
        "    rdmsr\n"
        "    or $0x400, %eax\n"
        "    wrmsr\n"
        "    mov $0x80f, %ecx\n"
        "    mov $0x1ff, %eax\n"
        "    xor %edx, %edx\n"
        "    wrmsr\n"
        "    mov $0xfec00000, %ebx\n"
        "guest_next:\n"
        "    xor %esi, %esi\n" /* the handler sets it */
        "    in $0x10, %eax\n"
        "    cmp $1, %eax\n"
        "    jb guest_take\n"
        "    je guest_sleep\n"
        "    cmp $3, %eax\n"
        "    jb guest_spin\n"
        "    je guest_eoi\n"
        "    mov %eax, %edi\n"
        "    in $0x11, %eax\n"
        "    mov %eax, (%rbx)\n"
        "    cmp $4, %edi\n"
        "    jne guest_read\n"
        "    in $0x12, %eax\n"
        "    mov %eax, 16(%rbx)\n"
        "    jmp guest_next\n"
        "guest_read:\n"
        "    mov 16(%rbx), %eax\n"
        "    out %eax, $0x12\n"
        "    jmp guest_next\n"
        "guest_take:\n"
        "    sti\n"
        "    nop\n"
        "    out %eax, $0x14\n" /* a KVM that emulates code looks when it enters the guest */
        "    nop\n"
        "    cli\n"
        "    jmp guest_next\n"
        "guest_sleep:\n"
        "    sti\n"
        "    hlt\n"
        "    cli\n"
        "    jmp guest_next\n"
        "guest_spin:\n"
        "    sti\n"
        "1:  test %esi, %esi\n"
        "    jz 1b\n"
        "    cli\n"
        "    jmp guest_next\n"
        "guest_eoi:\n"
        "    mov $0x80b, %ecx\n"
        "    xor %eax, %eax\n"
        "    xor %edx, %edx\n"
        "    wrmsr\n"
        "    jmp guest_next\n"
        "    .balign 16\n"
        "guest_handlers:\n"
        "    .set vector, 0\n"
        "    .rept 256\n"
        "    .balign 16\n"
        "    push %rax\n"
        "    mov $vector, %eax\n"
        "    out %eax, $0x13\n"
        "    pop %rax\n"
        "    mov $1, %esi\n"
        "    iretq\n"
        "    .set vector, vector + 1\n"
        "    .endr\n"
        "guest_end:\n"
        ".popsection\n");

#define LINE         5
#define VECTOR       0x31
#define ENTRY_LEVEL  0x8000
#define ENTRY_MASKED 0x10000

struct context {
    struct machine machine;
    unsigned interrupts[256];
    uint32_t index, value;
    sem_t ready; /* vCPU 1 accepts interrupts */
};

static struct context context;

/* Serve a vCPU until it asks for the next command; the command is to be written to the result. */
static uint8_t *wait_for_request(unsigned vcpu, struct accel_exit *exit)
{
    const struct machine *machine = &context.machine;

    for (;;) {
        machine->accel->vcpu_run(machine->vcpus[vcpu], exit);
        if (exit->kind == ACCEL_EXIT_INTERRUPTED)
            continue;
        assert_int_equal(exit->kind, ACCEL_EXIT_IO);
        if (exit->io.port == PORT_COMMAND)
            return exit->io.data;
        if (exit->io.port == PORT_INDEX)
            memcpy(exit->io.data, &context.index, 4);
        else if (exit->io.port == PORT_VALUE)
            memcpy(exit->io.in ? (void *)exit->io.data : &context.value,
                   exit->io.in ? (void *)&context.value : exit->io.data, 4);
        else if (exit->io.port == PORT_VECTOR)
            context.interrupts[exit->io.data[0]]++;
    }
}

/* One command, until it is done. */
static void ask(enum command command)
{
    memcpy(context.machine.exit.io.data, &command, 4);
    wait_for_request(0, &context.machine.exit);
}

static void write_ioapic(uint32_t index, uint32_t value)
{
    context.index = index;
    context.value = value;
    ask(COMMAND_WRITE);
}

static void set_line(bool level)
{
    const struct machine *machine = &context.machine;
    assert_int_equal(machine->accel->vm_set_irq_line(machine->vm, LINE, level), 0);
}

/* Interrupts with VECTOR that the guest has taken since the last call. */
static unsigned taken(void)
{
    unsigned count = context.interrupts[VECTOR];
    context.interrupts[VECTOR] = 0;
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(context.interrupts[i], 0);
    return count;
}

static unsigned take(void)
{
    ask(COMMAND_TAKE);
    return taken();
}

static void program(uint32_t flags)
{
    write_ioapic(0x10 + 2 * LINE, VECTOR | flags);
}

static void create(unsigned cpu_count)
{
    memset(&context, 0, sizeof context);
    machine_create(&context.machine, cpu_count, guest, (size_t)(guest_end - guest), 0,
                   (size_t)(guest_handlers - guest));
    wait_for_request(0, &context.machine.exit);
}

static int set_up(void **state)
{
    create(1);
    return 0;
}

static int tear_down(void **state)
{
    machine_destroy(&context.machine);
    return 0;
}

static void an_edge_interrupts_once(void **state)
{
    program(0);
    assert_int_equal(take(), 0);
    set_line(true);
    assert_int_equal(take(), 1);
    ask(COMMAND_END);
    set_line(true); /* no edge */
    assert_int_equal(take(), 0);
    set_line(false);
    assert_int_equal(take(), 0);
    set_line(true);
    set_line(false); /* a pulse, over before the guest looks */
    assert_int_equal(take(), 1);
    ask(COMMAND_END);
    assert_int_equal(take(), 0);
}

static void a_level_interrupts_until_it_is_gone(void **state)
{
    if (context.machine.emulated) {
        print_message("# such a KVM does not wait for the end of a level-triggered interrupt\n");
        return;
    }
    program(ENTRY_LEVEL);
    set_line(true);
    assert_int_equal(take(), 1);
    assert_int_equal(take(), 0); /* not before the end of the first */
    ask(COMMAND_END);
    assert_int_equal(take(), 1); /* still asserted */
    set_line(false);
    ask(COMMAND_END);
    assert_int_equal(take(), 0);
    set_line(true);
    assert_int_equal(take(), 1);
    set_line(false);
    set_line(true); /* asserted again before the end */
    ask(COMMAND_END);
    assert_int_equal(take(), 1);
}

static void a_masked_line_waits_or_is_lost(void **state)
{
    set_line(true);
    program(ENTRY_LEVEL | ENTRY_MASKED);
    assert_int_equal(take(), 0);
    program(ENTRY_LEVEL);
    set_line(false);
    assert_int_equal(take(), 1);
    ask(COMMAND_END);
    assert_int_equal(take(), 0);
    program(ENTRY_MASKED);
    set_line(true);
    program(0);
    assert_int_equal(take(), 0); /* the edge was lost */
}

static void the_entry_tells_of_an_interrupt_in_service(void **state)
{
    program(ENTRY_LEVEL);
    set_line(true);
    context.index = 0x10 + 2 * LINE;
    ask(COMMAND_READ);
    assert_int_equal(context.value, VECTOR | ENTRY_LEVEL | 0x4000); /* remote IRR */
    set_line(false);
    assert_int_equal(take(), 1);
    ask(COMMAND_END);
    ask(COMMAND_READ);
    assert_int_equal(context.value, VECTOR | ENTRY_LEVEL);
}

static void lines_that_do_not_exist_are_refused(void **state)
{
    const struct machine *machine = &context.machine;
    assert_int_equal(machine->accel->vm_set_irq_line(machine->vm, 24, true), -EINVAL);
    assert_int_equal(machine->accel->vm_set_irq_line(machine->vm, UINT32_MAX, true), -EINVAL);
    assert_int_equal(machine->accel->vm_set_irq_line(machine->vm, 23, true), 0);
}

static void *raise_soon(void *argument)
{
    usleep(20000);
    set_line(true);
    return NULL;
}

/* A level-triggered line, where it interrupts but once before the end of the interrupt. */
static void program_level(void)
{
    program(context.machine.emulated ? 0 : ENTRY_LEVEL);
}

static void interrupted_while(enum command command)
{
    pthread_t thread;

    program_level();
    assert_int_equal(pthread_create(&thread, NULL, raise_soon, NULL), 0);
    ask(command);
    pthread_join(thread, NULL);
    assert_int_equal(taken(), 1);
}

static void a_sleeping_cpu_wakes_up(void **state)
{
    interrupted_while(COMMAND_SLEEP);
}

static void a_running_cpu_is_interrupted(void **state)
{
    interrupted_while(COMMAND_SPIN);
}

/* vCPU 1 sleeps until it is interrupted. */
static void *run_second(void *argument)
{
    const enum command command = COMMAND_SLEEP;
    struct accel_exit exit = {0};

    machine_create_vcpu(&context.machine, 1);
    memcpy(wait_for_request(1, &exit), &command, 4);
    sem_post(&context.ready);
    wait_for_request(1, &exit);
    return NULL;
}

/* While vCPU 0 is not in the guest. */
static void the_entry_names_the_cpu(void **state)
{
    pthread_t thread;

    write_ioapic(0x10 + 2 * LINE + 1, 1 << 24);
    program_level();
    sem_init(&context.ready, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, run_second, NULL), 0);
    while (sem_wait(&context.ready) != 0)
        ;
    usleep(20000);
    set_line(true);
    pthread_join(thread, NULL);
    sem_destroy(&context.ready);
    assert_int_equal(taken(), 1);
    assert_int_equal(take(), 0);
}

static int set_up_two(void **state)
{
    create(2);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_edge_interrupts_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_level_interrupts_until_it_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_masked_line_waits_or_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_entry_tells_of_an_interrupt_in_service, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(lines_that_do_not_exist_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_sleeping_cpu_wakes_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_running_cpu_is_interrupted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_entry_names_the_cpu, set_up_two, tear_down),
    };
    return MACHINE_RUN_TESTS(tests);
}
