/* Ends with the exit code given as application argument, 0 without one. */
#include "lib/args.h"

int main(void)
{
    args_load();
    return (int)args_number(0, 0);
}
