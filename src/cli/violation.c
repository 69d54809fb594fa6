#include "cli/violation.h"

#include <linux/audit.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "uhyve.h"

/* No snprintf in a signal handler. */
struct line {
    char text[400];
    size_t size;
};

static void add(struct line *line, const char *text)
{
    for (; *text && line->size < sizeof line->text; text++)
        line->text[line->size++] = *text;
}

static void add_number(struct line *line, unsigned number)
{
    char digits[12];
    size_t at = sizeof digits - 1;

    digits[at] = '\0';
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    add(line, digits + at);
}

static void add_call(struct line *line, const siginfo_t *info)
{
    static const char *const names[] = {
#include "syscall_names.inc"
    };
    unsigned number = (unsigned)info->si_syscall;

    if (info->si_arch != AUDIT_ARCH_X86_64) {
        add(line, "of another architecture: ");
    } else if (number < sizeof names / sizeof *names && names[number]) {
        add(line, names[number]);
        add(line, ", ");
    }
    add(line, "number ");
    add_number(line, number);
}

/* On the thread that made the call. Other threads may run on until the process has ended. */
static void report(int signal, siginfo_t *info, void *context)
{
    struct line line = {0};

    add(&line,
        "uhyve: error: stopped at a system call that uhyve has no use for while a guest runs (");
    add_call(&line, info);
    add(&line, "): the guest has taken uhyve over, or uhyve is wrong (please report it; "
               "--no-seccomp does without this check)\n");
    ssize_t ignored = write(STDERR_FILENO, line.text, line.size);
    (void)ignored;
    _exit(UHYVE_STATUS_FAILED);
}

void violation_report(void)
{
    struct sigaction action = {.sa_sigaction = report, .sa_flags = SA_SIGINFO};

    sigfillset(&action.sa_mask);
    sigaction(SIGSYS, &action, NULL);
}
