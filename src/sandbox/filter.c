#include "sandbox/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t fit_action(uint32_t action, uint16_t lists)
{
    if ((action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_TRACE)
        return action;
    return action & SECCOMP_RET_DATA & lists ? SECCOMP_RET_ALLOW : SECCOMP_RET_TRAP;
}

static uint32_t fit_value(uint32_t value, pid_t self, pid_t peer)
{
    if (value == FILTER_SELF)
        return (uint32_t)self;
    return value == FILTER_PEER && peer ? (uint32_t)peer : value;
}

void filter_fit(struct sock_filter fitted[FILTER_MAX], const struct filter_program *program,
                uint16_t lists, pid_t self, pid_t peer)
{
    for (unsigned i = 0; i < program->size; i++) {
        struct sock_filter instruction = program->code[i];

        if (instruction.code == (BPF_RET | BPF_K))
            instruction.k = fit_action(instruction.k, lists);
        else if (instruction.code == (BPF_JMP | BPF_JEQ | BPF_K))
            instruction.k = fit_value(instruction.k, self, peer);
        fitted[i] = instruction;
    }
}

int filter_install(const struct filter_program *program, uint16_t lists, pid_t self, pid_t peer)
{
    struct sock_filter fitted[FILTER_MAX];
    const struct sock_fprog filter = {program->size, fitted};

    filter_fit(fitted, program, lists, self, peer);
    /* The VMM runs no foreign code: it needs no mitigations beyond those that it had. */
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                          &filter);

    return result == 0 ? 0 : -errno;
}
