/* Computes forever without leaving guest mode. */
#include "lib/cpu.h"
#include "lib/print.h"

int main(void)
{
    print("spinning\n");
    for (;;)
        cpu_pause();
}
