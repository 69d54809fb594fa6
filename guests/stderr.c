/* Writes numbered lines to standard output (1), standard error (2) and the serial channel. */
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

static void write_error(const char *line)
{
    file_write(2, line, text_length(line));
}

int main(void)
{
    print("1 stdout\n");
    write_error("2 stderr\n");
    print_serial("3 serial\n");
    write_error("4 stderr\n");
    print("5 stdout\n");
    print_serial("6 serial\n");
    return 0;
}
