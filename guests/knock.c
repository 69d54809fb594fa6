/*
 * Each CPU in turn writes to a port behind which there is nothing: the VMM says so, on the thread
 * of that CPU. Exit code 0.
 */
#include "lib/cpu.h"
#include "lib/smp.h"

#define UNUSED_PORT 0x80

static struct spinlock turn;

static void knock(uint32_t cpu)
{
    spinlock_take(&turn);
    cpu_out32(UNUSED_PORT, cpu);
    spinlock_release(&turn);
}

int main(void)
{
    smp_run(knock);
    return 0;
}
