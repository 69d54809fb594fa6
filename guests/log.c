/*
 * Kernel log lines in both formats that Hermit kernels use, of every level, plain and coloured,
 * with continuation lines, and program text before, between and after.
 *
 * Application argument "fail": exit code 1.
 */
#include "lib/args.h"
#include "lib/hypercall.h"
#include "lib/print.h"
#include "lib/text.h"

static const char *const levels[] = {"ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
static const unsigned colours[] = {31, 33, 32, 34, 36};

int main(void)
{
    args_load();
    print_serial("program: first\n");
    for (unsigned i = 0; i < 5; i++)
        print_serial("[0][%s] old %s\n", levels[i], levels[i]);
    print_serial("program: second\n");
    for (unsigned i = 0; i < 5; i++)
        print_serial("[%5u.%06u][0][%-5s hermit::mm] new %s\n", i, i * 111111, levels[i],
                     levels[i]);
    for (unsigned i = 0; i < 5; i++)
        print_serial("[    1.500000][1][\033[%um%-5s\033[0m hermit] coloured %s\n", colours[i],
                     levels[i], levels[i]);
    print_serial("[0][INFO] list:\n    continued info\n");
    print_serial("[0][WARN] table:\n    continued warning\n");
    print("stdout: third\n");

    /* A line in pieces, as a kernel that prints byte by byte makes them. */
    for (const char *text = "[0][INFO] in pieces\n"; *text != '\0'; text++)
        serial_write_byte(*text);
    print_serial("program: ");
    print_serial("fourth");
    print_serial("\n");
    print_serial("[0][PANIC] the end\n");
    return text_equal(args_app(0), "fail");
}
