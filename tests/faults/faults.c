#include <asm/unistd.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>

#include "driver.h"

const struct fault_function fault_functions[] = {
#define FUNCTION(function, ...) {.name = #function, .faults = {__VA_ARGS__}},
#include "table.inc"
#undef FUNCTION
};

#define FUNCTIONS (sizeof fault_functions / sizeof *fault_functions)

/* System calls that the program makes by number, and those of the engine. */
static const struct {
    long number;
    const char *name;
    int32_t faults[4], engine_faults[4];
} system_calls[] = {
    {__NR_futex, "futex", {EINTR}, {EINTR}},
    {__NR_openat2, "openat2", {EMFILE, EACCES, ENOSYS}, {0}},
    {__NR_landlock_create_ruleset, "landlock_create_ruleset", {EOPNOTSUPP, ENOSYS, ENOMEM}, {0}},
    {__NR_landlock_add_rule, "landlock_add_rule", {ENOMEM}, {0}},
    {__NR_landlock_restrict_self, "landlock_restrict_self", {E2BIG, EPERM}, {0}},
    {__NR_seccomp, "seccomp", {EINVAL, ENOMEM}, {EINVAL, ENOMEM}},
    {__NR_clone, "clone", {EAGAIN, ENOMEM}, {EAGAIN}},
    {__NR_close_range, "close_range", {ENOSYS}, {ENOSYS}},
    {__NR_execveat, "execveat", {EACCES, ENOMEM}, {0}},
    {__NR_capset, "capset", {EPERM}, {EPERM}},
    {__NR_fcntl, "fcntl", {EBADF}, {0}},
    {__NR_getdents64, "getdents64", {EIO}, {0}},
    {__NR_faccessat2, "faccessat2", {EACCES}, {0}},
    {__NR_setgroups, "setgroups", {EPERM}, {0}},
    {__NR_setresgid, "setresgid", {EPERM}, {0}},
    {__NR_setresuid, "setresuid", {EPERM, EAGAIN}, {0}},
    {__NR_tgkill, "tgkill", {ESRCH}, {EAGAIN}},
    {__NR_mmap, "mmap", {0}, {ENOMEM}},
    {__NR_munmap, "munmap", {0}, {ENOMEM}},
    {__NR_prctl, "prctl", {0}, {EINVAL}},
    {__NR_prlimit64, "prlimit64", {0}, {EPERM}},
    {__NR_rt_sigaction, "rt_sigaction", {0}, {EINVAL}},
    {__NR_sigaltstack, "sigaltstack", {0}, {ENOMEM}},
    {__NR_timer_create, "timer_create", {0}, {EAGAIN}},
    {__NR_rt_sigprocmask, "rt_sigprocmask", {0}, {EINVAL}},
    {__NR_read, "read", {0}, {EINTR}},
};

#define SYSTEM_CALLS (sizeof system_calls / sizeof *system_calls)

static bool is_syscall(bool engine, const struct fault_record *record)
{
    return engine || strcmp(fault_functions[record->function % FUNCTIONS].name, "syscall") == 0;
}

static long syscall_number(bool engine, const struct fault_record *record)
{
    return engine ? (long)record->function : (long)(uint32_t)record->detail;
}

const int32_t *fault_choices(bool engine, const struct fault_record *record)
{
    static const int32_t none[1];

    if (!is_syscall(engine, record))
        return fault_functions[record->function % FUNCTIONS].faults;
    if (syscall_number(engine, record) == __NR_futex &&
        ((engine ? record->detail : record->detail >> 32) & 0x7f) != FUTEX_WAIT)
        return none;
    for (size_t i = 0; i < SYSTEM_CALLS; i++)
        if (system_calls[i].number == syscall_number(engine, record))
            return engine ? system_calls[i].engine_faults : system_calls[i].faults;
    return none;
}

void fault_describe(bool engine, const struct fault_record *record, char *text, size_t size)
{
    const char *name = NULL;

    if (!is_syscall(engine, record)) {
        /* "64" is the C library's affair. */
        name = fault_functions[record->function % FUNCTIONS].name;
        size_t length = strlen(name);
        length -= length > 2 && strcmp(name + length - 2, "64") == 0 ? 2 : 0;
        if (strcmp(name, "ioctl") == 0)
            snprintf(text, size, "ioctl:%llx", (long long)record->detail);
        else if (strcmp(name, "prctl") == 0)
            snprintf(text, size, "prctl:%lld", (long long)record->detail);
        else
            snprintf(text, size, "%.*s", (int)length, name);
        return;
    }
    for (size_t i = 0; i < SYSTEM_CALLS; i++)
        if (system_calls[i].number == syscall_number(engine, record))
            name = system_calls[i].name;
    if (name && engine && strcmp(name, "prctl") == 0)
        snprintf(text, size, "engine:prctl:%lld", (long long)record->detail);
    else if (name)
        snprintf(text, size, "%s%s", engine ? "engine:" : "", name);
    else
        snprintf(text, size, "system call %ld", syscall_number(engine, record));
}

const char *fault_name(int32_t fault, char *text, size_t size)
{
    const char *name = fault > 0 ? strerrorname_np(fault) : NULL;

    snprintf(text, size, "%s",
             fault == FAULT_SHORT    ? "short"
             : fault == FAULT_SILENT ? "-"
             : name                  ? name
                                     : "?");
    return text;
}

int32_t fault_parse(const char *name)
{
    if (strcmp(name, "short") == 0)
        return FAULT_SHORT;
    if (strcmp(name, "-") == 0)
        return FAULT_SILENT;
    for (int32_t fault = 1; fault < 134; fault++) {
        const char *known = strerrorname_np(fault);
        if (known && strcmp(known, name) == 0)
            return fault;
    }
    return 0;
}
