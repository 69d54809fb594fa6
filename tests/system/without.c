/*
 * without RULE... -- COMMAND ARGUMENT...: run a command as if the kernel were older, or a container
 * forbade something. A rule is the name of a system call, which then fails with ENOSYS, and may say
 * more:
 *
 *     NAME[/ARGUMENT&MASK][=ERRNO]
 *
 * only if all bits of MASK are set in this argument (from 0), and with another error; for example
 * memfd_create/1&16=EINVAL.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int error_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } errors[] = {
        {"EPERM", EPERM},   {"EACCES", EACCES}, {"EINVAL", EINVAL}, {"ENOSYS", ENOSYS},
        {"ENOMEM", ENOMEM}, {"ENOSPC", ENOSPC}, {"EAGAIN", EAGAIN}, {"EOPNOTSUPP", EOPNOTSUPP},
    };

    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(errors[i].name, name) == 0)
            return errors[i].number;
    return 0;
}

/* Cuts the rule apart. Returns 0 or -errno. */
static int add_rule(scmp_filter_ctx filter, char *rule)
{
    char *error = strchr(rule, '='), *condition = strchr(rule, '/');
    int number = ENOSYS;

    if (error) {
        *error = '\0';
        number = error_number(error + 1);
    }
    if (condition)
        *condition = '\0';
    int call = seccomp_syscall_resolve_name(rule);
    if (!number || call == __NR_SCMP_ERROR)
        return -EINVAL;
    if (!condition)
        return seccomp_rule_add(filter, SCMP_ACT_ERRNO(number), call, 0);
    char *end;
    unsigned argument = (unsigned)strtoul(condition + 1, &end, 0);
    uint64_t mask = *end == '&' ? strtoull(end + 1, &end, 0) : 0;
    if (*end || !mask)
        return -EINVAL;
    return seccomp_rule_add(filter, SCMP_ACT_ERRNO(number), call, 1,
                            SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, mask, mask));
}

int main(int argc, char **argv)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int at = 1, err = filter ? 0 : -ENOMEM;

    for (; !err && at < argc && strcmp(argv[at], "--") != 0; at++)
        err = add_rule(filter, argv[at]);
    if (!err && at + 1 >= argc)
        err = -EINVAL;
    if (!err)
        err = seccomp_load(filter);
    if (err) {
        fprintf(stderr, "without: %s: %s\n", at > 1 ? argv[at - 1] : "no command", strerror(-err));
        return 125;
    }
    execvp(argv[at + 1], argv + at + 1);
    perror(argv[at + 1]);
    return 127;
}
