/*
 * The system call filter: programs of lists made up here are executed instruction by instruction,
 * as the kernel would; one is put into force in a process of its own.
 */
#include "sandbox/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf.h"
#include "sandbox/compile.h"
#include "sandbox/runtime.h"
#include "unit.h"

#define SELF   1000
#define PEER   2000
#define NOBODY 3000

static struct sock_filter code[FILTER_MAX], program[FILTER_MAX];
static int size;

static int compile(const struct filter_list *lists, size_t count)
{
    int number;
    return filter_compile(code, lists, count, &number);
}

static void fit(uint16_t used, pid_t self, pid_t peer)
{
    const struct filter_program compiled = {code, (uint16_t)size};
    filter_fit(program, &compiled, used, self, peer);
}

static void build_for(const struct sandbox_call *list, pid_t peer)
{
    const struct filter_list lists[] = {{list, 0}};

    size = compile(lists, 1);
    assert_true(size > 0 && size <= FILTER_MAX);
    fit(0, SELF, peer);
}

static void build(const struct sandbox_call *list)
{
    build_for(list, PEER);
}

static uint32_t execute(const struct seccomp_data *data)
{
    return bpf_execute(program, size, data);
}

static uint32_t decide(int number, uint64_t a, uint64_t b, uint64_t c)
{
    const struct seccomp_data data = {.nr = number, .arch = AUDIT_ARCH_X86_64, .args = {a, b, c}};
    return execute(&data);
}

#define assert_allowed(...) assert_int_equal(decide(__VA_ARGS__), SECCOMP_RET_ALLOW)
#define assert_refused(...) assert_int_equal(decide(__VA_ARGS__), SECCOMP_RET_TRAP)

static void test_only_listed_calls_are_permitted(void **state)
{
    /* Trees of all shapes up to 40 calls: every third number. */
    struct sandbox_call list[41];

    for (int count = 0; count <= 40; count++) {
        for (int i = 0; i < count; i++)
            list[i] = (struct sandbox_call){.number = (int16_t)(3 * (count - 1 - i))};
        list[count] = (struct sandbox_call){.number = -1};
        build(list);
        for (int number = 0; number < 200; number++)
            assert_int_equal(decide(number, 0, 0, 0), number % 3 == 0 && number < 3 * count
                                                          ? SECCOMP_RET_ALLOW
                                                          : SECCOMP_RET_TRAP);
        assert_refused(-1, 0, 0, 0);
    }
}

static void test_lists_add_up(void **state)
{
    static const struct sandbox_call first[] = {SANDBOX_CALL(read), SANDBOX_END},
                                     second[] = {SANDBOX_CALL(write), SANDBOX_END};
    const struct filter_list lists[] = {{first, 0}, {second, 0}};

    size = compile(lists, 2);
    fit(0, SELF, PEER);
    assert_allowed(SYS_read, 0, 0, 0);
    assert_allowed(SYS_write, 0, 0, 0);
    assert_refused(SYS_open, 0, 0, 0);
}

static void test_arguments_are_checked(void **state)
{
    static const struct sandbox_call list[] = {
        SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, 5)),
        SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, 7), SANDBOX_BITS(2, 0xf0, 0x30)),
        SANDBOX_CALL(mmap, SANDBOX_CLEAR(2, PROT_EXEC)),
        SANDBOX_CALL(close, SANDBOX_NOT(0, 9)),
        SANDBOX_END,
    };
    build(list);
    assert_allowed(SYS_ioctl, 3, 5, 0);
    assert_allowed(SYS_ioctl, 3, UINT64_C(0xffffffff00000005), 0); /* the kernel sees 5, too */
    assert_refused(SYS_ioctl, 5, 6, 5);
    assert_allowed(SYS_ioctl, 3, 7, 0xf3f);
    assert_refused(SYS_ioctl, 3, 7, 0xf4f);
    assert_allowed(SYS_mmap, 0, 0, PROT_READ | PROT_WRITE);
    assert_refused(SYS_mmap, 0, 0, PROT_READ | PROT_EXEC);
    assert_allowed(SYS_close, 8, 0, 0);
    assert_refused(SYS_close, 9, 0, 0);
}

static void test_processes_are_told_apart(void **state)
{
    static const struct sandbox_call list[] = {
        SANDBOX_CALL(tgkill, SANDBOX_SELF(0)),
        SANDBOX_CALL(tgkill, SANDBOX_PEER(0)),
        SANDBOX_CALL(kill, SANDBOX_PEER(0)),
        SANDBOX_END,
    };
    build(list);
    assert_allowed(SYS_tgkill, SELF, 1, 2);
    assert_allowed(SYS_tgkill, PEER, 1, 2);
    assert_refused(SYS_tgkill, NOBODY, 1, 2);
    assert_allowed(SYS_kill, PEER, 9, 0);
    assert_refused(SYS_kill, SELF, 9, 0);
    /* Without another process, 0 is nobody's number: kill(0) would be to the process group. */
    build_for(list, 0);
    assert_allowed(SYS_tgkill, SELF, 1, 2);
    assert_refused(SYS_tgkill, 0, 1, 2);
    assert_refused(SYS_kill, 0, 9, 0);
}

static void test_an_entry_without_conditions_wins(void **state)
{
    static const struct sandbox_call list[] = {
        SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, 5)),
        SANDBOX_CALL(ioctl),
        SANDBOX_END,
    };
    build(list);
    assert_allowed(SYS_ioctl, 3, 6, 0);
}

static void test_calls_can_fail_with_an_error(void **state)
{
    static const struct sandbox_call list[] = {
        SANDBOX_ERROR(clone3, ENOSYS),       SANDBOX_ERROR(openat, EACCES),
        SANDBOX_ERROR(kill, EPERM),          SANDBOX_CALL(openat),
        SANDBOX_CALL(kill, SANDBOX_PEER(0)), SANDBOX_END,
    };
    build(list);
    assert_int_equal(decide(SYS_clone3, 0, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
    assert_allowed(SYS_openat, 0, 0, 0);
    assert_allowed(SYS_kill, PEER, 9, 0);
    assert_int_equal(decide(SYS_kill, NOBODY, 9, 0), SECCOMP_RET_ERRNO | EPERM);
}

static void test_other_tables_of_calls_are_refused(void **state)
{
    static const struct sandbox_call list[] = {SANDBOX_CALL(read), SANDBOX_END};
    const struct seccomp_data i386 = {.nr = SYS_read, .arch = AUDIT_ARCH_I386};
    const struct seccomp_data x32 = {.nr = SYS_read | 0x40000000, .arch = AUDIT_ARCH_X86_64};

    build(list);
    assert_int_equal(execute(&i386), SECCOMP_RET_TRAP);
    assert_int_equal(execute(&x32), SECCOMP_RET_TRAP);
}

static void test_optional_lists(void **state)
{
    static const struct sandbox_call always[] = {SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, 5)),
                                                 SANDBOX_CALL(read), SANDBOX_END},
                                     first[] = {SANDBOX_CALL(fcntl), SANDBOX_CALL(read),
                                                SANDBOX_CALL(write), SANDBOX_END},
                                     second[] = {SANDBOX_CALL(fcntl, SANDBOX_EQUAL(1, 6)),
                                                 SANDBOX_CALL(write), SANDBOX_END};
    const struct filter_list lists[] = {{always, 0}, {first, 1}, {second, 0x8000}};

    size = compile(lists, 3);
    fit(0, SELF, PEER);
    assert_allowed(SYS_read, 0, 0, 0);
    assert_refused(SYS_write, 0, 0, 0);
    assert_allowed(SYS_fcntl, 0, 5, 0);
    assert_refused(SYS_fcntl, 0, 6, 0);
    fit(0x8000, SELF, PEER);
    assert_allowed(SYS_write, 0, 0, 0);
    assert_allowed(SYS_fcntl, 0, 5, 0);
    assert_allowed(SYS_fcntl, 0, 6, 0);
    assert_refused(SYS_fcntl, 0, 7, 0);
    fit(1, SELF, PEER);
    assert_allowed(SYS_write, 0, 0, 0);
    for (unsigned i = 0; i < 9; i++)
        assert_allowed(SYS_fcntl, UINT64_MAX * (i % 2), i, 0);
}

static void test_too_much_is_told(void **state)
{
    static struct sandbox_call list[1000];
    const struct filter_list lists[] = {{list, 0}};

    for (int i = 0; i < 999; i++)
        list[i] = (struct sandbox_call){.number = (int16_t)i,
                                        .check = {SANDBOX_EQUAL(1, (uint32_t)i)}};
    list[999].number = -1;
    assert_int_equal(compile(lists, 1), -E2BIG);
    list[400].number = -1; /* fewer, but still more instructions than there may be */
    assert_int_equal(compile(lists, 1), -E2BIG);
}

static void test_what_has_no_rules_is_told(void **state)
{
    static const struct sandbox_call not_alone[] = {SANDBOX_CALL(kill, SANDBOX_NOT(1, 9)),
                                                    SANDBOX_CALL(kill, SANDBOX_SELF(0)),
                                                    SANDBOX_END},
                                     two_nots[] = {SANDBOX_CALL(kill, SANDBOX_NOT(0, 1),
                                                                SANDBOX_NOT(1, 9)),
                                                   SANDBOX_END},
                                     self[] = {SANDBOX_CALL(kill, SANDBOX_SELF(0)), SANDBOX_END},
                                     term[] = {SANDBOX_CALL(kill, SANDBOX_EQUAL(1, SIGTERM)),
                                               SANDBOX_END},
                                     fails[] = {SANDBOX_ERROR(kill, EPERM), SANDBOX_END},
                                     open[] = {SANDBOX_CALL(kill), SANDBOX_END};
    const struct filter_list cases[][2] = {
        {{not_alone, 0}, {open, 0}}, /* the first alone */
        {{two_nots, 0}, {open, 0}},  /* the first alone */
        {{self, 0}, {term, 1}},
        {{fails, 0}, {open, 1}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int number = -1;
        assert_int_equal(filter_compile(code, cases[i], i < 2 ? 1 : 2, &number), -EOPNOTSUPP);
        assert_int_equal(number, SYS_kill);
    }
}

static void test_what_every_program_needs(void **state)
{
    const uint64_t thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                            CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                            CLONE_CHILD_CLEARTID;
    static const int never[] = {SYS_open,
                                SYS_openat2,
                                SYS_creat,
                                SYS_stat,
                                SYS_newfstatat,
                                SYS_execve,
                                SYS_fork,
                                SYS_vfork,
                                SYS_socket,
                                SYS_connect,
                                SYS_ptrace,
                                SYS_kill,
                                SYS_tkill,
                                SYS_setuid,
                                SYS_unshare,
                                SYS_mount,
                                SYS_process_vm_writev,
                                SYS_bpf,
                                SYS_keyctl,
                                SYS_seccomp,
                                SYS_io_uring_setup,
                                SYS_userfaultfd,
                                SYS_execveat,
                                SYS_unlink,
                                SYS_symlink,
                                SYS_chmod,
                                SYS_pidfd_getfd,
                                SYS_memfd_create,
                                SYS_ioctl};

    const struct filter_list lists[] = {{thread_calls, 0}, {runtime_calls, 0}};

    size = compile(lists, 2);
    fit(0, SELF, PEER);
    assert_int_equal(decide(SYS_openat, 0, 0, 0), SECCOMP_RET_ERRNO | EACCES);
    assert_allowed(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE);
    assert_refused(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
    assert_refused(SYS_mprotect, 0, 4096, PROT_EXEC);
    assert_allowed(SYS_clone, thread, 0, 0);
    assert_refused(SYS_clone, SIGCHLD, 0, 0);
    assert_refused(SYS_clone, thread | CLONE_NEWUSER, 0, 0);
    assert_allowed(SYS_tgkill, SELF, SELF, SIGABRT);
    assert_refused(SYS_tgkill, 1, 1, SIGKILL);
    assert_allowed(SYS_rt_sigaction, SIGTERM, 0, 0);
    assert_refused(SYS_rt_sigaction, SIGSYS, 0, 0);
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        assert_refused(never[i], 0, 0, 0);
}

static void *allocate(void *argument)
{
    for (size_t bytes = 16; bytes < 4 << 20; bytes *= 2)
        free(malloc(bytes));
    return argument;
}

/* In a child: threads and memory work under the filter, then the call kills it. */
static int run_filtered(void (*last_call)(void))
{
    pid_t child = fork();

    if (child == 0) {
        const struct filter_list lists[] = {{thread_calls, 0}, {runtime_calls, 0}};
        pthread_t thread;
        void *result = NULL;
        signal(SIGSYS, SIG_DFL); /* cmocka has a handler */
        size = compile(lists, 2);
        const struct filter_program compiled = {code, (uint16_t)size};
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
            filter_install(&compiled, 0, getpid(), 0) != 0)
            _exit(1);
        if (pthread_create(&thread, NULL, allocate, program) != 0 ||
            pthread_join(thread, &result) != 0 || result != program)
            _exit(2);
        allocate(NULL);
        if (last_call)
            last_call();
        _exit(3);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void call_socket(void)
{
    socket(AF_UNIX, SOCK_STREAM, 0);
}

static void call_fork(void)
{
    fork();
}

static void test_the_kernel_enforces_it(void **state)
{
#ifdef UHYVE_SANITIZED
    skip(); /* the sanitizer's own calls are not listed */
#endif
    static void (*const calls[])(void) = {call_socket, call_fork};

    int status = run_filtered(NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 3);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        status = run_filtered(calls[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_listed_calls_are_permitted),
        cmocka_unit_test(test_lists_add_up),
        cmocka_unit_test(test_arguments_are_checked),
        cmocka_unit_test(test_processes_are_told_apart),
        cmocka_unit_test(test_an_entry_without_conditions_wins),
        cmocka_unit_test(test_calls_can_fail_with_an_error),
        cmocka_unit_test(test_other_tables_of_calls_are_refused),
        cmocka_unit_test(test_optional_lists),
        cmocka_unit_test(test_too_much_is_told),
        cmocka_unit_test(test_what_has_no_rules_is_told),
        cmocka_unit_test(test_what_every_program_needs),
        cmocka_unit_test(test_the_kernel_enforces_it),
    };
    return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
