/*
 * The local APIC by its registers in memory, as kernels use it that do not know the x2APIC (Intel
 * SDM volume 3, chapter 11), and the change to x2APIC mode.
 */
#include "lib/cpu.h"
#include "lib/paging.h"
#include "lib/tap.h"
#include "lib/trap.h"

#define APIC_ADDRESS     UINT64_C(0xfee00000)
#define MSR_APIC_BASE    0x1b
#define APIC_BASE_X2APIC 0x400
#define MSR_X2APIC_ID    0x802

/* Offsets of registers. */
#define ID            0x020
#define VERSION       0x030
#define PRIORITY      0x080
#define END           0x0b0
#define LOGICAL       0x0d0
#define FORMAT        0x0e0
#define SPURIOUS      0x0f0
#define IN_SERVICE    0x100
#define REQUESTED     0x200
#define COMMAND       0x300
#define DESTINATION   0x310
#define TIMER         0x320
#define INITIAL_COUNT 0x380
#define CURRENT_COUNT 0x390
#define DIVIDE        0x3e0

#define SPURIOUS_ENABLE 0x100
#define COMMAND_LOGICAL 0x800
#define COMMAND_SELF    0x40000
#define COMMAND_ALL     0x80000
#define TIMER_MASKED    0x10000
#define TIMER_PERIODIC  0x20000
#define DIVIDE_BY_ONE   0xb
#define TICKS           200000 /* of the timer: a fraction of a millisecond */

#define VECTOR          0x29
#define SPURIOUS_VECTOR 0x2f

static volatile uint32_t *apic;
static volatile unsigned interrupts;
static volatile bool was_in_service;

static uint32_t get(unsigned offset)
{
    return apic[offset / 4];
}

static void set(unsigned offset, uint32_t value)
{
    apic[offset / 4] = value;
}

/* Is the bit of VECTOR set in one of the registers of 256 bits? */
static bool has_vector(unsigned offset)
{
    return get(offset + VECTOR / 32 * 16) >> VECTOR % 32 & 1;
}

static void on_interrupt(const struct trap_frame *frame)
{
    (void)frame;
    interrupts++;
    was_in_service = has_vector(IN_SERVICE);
    set(END, 0);
}

static void take_interrupts(void)
{
    cpu_interrupts_on();
    get(ID); /* an exit, for whoever looks at interrupts only then */
    cpu_pause();
    cpu_interrupts_off();
}

static void expect_interrupt(const char *what)
{
    interrupts = 0;
    bool requested = has_vector(REQUESTED);
    take_interrupts();
    tap_ok(requested && interrupts == 1 && was_in_service && !has_vector(REQUESTED) &&
               !has_vector(IN_SERVICE),
           "%s: %u interrupts", what, interrupts);
}

static void test_messages(void)
{
    uint32_t id = get(ID) >> 24;
    set(COMMAND, VECTOR | COMMAND_SELF);
    expect_interrupt("to itself");
    set(COMMAND, VECTOR | COMMAND_ALL);
    expect_interrupt("to all");
    set(DESTINATION, id << 24);
    set(COMMAND, VECTOR);
    expect_interrupt("by number");
    set(FORMAT, UINT32_MAX);
    set(LOGICAL, UINT32_C(0x10) << 24);
    set(DESTINATION, UINT32_C(0x18) << 24);
    set(COMMAND, VECTOR | COMMAND_LOGICAL);
    expect_interrupt("by logical address");
    set(DESTINATION, UINT32_C(0x20) << 24);
    set(COMMAND, VECTOR | COMMAND_LOGICAL);
    tap_ok(!has_vector(REQUESTED), "another logical address");
}

static void test_priority(void)
{
    set(PRIORITY, 0x20);
    set(COMMAND, VECTOR | COMMAND_SELF);
    interrupts = 0;
    take_interrupts();
    tap_ok(interrupts == 0 && has_vector(REQUESTED), "the task priority holds it back");
    set(PRIORITY, 0x10);
    expect_interrupt("until it is lowered");
    set(PRIORITY, 0);
}

static void sleep_until(unsigned count)
{
    while (interrupts < count)
        cpu_wait_for_interrupt();
}

static void test_timer(void)
{
    set(DIVIDE, DIVIDE_BY_ONE);
    set(TIMER, VECTOR);
    set(INITIAL_COUNT, UINT32_MAX); /* seconds */
    uint32_t first = get(CURRENT_COUNT), second = get(CURRENT_COUNT);
    tap_ok(first != 0 && second <= first, "the timer counts down");
    interrupts = 0;
    set(INITIAL_COUNT, TICKS);
    sleep_until(1);
    tap_ok(get(CURRENT_COUNT) == 0, "to zero, once");
    set(TIMER, VECTOR | TIMER_PERIODIC);
    interrupts = 0;
    set(INITIAL_COUNT, TICKS);
    sleep_until(3);
    set(INITIAL_COUNT, 0);
    tap_ok(get(CURRENT_COUNT) == 0, "or again and again, until it is stopped");
    take_interrupts();
    set(TIMER, VECTOR | TIMER_MASKED);
    interrupts = 0;
    set(INITIAL_COUNT, TICKS);
    while (get(CURRENT_COUNT) != 0)
        ;
    take_interrupts();
    tap_ok(interrupts == 0 && !has_vector(REQUESTED), "masked, it does not interrupt");
}

int main(void)
{
    trap_init();
    trap_handle(VECTOR, on_interrupt);
    apic = paging_map(APIC_ADDRESS);
    tap_ok((get(VERSION) & 0xf0) == 0x10, "version %x", get(VERSION));
    set(SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
    tap_ok(get(SPURIOUS) == (SPURIOUS_ENABLE | SPURIOUS_VECTOR), "it can be enabled");
    test_messages();
    test_priority();
    test_timer();
    uint32_t id = get(ID) >> 24;
    cpu_write_msr(MSR_APIC_BASE, cpu_read_msr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    tap_ok(cpu_read_msr(MSR_X2APIC_ID) == id, "in x2APIC mode it has the same number");
    return tap_end();
}
