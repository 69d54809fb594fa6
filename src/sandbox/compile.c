#include "sandbox/compile.h"

#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#define CALLS_MAX 512 /* entries of all lists */

#define ALWAYS 0 /* lists that are not optional, see struct filter_list */

struct entry {
    const struct sandbox_call *call;
    uint16_t lists; /* that permit it */
};

struct compiler {
    scmp_filter_ctx rules;
    struct entry entries[CALLS_MAX]; /* by number */
    int count;
};

static uint16_t either(uint16_t a, uint16_t b)
{
    return a == ALWAYS || b == ALWAYS ? ALWAYS : a | b;
}

static bool is_same(const struct sandbox_call *a, const struct sandbox_call *b)
{
    for (int i = 0; i < 2; i++)
        if (a->check[i].condition != b->check[i].condition ||
            a->check[i].argument != b->check[i].argument || a->check[i].mask != b->check[i].mask ||
            a->check[i].value != b->check[i].value)
            return false;
    return a->number == b->number && a->error == b->error;
}

static int collect(struct compiler *compiler, const struct sandbox_call *call, uint16_t bit)
{
    int at = compiler->count;

    for (int i = 0; i < compiler->count; i++)
        if (is_same(compiler->entries[i].call, call)) {
            compiler->entries[i].lists = either(compiler->entries[i].lists, bit);
            return 0;
        }
    if (at == CALLS_MAX)
        return -E2BIG;
    for (; at > 0 && compiler->entries[at - 1].call->number > call->number; at--)
        compiler->entries[at] = compiler->entries[at - 1];
    compiler->entries[at] = (struct entry){call, bit};
    compiler->count++;
    return 0;
}

static uint32_t mask_of(const struct sandbox_check *check)
{
    return check->condition == SANDBOX_MASKED ? check->mask : UINT32_MAX;
}

static uint32_t value_of(const struct sandbox_check *check)
{
    return check->condition == SANDBOX_IS_SELF   ? FILTER_SELF
           : check->condition == SANDBOX_IS_PEER ? FILTER_PEER
                                                 : check->value;
}

static bool exclude(const struct sandbox_check *a, const struct sandbox_check *b)
{
    uint32_t mask = mask_of(a) & mask_of(b);

    return a->condition && b->condition && a->argument == b->argument &&
           (value_of(a) & mask) != (value_of(b) & mask);
}

/* Whether no call meets both. */
static bool are_disjoint(const struct sandbox_call *a, const struct sandbox_call *b)
{
    for (int i = 0; i < 4; i++)
        if (exclude(&a->check[i / 2], &b->check[i % 2]))
            return true;
    return false;
}

static uint32_t action_of(uint16_t lists)
{
    return lists == ALWAYS ? SCMP_ACT_ALLOW : SCMP_ACT_TRACE(lists);
}

/* An equality of SANDBOX_NOT is what the caller reverses. */
static int add_rule(struct compiler *compiler, uint32_t action, const struct sandbox_call *call)
{
    struct scmp_arg_cmp checks[2];
    unsigned count = 0;

    for (; count < 2 && call->check[count].condition != SANDBOX_WHATEVER; count++) {
        const struct sandbox_check *check = &call->check[count];
        /* The upper half of an argument is compared with nothing. */
        checks[count] = SCMP_CMP64(check->argument, SCMP_CMP_MASKED_EQ, mask_of(check),
                                   value_of(check));
    }
    return seccomp_rule_add_exact_array(compiler->rules, action, call->number, count, checks);
}

/*
 * For a call that meets no condition. libseccomp tests narrower comparisons first, and replaces all
 * of them by a rule without any: thus one that always holds.
 */
static int add_otherwise(struct compiler *compiler, uint32_t action, int number,
                         bool has_conditions)
{
    const struct scmp_arg_cmp anything = SCMP_CMP64(0, SCMP_CMP_GE, 0);

    return seccomp_rule_add_exact_array(compiler->rules, action, number, has_conditions ? 1 : 0,
                                        &anything);
}

static int compile_not(struct compiler *compiler, const struct entry *entry)
{
    if (entry->call->check[1].condition != SANDBOX_WHATEVER)
        return -EOPNOTSUPP;
    int err = add_rule(compiler, SCMP_ACT_TRACE(0), entry->call);
    return err ? err : add_otherwise(compiler, action_of(entry->lists), entry->call->number, true);
}

/* Entries with conditions; what permits the call anyhow permits it here, too. */
static int compile_conditions(struct compiler *compiler, const struct entry *entries, int count,
                              bool is_open, uint16_t open_lists, bool *found)
{
    uint16_t lists[CALLS_MAX];

    for (int i = 0; i < count; i++) {
        const struct sandbox_call *call = entries[i].call;
        lists[i] = is_open ? either(entries[i].lists, open_lists) : entries[i].lists;
        if (call->error || call->check[0].condition == SANDBOX_WHATEVER)
            continue;
        if (call->check[0].condition == SANDBOX_DIFFERS ||
            call->check[1].condition == SANDBOX_DIFFERS)
            return -EOPNOTSUPP;
        for (int k = 0; k < i; k++)
            if (entries[k].call->check[0].condition != SANDBOX_WHATEVER && lists[k] != lists[i] &&
                !are_disjoint(entries[k].call, call))
                return -EOPNOTSUPP;
        int err = add_rule(compiler, action_of(lists[i]), call);
        if (err)
            return err;
        *found = true;
    }
    return 0;
}

/* All entries of one call. */
static int compile_call(struct compiler *compiler, const struct entry *entries, int count)
{
    const struct entry *open = NULL, *failing = NULL;
    bool has_conditions = false;

    if (count == 1 && entries->call->check[0].condition == SANDBOX_DIFFERS)
        return compile_not(compiler, entries);
    for (int i = 0; i < count; i++) {
        if (entries[i].call->error)
            failing = &entries[i];
        else if (entries[i].call->check[0].condition == SANDBOX_WHATEVER)
            open = &entries[i];
    }
    if (open && open->lists == ALWAYS)
        return add_rule(compiler, SCMP_ACT_ALLOW, open->call);
    if (failing && (open || failing->lists != ALWAYS))
        return -EOPNOTSUPP;
    int err = compile_conditions(compiler, entries, count, open, open ? open->lists : 0,
                                 &has_conditions);
    if (!err && (open || failing))
        err = add_otherwise(compiler,
                            open ? action_of(open->lists) : SCMP_ACT_ERRNO(failing->call->error),
                            entries->call->number, has_conditions);
    return err;
}

static int compile_calls(struct compiler *compiler, int *number)
{
    for (int i = 0, end; i < compiler->count; i = end) {
        *number = compiler->entries[i].call->number;
        for (end = i; end < compiler->count && compiler->entries[end].call->number == *number;)
            end++;
        int err = compile_call(compiler, &compiler->entries[i], end - i);
        if (err)
            return err;
    }
    *number = -1;
    return 0;
}

/* A number to be filled in is where it is looked for. */
static bool has_stray_mark(const struct sock_filter *program, int size)
{
    for (int i = 0; i < size; i++)
        if ((program[i].k == FILTER_SELF || program[i].k == FILTER_PEER) &&
            program[i].code != (BPF_JMP | BPF_JEQ | BPF_K))
            return true;
    return false;
}

static int export(const struct compiler *compiler, struct sock_filter program[FILTER_MAX])
{
    const size_t unit = sizeof *program;
    int fd = memfd_create("filter", MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    int err = seccomp_export_bpf(compiler->rules, fd);
    off_t bytes = err ? 0 : lseek(fd, 0, SEEK_END);
    if (!err && (bytes <= 0 || bytes % (off_t)unit != 0))
        err = -EIO;
    else if (!err && bytes > (off_t)(FILTER_MAX * unit))
        err = -E2BIG;
    else if (!err && pread(fd, program, (size_t)bytes, 0) != bytes)
        err = -EIO;
    close(fd);
    if (!err && has_stray_mark(program, (int)(bytes / (off_t)unit)))
        err = -EOPNOTSUPP;
    return err ? err : (int)(bytes / (off_t)unit);
}

int filter_compile(struct sock_filter program[FILTER_MAX], const struct filter_list *lists,
                   size_t count, int *number)
{
    struct compiler compiler = {.rules = seccomp_init(SCMP_ACT_TRAP)};
    int err = compiler.rules ? 0 : -ENOMEM;

    *number = -1;
    if (!err)
        err = seccomp_attr_set(compiler.rules, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP);
    /* A tree: the kernel tries every number when a filter is installed. */
    if (!err)
        err = seccomp_attr_set(compiler.rules, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    for (size_t i = 0; i < count && !err; i++)
        for (const struct sandbox_call *call = lists[i].calls; call->number >= 0 && !err; call++)
            err = collect(&compiler, call, lists[i].bit);
    if (!err)
        err = compile_calls(&compiler, number);
    int size = err ? err : export(&compiler, program);
    seccomp_release(compiler.rules);
    return size;
}
