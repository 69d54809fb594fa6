#include "sandbox/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLS_MAX 512 /* entries of all lists */

#define DATA(field)    ((uint32_t)offsetof(struct seccomp_data, field))
#define LOAD(offset)   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
/* Go on with the next instruction if the comparison holds, else `skip` instructions further. */
#define IF_EQUAL(value, skip)     BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define IF_DIFFERENT(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, skip, 0)
#define IF_AT_LEAST(value, skip)  BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, value, 0, skip)

struct builder {
    struct sock_filter *program;
    int size;
    bool overflow;
    const struct sandbox_call *call[CALLS_MAX]; /* by number; entries of one call in their order */
    int count;
    pid_t self, peer;
};

static void emit(struct builder *builder, struct sock_filter instruction)
{
    if (builder->size < FILTER_MAX)
        builder->program[builder->size++] = instruction;
    else
        builder->overflow = true;
}

/* Insertion keeps the order within one call, so that frequent entries can stand first. */
static void collect(struct builder *builder, const struct sandbox_call *call)
{
    int at = builder->count;

    if (at == CALLS_MAX) {
        builder->overflow = true;
        return;
    }
    for (; at > 0 && builder->call[at - 1]->number > call->number; at--)
        builder->call[at] = builder->call[at - 1];
    builder->call[at] = call;
    builder->count++;
}

static int check_count(const struct sandbox_call *call)
{
    int count = 0;
    while (count < 2 && call->check[count].condition != SANDBOX_WHATEVER)
        count++;
    return count;
}

/* How many instructions emit_check makes. */
static int check_size(const struct sandbox_check *check)
{
    return check->condition == SANDBOX_MASKED && check->mask != UINT32_MAX ? 3 : 2;
}

/* `rest` instructions after this check belong to the same entry. */
static void emit_check(struct builder *builder, const struct sandbox_check *check, int rest)
{
    uint32_t value = check->condition == SANDBOX_IS_SELF   ? (uint32_t)builder->self
                     : check->condition == SANDBOX_IS_PEER ? (uint32_t)builder->peer
                                                           : check->value;

    emit(builder, (struct sock_filter)LOAD(DATA(args) + 8u * check->argument));
    if (check_size(check) == 3)
        emit(builder, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, check->mask));
    if (check->condition == SANDBOX_DIFFERS)
        emit(builder, (struct sock_filter)IF_DIFFERENT(value, (uint8_t)rest));
    else
        emit(builder, (struct sock_filter)IF_EQUAL(value, (uint8_t)rest));
}

/* Permit the call if all checks hold, else go on behind the entry. */
static void emit_entry(struct builder *builder, const struct sandbox_call *call)
{
    int count = check_count(call), rest = 1;

    for (int i = 0; i < count; i++) {
        if (call->check[i].condition == SANDBOX_IS_PEER && !builder->peer)
            return;
        rest += check_size(&call->check[i]);
    }
    for (int i = 0; i < count; i++) {
        rest -= check_size(&call->check[i]);
        emit_check(builder, &call->check[i], rest);
    }
    emit(builder, (struct sock_filter)RETURN(SECCOMP_RET_ALLOW));
}

/* All entries of one call, first ... end - 1. */
static void emit_call(struct builder *builder, int first, int end)
{
    uint32_t otherwise = SECCOMP_RET_TRAP;
    bool always = false;

    emit(builder, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
                                               (uint32_t)builder->call[first]->number, 1, 0));
    emit(builder, (struct sock_filter)RETURN(SECCOMP_RET_TRAP));
    for (int i = first; i < end; i++) {
        if (builder->call[i]->error)
            otherwise = SECCOMP_RET_ERRNO | builder->call[i]->error;
        else if (check_count(builder->call[i]) == 0)
            always = true;
    }
    if (always)
        otherwise = SECCOMP_RET_ALLOW;
    for (int i = first; i < end && !always; i++)
        if (!builder->call[i]->error)
            emit_entry(builder, builder->call[i]);
    emit(builder, (struct sock_filter)RETURN(otherwise));
}

static int start_of_call(const struct builder *builder, int at)
{
    while (at > 0 && builder->call[at - 1]->number == builder->call[at]->number)
        at--;
    return at;
}

static int end_of_call(const struct builder *builder, int at)
{
    int number = builder->call[at]->number;

    while (at < builder->count && builder->call[at]->number == number)
        at++;
    return at;
}

/* Entries first ... end - 1, which are those of whole calls. */
static void emit_tree(struct builder *builder, int first, int end)
{
    int middle = start_of_call(builder, (first + end) / 2);

    if (middle <= first)
        middle = end_of_call(builder, first);
    if (middle >= end) {
        emit_call(builder, first, end);
        return;
    }
    emit(builder, (struct sock_filter)IF_AT_LEAST((uint32_t)builder->call[middle]->number, 1));
    int jump = builder->size;
    emit(builder, (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, 0));
    emit_tree(builder, first, middle);
    if (!builder->overflow)
        builder->program[jump].k = (uint32_t)(builder->size - jump - 1);
    emit_tree(builder, middle, end);
}

int filter_build(struct sock_filter program[FILTER_MAX], const struct sandbox_call *const *lists,
                 size_t count, pid_t self, pid_t peer)
{
    struct builder builder = {.program = program, .self = self, .peer = peer};

    for (size_t i = 0; i < count; i++)
        for (const struct sandbox_call *call = lists[i]; call->number >= 0; call++)
            collect(&builder, call);
    emit(&builder, (struct sock_filter)LOAD(DATA(arch)));
    emit(&builder,
         (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
    emit(&builder, (struct sock_filter)RETURN(SECCOMP_RET_TRAP));
    emit(&builder, (struct sock_filter)LOAD(DATA(nr)));
    if (builder.count)
        emit_tree(&builder, 0, builder.count);
    else
        emit(&builder, (struct sock_filter)RETURN(SECCOMP_RET_TRAP));
    return builder.overflow ? -E2BIG : builder.size;
}

int filter_install(struct sock_filter *program, int size)
{
    const struct sock_fprog filter = {(unsigned short)size, program};
    /* The VMM runs no foreign code: it needs no mitigations beyond those that it had. */
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
                          &filter);

    return result == 0 ? 0 : -errno;
}
