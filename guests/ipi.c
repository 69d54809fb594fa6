/*
 * Passes an interrupt around all CPUs: each waits in HLT until its neighbour wakes it. With one CPU
 * it sends to itself.
 */
#include "lib/apic.h"
#include "lib/cpu.h"
#include "lib/smp.h"
#include "lib/tap.h"
#include "lib/trap.h"

#define PASS_VECTOR 0x29
#define ROUNDS      20

static volatile uint32_t received[SMP_MAX_CPUS];
static uint32_t ready;

static void on_pass(const struct trap_frame *frame)
{
    (void)frame;
    received[apic_id()]++;
    apic_end_of_interrupt();
}

static void pass_around(uint32_t cpu)
{
    uint32_t count = smp_cpu_count();
    trap_init();
    apic_init();
    __atomic_fetch_add(&ready, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&ready, __ATOMIC_ACQUIRE) != count)
        cpu_pause();

    if (cpu == 0)
        apic_send(1 % count, PASS_VECTOR);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        while (received[cpu] == round)
            cpu_wait_for_interrupt();
        if (cpu != 0 || round + 1 < ROUNDS)
            apic_send((cpu + 1) % count, PASS_VECTOR);
    }
}

int main(void)
{
    trap_handle(PASS_VECTOR, on_pass);
    smp_run(pass_around);
    for (uint32_t cpu = 0; cpu < smp_cpu_count(); cpu++)
        tap_ok(received[cpu] == ROUNDS, "cpu %u was woken %u times", cpu, received[cpu]);
    return tap_end();
}
