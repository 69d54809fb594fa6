/* The smallest guest: one line of output, exit code 0. */
#include "lib/print.h"

int main(void)
{
    print("Hello from a unikernel.\n");
    return 0;
}
