/*
 * The system call filters of the build, compared with the lists that they are made of: for every
 * combination of optional lists, every call, and arguments that meet a condition or just miss it.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/kvm.h>

#include "bpf.h"
#include "fs/files.h"
#include "fs/keeper.h"
#include "net/connector.h"
#include "sandbox/filter.h"
#include "unit.h"
#include "vm/vm.h"

#define LISTS_MAX 32

#define SELF 1000
#define PEER 2000

struct filter_list {
    const struct sandbox_call *calls;
    uint16_t bit;
};

static struct sock_filter program[FILTER_MAX];
static const struct filter_program *filter;
static struct filter_list lists[LISTS_MAX];
static size_t list_count;
static uint16_t used;
static pid_t peer;

static void use_filter(enum vm_threads threads, const struct filter_program *theirs)
{
    list_count = 0;
    while ((lists[list_count].calls = vm_call_list(threads, list_count, &lists[list_count].bit)))
        assert_true(++list_count < LISTS_MAX);
    filter = theirs;
}

static void use_keeper_filter(void)
{
    lists[0] = (struct filter_list){files_calls, 0};
    lists[1] = (struct filter_list){keeper_own_calls, 0};
    list_count = 2;
    filter = &keeper_filter;
}

static void use_connector_filter(void)
{
    lists[0] = (struct filter_list){connector_own_calls, 0};
    list_count = 1;
    filter = &connector_filter;
}

static uint32_t execute(const struct seccomp_data *data)
{
    return bpf_execute(program, filter->size, data);
}

static bool holds(const struct sandbox_check *check, const struct seccomp_data *data)
{
    uint32_t argument = (uint32_t)data->args[check->argument];

    switch (check->condition) {
    case SANDBOX_MASKED:
        return (argument & check->mask) == check->value;
    case SANDBOX_DIFFERS:
        return argument != check->value;
    case SANDBOX_IS_SELF:
        return argument == SELF;
    case SANDBOX_IS_PEER:
        return peer && argument == (uint32_t)peer;
    }
    return true;
}

/* What the lists say. */
static uint32_t expected(const struct seccomp_data *data)
{
    uint32_t otherwise = SECCOMP_RET_TRAP;

    for (size_t i = 0; i < list_count; i++) {
        if (lists[i].bit && !(lists[i].bit & used))
            continue;
        for (const struct sandbox_call *call = lists[i].calls; call->number >= 0; call++) {
            if (call->number != data->nr)
                continue;
            if (call->error)
                otherwise = SECCOMP_RET_ERRNO | call->error;
            else if (holds(&call->check[0], data) && holds(&call->check[1], data))
                return SECCOMP_RET_ALLOW;
        }
    }
    return otherwise;
}

static void compare(const struct seccomp_data *data)
{
    if (execute(data) != expected(data))
        fail_msg("call %d (%llx, %llx, %llx), lists 0x%x: 0x%x in place of 0x%x", data->nr,
                 (unsigned long long)data->args[0], (unsigned long long)data->args[1],
                 (unsigned long long)data->args[2], used, execute(data), expected(data));
}

/* What meets both conditions of the entry, and what misses each by one bit. */
static void compare_entry(const struct sandbox_call *call)
{
    struct seccomp_data data = {.nr = call->number, .arch = AUDIT_ARCH_X86_64};

    for (int i = 0; i < 2; i++) {
        const struct sandbox_check *check = &call->check[i];
        if (check->condition != SANDBOX_WHATEVER)
            data.args[check->argument] = check->condition == SANDBOX_IS_SELF   ? SELF
                                         : check->condition == SANDBOX_IS_PEER ? PEER
                                                                               : check->value;
    }
    compare(&data);
    for (int i = 0; i < 2 && call->check[i].condition != SANDBOX_WHATEVER; i++) {
        __u64 *argument = &data.args[call->check[i].argument];
        const __u64 right = *argument;
        for (int bit = 0; bit < 64; bit += bit < 33 ? 1 : 15) {
            *argument = right ^ UINT64_C(1) << bit;
            compare(&data);
        }
        *argument = right;
    }
}

static void compare_program(void)
{
    struct seccomp_data data = {.arch = AUDIT_ARCH_X86_64};

    filter_fit(program, filter, used, SELF, peer);
    for (data.nr = -1; data.nr < 600; data.nr++)
        compare(&data);
    for (size_t i = 0; i < list_count; i++)
        for (const struct sandbox_call *call = lists[i].calls; call->number >= 0; call++)
            compare_entry(call);
    for (data.nr = 0; data.nr < 600; data.nr++) {
        const struct seccomp_data i386 = {.nr = data.nr, .arch = AUDIT_ARCH_I386};
        const struct seccomp_data x32 = {.nr = data.nr | 0x40000000, .arch = AUDIT_ARCH_X86_64};
        assert_int_equal(execute(&i386), SECCOMP_RET_TRAP);
        assert_int_equal(execute(&x32), SECCOMP_RET_TRAP);
    }
}

static void skip_without_filter(void)
{
#ifdef UHYVE_SANITIZED
    skip();
#endif
}

/* For every combination of the optional lists. */
static void compare_combinations(void)
{
    uint16_t all = 0;

    for (size_t i = 0; i < list_count; i++)
        all |= lists[i].bit;
    assert_true(all != 0);
    for (used = all;; used = (used - 1) & all) {
        peer = used & 1 ? PEER : 0;
        compare_program();
        if (used == 0)
            break;
    }
    used = all;
    peer = PEER;
    compare_program();
}

static void test_the_vm_filter_is_what_the_lists_say(void **state)
{
    skip_without_filter();
    use_filter(VM_THREADS, &vm_filter);
    compare_combinations();
}

static void test_the_network_filter_is_what_the_lists_say(void **state)
{
    skip_without_filter();
    use_filter(VM_NETWORK_THREAD, &network_filter);
    compare_combinations();
}

/* Whatever lists a run uses: sockets are the network thread's, files and KVM the others'. */
static void test_threads_do_not_share_what_is_dangerous(void **state)
{
    static const int sockets[] = {SYS_socket, SYS_connect, SYS_bind, SYS_listen};
    static const int others[] = {SYS_clone,    SYS_openat2,   SYS_unlinkat, SYS_mkdirat,
                                 SYS_execve,   SYS_ftruncate, SYS_kill,     SYS_sched_setaffinity,
                                 SYS_pwrite64, SYS_socketpair};
    struct seccomp_data data = {.arch = AUDIT_ARCH_X86_64};

    skip_without_filter();
    filter_fit(program, filter = &vm_filter, UINT16_MAX, SELF, PEER);
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++) {
        data.nr = sockets[i];
        assert_int_equal(execute(&data), SECCOMP_RET_TRAP);
    }
    filter_fit(program, filter = &network_filter, UINT16_MAX, SELF, PEER);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        data.nr = others[i];
        assert_int_equal(execute(&data), SECCOMP_RET_TRAP);
    }
    data.nr = SYS_openat;
    assert_int_equal(execute(&data), SECCOMP_RET_ERRNO | EACCES);
    data.nr = SYS_ioctl;
    for (unsigned request = 0; request < 256; request++) {
        data.args[1] = _IO(KVMIO, request);
        assert_int_equal(execute(&data), SECCOMP_RET_TRAP);
    }
    data.args[1] = KVM_SET_USER_MEMORY_REGION;
    assert_int_equal(execute(&data), SECCOMP_RET_TRAP);
}

static void test_the_connector_filter_is_what_the_lists_say(void **state)
{
    skip_without_filter();
    use_connector_filter();
    used = 0;
    peer = 0;
    compare_program();
}

static void test_the_keeper_filter_is_what_the_lists_say(void **state)
{
    skip_without_filter();
    use_keeper_filter();
    used = 0;
    peer = 0;
    compare_program();
}

static void test_every_mark_is_filled_in(void **state)
{
    int self_marks = 0, peer_marks = 0, optional = 0;

    skip_without_filter();
    use_filter(VM_THREADS, &vm_filter);
    filter_fit(program, filter, 0, SELF, PEER);
    for (int i = 0; i < filter->size; i++) {
        self_marks += filter->code[i].k == FILTER_SELF;
        peer_marks += filter->code[i].k == FILTER_PEER;
        optional += filter->code[i].code == (BPF_RET | BPF_K) &&
                    (filter->code[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE;
        assert_true(program[i].k != FILTER_SELF && program[i].k != FILTER_PEER);
        if (program[i].code == (BPF_RET | BPF_K))
            assert_true(program[i].k == SECCOMP_RET_ALLOW || program[i].k == SECCOMP_RET_TRAP ||
                        program[i].k == (SECCOMP_RET_ERRNO | ENOSYS));
    }
    /* tgkill; tgkill, kill, waitid, wait4, of which libseccomp may join some. */
    assert_int_equal(self_marks, 1);
    assert_in_range(peer_marks, 2, 4);
    assert_true(optional > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_vm_filter_is_what_the_lists_say),
        cmocka_unit_test(test_the_network_filter_is_what_the_lists_say),
        cmocka_unit_test(test_threads_do_not_share_what_is_dangerous),
        cmocka_unit_test(test_the_connector_filter_is_what_the_lists_say),
        cmocka_unit_test(test_the_keeper_filter_is_what_the_lists_say),
        cmocka_unit_test(test_every_mark_is_filled_in),
    };
    return cmocka_run_group_tests_name("filter_lists", tests, NULL, NULL);
}
