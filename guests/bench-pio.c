/*
 * Leaves guest mode N times (application argument, default 100000) with the cheapest access there
 * is: a write to the PCI address port, which only stores a number. Exit code 0; prints nothing.
 */
#include "lib/args.h"
#include "lib/cpu.h"

#define PCI_ADDRESS_PORT 0xcf8

int main(void)
{
    args_load();
    for (int64_t left = args_number(0, 100000); left > 0; left--)
        cpu_out32(PCI_ADDRESS_PORT, 0);
    return 0;
}
