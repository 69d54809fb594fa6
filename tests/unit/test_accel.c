/* Choosing an accelerator, and what is said when there is none. What this machine has decides which
 * of the outcomes is seen; each must be complete. */
#include "unit.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accel/accel.h"

static unsigned infos;
static char all_infos[4096];

static void take_info(void *context, enum uhyve_level level, const char *text)
{
    infos++;
    strncat(all_infos, text, sizeof all_infos - strlen(all_infos) - 1);
}

static const struct log collector = {take_info, NULL, UHYVE_LEVEL_INFO};

/* A whole sentence that names the device and, in parentheses, what to do. */
static void assert_reason(const struct uhyve_error *error)
{
    assert_int_equal(error->status, UHYVE_STATUS_FAILED);
    assert_non_null(strstr(error->message, "/dev/kvm"));
    assert_non_null(strchr(error->message, '('));
    assert_int_equal(error->message[strlen(error->message) - 1], ')');
    assert_null(strchr(error->message, '\n'));
}

static void choice_and_probe_agree(void **state)
{
    static const enum uhyve_accel wanted[] = {UHYVE_ACCEL_AUTO, UHYVE_ACCEL_KVM,
                                              UHYVE_ACCEL_DIRECT};
    for (size_t i = 0; i < 3; i++) {
        struct uhyve_error probe_error = {0}, error = {0};
        struct accel_choice choice;
        int probed = uhyve_probe(wanted[i], &probe_error);
        all_infos[0] = '\0';
        int selected = accel_select(wanted[i], &collector, &choice, &error);
        assert_int_equal(selected == 0, choice.accel != NULL);
        if (probed)
            assert_reason(&probe_error);
        if (selected) {
            /* Nothing at all: the same reason as the probe's. */
            assert_int_equal(probed, selected);
            assert_string_equal(error.message, probe_error.message);
        } else {
            char using[64];
            snprintf(using, sizeof using, "using the accelerator '%s'", choice.accel->name);
            assert_non_null(strstr(all_infos, using));
            if (wanted[i] == UHYVE_ACCEL_KVM)
                assert_string_equal(choice.accel->name, "kvm");
            if (wanted[i] == UHYVE_ACCEL_DIRECT)
                assert_string_equal(choice.accel->name, "direct");
            if (probed) {
                assert_int_equal(probed, -EOPNOTSUPP); /* second best, and the log says why */
                assert_non_null(strstr(all_infos, probe_error.message));
            }
        }
        accel_release(&choice);
        assert_null(choice.accel);
        accel_release(&choice);
    }
}

static void unknown_accelerators_are_a_usage_error(void **state)
{
    struct uhyve_error error = {0};
    struct accel_choice choice;
    assert_int_equal(uhyve_probe((enum uhyve_accel)77, &error), -EINVAL);
    assert_int_equal(error.status, UHYVE_STATUS_USAGE);
    assert_non_null(strstr(error.message, "accelerator"));
    memset(&error, 0, sizeof error);
    assert_int_equal(accel_select((enum uhyve_accel)77, &collector, &choice, &error), -EINVAL);
    assert_int_equal(error.status, UHYVE_STATUS_USAGE);
    assert_null(choice.accel);
}

static void reasons_are_optional(void **state)
{
    uhyve_probe(UHYVE_ACCEL_AUTO, NULL);
    uhyve_probe((enum uhyve_accel)77, NULL);
}

/* Make a system call fail as a container's profile does. */
static void deny(uint32_t number)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {sizeof program / sizeof *program, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        _exit(77);
}

/* What 'direct' says when the system call is denied; in a process of its own. */
static void expect_reason(uint32_t number, const char *what)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct uhyve_error error = {0};
        deny(number);
        int err = uhyve_probe(UHYVE_ACCEL_DIRECT, &error);
        _exit(err == -EPERM && strstr(error.message, what) && strstr(error.message, "profile") ? 0
                                                                                               : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 77) /* no filters here at all */
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void what_a_container_denies_is_named(void **state)
{
    expect_reason(SYS_memfd_create, "memfd_create");
    expect_reason(SYS_seccomp, "seccomp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choice_and_probe_agree),
        cmocka_unit_test(unknown_accelerators_are_a_usage_error),
        cmocka_unit_test(reasons_are_optional),
        cmocka_unit_test(what_a_container_denies_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
