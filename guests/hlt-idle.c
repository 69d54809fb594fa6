/* Idles as a kernel without work does: interrupts on, HLT in a loop. */
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/trap.h"

int main(void)
{
    trap_init();
    print("idling\n");
    for (;;)
        cpu_wait_for_interrupt();
}
