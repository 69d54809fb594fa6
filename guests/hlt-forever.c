/* Stops the CPU with interrupts off: nothing but the VMM can end this guest. */
#include "lib/print.h"

int main(void)
{
    print("halting\n");
    for (;;)
        __asm__ volatile("cli; hlt");
}
