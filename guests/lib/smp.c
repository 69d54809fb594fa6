#include "lib/smp.h"

#include "lib/boot.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"

#define STACK_SIZE 4096

/* The mailbox in entry.S. */
extern uint8_t *smp_stack_top __attribute__((visibility("hidden")));
extern void (*smp_function)(uint32_t cpu) __attribute__((visibility("hidden")));
extern uint32_t smp_called_cpu __attribute__((visibility("hidden")));

static uint8_t stacks[SMP_MAX_CPUS][STACK_SIZE] __attribute__((aligned(16)));

/* Number of secondaries that have left entry.S, and so read the mailbox. */
static uint32_t arrived;

/* Work for all CPUs: `job` is published by raising `round`; `done` counts who finished it. */
static void (*job)(uint32_t cpu);
static uint32_t round;
static uint32_t done;

uint32_t smp_cpu_count(void)
{
    return (uint32_t)boot_info->cpu_count;
}

static void secondary(uint32_t cpu)
{
    __atomic_fetch_add(&arrived, 1, __ATOMIC_RELEASE);
    for (uint32_t seen = 0;; seen++) {
        while (__atomic_load_n(&round, __ATOMIC_ACQUIRE) == seen)
            cpu_pause();
        job(cpu);
        __atomic_fetch_add(&done, 1, __ATOMIC_RELEASE);
    }
}

static void call_up_secondaries(uint32_t count)
{
    if (count > SMP_MAX_CPUS) {
        print("guest: %u CPUs are more than the %u of its table\n", count, SMP_MAX_CPUS);
        guest_exit(1);
    }
    smp_function = secondary;
    for (uint32_t cpu = 1; cpu < count; cpu++) {
        smp_stack_top = stacks[cpu] + STACK_SIZE;
        __atomic_store_n(&smp_called_cpu, cpu, __ATOMIC_RELEASE);
        while (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) != cpu)
            cpu_pause();
    }
}

void smp_run(void (*function)(uint32_t cpu))
{
    uint32_t count = smp_cpu_count();
    if (round == 0)
        call_up_secondaries(count);

    job = function;
    __atomic_store_n(&done, 0, __ATOMIC_RELAXED);
    __atomic_fetch_add(&round, 1, __ATOMIC_RELEASE);
    function(0);
    while (__atomic_load_n(&done, __ATOMIC_ACQUIRE) != count - 1)
        cpu_pause();
}
