/* The process that keeps the rights to single mapped files, and what it can be talked into. */
#include "fs/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/host_root.h"
#include "unit.h"

enum { SINGLE, MISSING, ROOTS };

static char directory[] = "/tmp/uhyve-keeper-XXXXXX";
static struct host_root *roots[ROOTS];
static struct keeper *keeper;

static void write_file(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, name, strlen(name)), strlen(name));
    close(fd);
}

static int start(void **state)
{
    static const struct uhyve_file_mapping mappings[ROOTS] = {
        [SINGLE] = {"single", "/single", false},
        [MISSING] = {"missing", "/missing", false},
    };
    struct uhyve_error error;

    assert_non_null(mkdtemp(directory));
    assert_int_equal(chdir(directory), 0);
    write_file("single");
    write_file("neighbour");
    for (size_t i = 0; i < ROOTS; i++)
        assert_int_equal(host_root_open(&mappings[i], true, &roots[i], &error), 0);
    assert_int_equal(keeper_start(&keeper, roots, ROOTS, &error), 0);
    return 0;
}

static int stop(void **state)
{
    keeper_stop(keeper);
    for (size_t i = 0; i < ROOTS; i++)
        host_root_release(roots[i]);
    assert_int_equal(waitpid(-1, NULL, __WALL), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(system("rm -rf single neighbour missing elsewhere"), 0);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(directory), 0);
    strcpy(strrchr(directory, '-'), "-XXXXXX");
    return 0;
}

static int open_root(uint32_t root, const char *rest, int flags)
{
    return keeper_open_file(keeper, root, rest, flags, 0640);
}

static void files_are_opened_created_and_removed(void **state)
{
    char text[20] = "";
    struct stat status;
    mode_t mask = umask(0);

    umask(mask);
    int fd = open_root(SINGLE, "", O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(read(fd, text, sizeof text), 6);
    assert_string_equal(text, "single");
    close(fd);
    assert_int_equal(open_root(MISSING, "", O_RDONLY), -ENOENT);
    fd = open_root(MISSING, "", O_WRONLY | O_CREAT | O_EXCL);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | (0640 & ~mask));
    assert_int_equal(write(fd, "x", 1), 1);
    close(fd);
    assert_int_equal(open_root(MISSING, "", O_WRONLY | O_CREAT | O_EXCL), -EEXIST);
    assert_int_equal(keeper_unlink(keeper, MISSING, ""), 0);
    assert_int_equal(keeper_unlink(keeper, MISSING, ""), -ENOENT);
    assert_int_equal(keeper_unlink(keeper, SINGLE, ""), 0);
    assert_int_equal(access("single", F_OK), -1);
    assert_int_equal(access("neighbour", F_OK), 0);
}

static void a_directory_can_come_into_being(void **state)
{
    assert_int_equal(keeper_mkdir(keeper, MISSING, "", 0700), 0);
    assert_int_equal(keeper_mkdir(keeper, MISSING, "", 0700), -EEXIST);
    int fd = open_root(MISSING, "file", O_WRONLY | O_CREAT);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(access("missing/file", F_OK), 0);
    assert_int_equal(keeper_unlink(keeper, MISSING, ""), -EISDIR);
    assert_int_equal(keeper_unlink(keeper, MISSING, "file"), 0);
}

/* Whoever has taken the VMM over can ask for anything. */
static void nothing_else_can_be_asked_for(void **state)
{
    char longest[4096];

    assert_int_equal(keeper_mkdir(keeper, MISSING, "", 0700), 0);
    assert_int_equal(symlink("../neighbour", "missing/link"), 0);
    static const char *const ways[] = {"..", "../neighbour", "/tmp", "link",
                                       "../missing/../neighbour"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        for (uint32_t root = 0; root < ROOTS; root++) {
            assert_true(open_root(root, ways[i], O_RDONLY) < 0);
            assert_true(open_root(root, ways[i], O_RDWR | O_CREAT) < 0);
        }
    assert_true(keeper_unlink(keeper, MISSING, "../neighbour") < 0);
    assert_true(keeper_unlink(keeper, SINGLE, "../neighbour") < 0);
    assert_true(keeper_mkdir(keeper, MISSING, "../elsewhere", 0700) < 0);
    assert_true(keeper_mkdir(keeper, SINGLE, "../elsewhere", 0700) < 0);
    assert_int_equal(open_root(ROOTS, "", O_RDONLY), -EINVAL);
    assert_int_equal(open_root(UINT32_MAX, "", O_RDONLY), -EINVAL);
    assert_true(open_root(SINGLE, "", O_PATH) >= 0); /* taken for O_RDONLY */
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_true(open_root(MISSING, longest, O_RDONLY) < 0);
    assert_int_equal(access("neighbour", F_OK), 0);
    assert_int_equal(access("elsewhere", F_OK), -1);
    /* It is still there. */
    assert_true(open_root(SINGLE, "", O_RDONLY) >= 0);
}

static void a_link_in_its_place_is_not_followed(void **state)
{
    assert_int_equal(symlink("neighbour", "missing"), 0);
    assert_int_equal(open_root(MISSING, "", O_RDONLY), -ELOOP);
    assert_int_equal(unlink("single"), 0);
    assert_int_equal(symlink("neighbour", "single"), 0);
    assert_int_equal(open_root(SINGLE, "", O_RDWR), -ELOOP);
}

/* The descriptor of a file cannot be passed: that must not look like descriptor 0. */
static void a_file_without_a_descriptor_is_an_error(void **state)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {0, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int result = open_root(SINGLE, "", O_RDONLY);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(result, -EMFILE);
}

static void its_death_is_an_error(void **state)
{
    char path[64];
    int pid = 0;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
    FILE *children = fopen(path, "r");
    if (!children)
        skip();
    assert_int_equal(fscanf(children, "%d", &pid), 1);
    fclose(children);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(open_root(SINGLE, "", O_RDONLY), -EIO);
    assert_int_equal(keeper_unlink(keeper, SINGLE, ""), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
        TEST(files_are_opened_created_and_removed),    TEST(a_directory_can_come_into_being),
        TEST(nothing_else_can_be_asked_for),           TEST(a_link_in_its_place_is_not_followed),
        TEST(a_file_without_a_descriptor_is_an_error), TEST(its_death_is_an_error),
    };
    return cmocka_run_group_tests_name("keeper", tests, NULL, NULL);
}
