/*
 * Brings up all CPUs; each says who it is and adds to a shared counter. Exit code 0 if the sum is
 * right.
 *
 * Application arguments "exit-from N": CPU N ends the VM with exit code 40 + N while the others
 * keep running.
 */
#include "lib/smp.h"
#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

#define ROUNDS 1000

static uint64_t counter;
static struct spinlock lock;
static uint64_t guarded; /* by `lock` */

static void work(uint32_t cpu)
{
    print("cpu %u of %u: apic id %u\n", cpu, smp_cpu_count(), cpu_id(1, 0).ebx >> 24);
    for (unsigned i = 0; i < ROUNDS; i++) {
        __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED);
        spinlock_take(&lock);
        guarded++;
        spinlock_release(&lock);
    }
}

static uint32_t exiting_cpu;

static void exit_or_spin(uint32_t cpu)
{
    if (cpu == exiting_cpu)
        guest_exit(40 + (int)cpu);
    for (;;)
        cpu_pause();
}

int main(void)
{
    args_load();
    uint32_t count = smp_cpu_count();
    smp_run(work);
    print("%u cpus, counter %lu, guarded %lu\n", count, counter, guarded);

    if (text_equal(args_app(0), "exit-from")) {
        exiting_cpu = (uint32_t)args_number(1, 0);
        if (exiting_cpu >= count)
            return 2;
        smp_run(exit_or_spin);
    }
    return counter == count * ROUNDS && guarded == counter ? 0 : 1;
}
