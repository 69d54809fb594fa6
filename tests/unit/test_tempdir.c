/* The directory for what guests create without a mapping (spec/files.md section 3.4). */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/temp_file.h"

struct fixture {
    char base[64]; /* also $TMPDIR and the current directory */
    struct quota quota;
    struct log log;
    struct tempdir_options options;
    struct uhyve_error error;
    char shared[100]; /* where the directories of all VMs are by default */
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    strcpy(fixture->base, "/tmp/test_tempdir.XXXXXX");
    if (!mkdtemp(fixture->base) || chdir(fixture->base) != 0)
        return -1;
    setenv("TMPDIR", fixture->base, 1);
    fixture->quota.limit = 1 << 20;
    fixture->options = (struct tempdir_options){
        .uid = geteuid(), .gid = getegid(), .quota = &fixture->quota, .log = &fixture->log};
    snprintf(fixture->shared, sizeof fixture->shared, "%s/uhyve-%u", fixture->base,
             (unsigned)geteuid());
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", fixture->base);
    int err = chdir("/") != 0 || system(command) != 0;
    free(fixture);
    return err ? -1 : 0;
}

static int create(struct fixture *fixture, struct tempdir *dir)
{
    int err = tempdir_create(dir, &fixture->options, &fixture->error);
    if (err)
        tempdir_remove(dir);
    return err;
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_mode : 0;
}

static int count(const char *path)
{
    DIR *stream = opendir(path);
    int entries = 0;
    while (stream && readdir(stream))
        entries++;
    if (stream)
        closedir(stream);
    return entries - 2;
}

static void directories_are_private(void **state)
{
    struct fixture *fixture = *state;
    struct tempdir one, two;
    mode_t mask = umask(0);

    assert_int_equal(create(fixture, &one), 0);
    assert_int_equal(create(fixture, &two), 0);
    umask(mask);
    assert_int_equal(mode_of(fixture->shared), S_IFDIR | 0700);
    assert_int_equal(mode_of(one.path), S_IFDIR | 0700);
    assert_int_equal(strncmp(one.path, fixture->shared, strlen(fixture->shared)), 0);
    assert_string_not_equal(one.path, two.path);
    assert_int_equal(count(fixture->shared), 2);
    tempdir_remove(&one);
    assert_int_equal(count(fixture->shared), 1);
    tempdir_remove(&two);
    assert_int_equal(count(fixture->shared), 0);
}

static void a_place_can_be_given(void **state)
{
    struct fixture *fixture = *state;
    struct tempdir dir;

    mkdir("place", 0755);
    fixture->options.where = "place";
    assert_int_equal(create(fixture, &dir), 0);
    assert_int_equal(count("place"), 1);
    assert_int_equal(mode_of(dir.path), S_IFDIR | 0700);
    assert_int_equal(mode_of(fixture->shared), 0);
    tempdir_remove(&dir);
    assert_int_equal(count("place"), 0);
    fixture->options.where = "none";
    assert_int_equal(create(fixture, &dir), -ENOENT);
    assert_non_null(strstr(fixture->error.message, "'none'"));
    assert_non_null(strstr(fixture->error.message, "--tempdir"));
    assert_int_equal(fixture->error.status, UHYVE_STATUS_FAILED);
}

static void a_place_can_be_too_long(void **state)
{
    struct fixture *fixture = *state;
    struct tempdir dir;
    char longer[5000] = "/tmp/";

    memset(longer + 5, 'x', sizeof longer - 6);
    setenv("TMPDIR", longer, 1);
    assert_int_equal(create(fixture, &dir), -ENAMETOOLONG);
    assert_non_null(strstr(fixture->error.message, strerror(ENAMETOOLONG)));
    assert_int_equal(fixture->error.status, UHYVE_STATUS_FAILED);
}

/* In /tmp anybody can have made it. */
static void a_shared_directory_must_be_ours(void **state)
{
    struct fixture *fixture = *state;
    struct tempdir dir;
    static const mode_t modes[] = {0755, 0770, 0777, 0500, 01700, 02700};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        mkdir(fixture->shared, 0700);
        chmod(fixture->shared, modes[i]);
        assert_int_equal(create(fixture, &dir), -EPERM);
        assert_non_null(strstr(fixture->error.message, "0700"));
        assert_int_equal(rmdir(fixture->shared), 0);
    }
    mkdir("elsewhere", 0700);
    assert_int_equal(symlink("elsewhere", fixture->shared), 0);
    assert_true(create(fixture, &dir) < 0);
    assert_int_equal(count("elsewhere"), 0);
    assert_int_equal(unlink(fixture->shared), 0);
    int fd = open(fixture->shared, O_CREAT | O_WRONLY, 0700);
    close(fd);
    assert_true(create(fixture, &dir) < 0);
    assert_int_equal(unlink(fixture->shared), 0);
    if (geteuid() == 0) {
        mkdir(fixture->shared, 0700);
        assert_int_equal(chown(fixture->shared, 1234, 0), 0);
        assert_int_equal(create(fixture, &dir), -EPERM);
    }
}

/* Root makes directories for somebody else, and can die before it has given them away. */
static void unfinished_directories_are_removed(void **state)
{
    struct fixture *fixture = *state;
    struct tempdir dir;
    struct stat status;
    char shared[120], path[200];

    if (geteuid() != 0)
        return;
    fixture->options.uid = 1234;
    snprintf(shared, sizeof shared, "%s/uhyve-1234", fixture->base);
    mkdir(shared, 0700);
    assert_int_equal(create(fixture, &dir), 0);
    assert_int_equal(stat(shared, &status), 0);
    assert_int_equal(status.st_uid, 1234);
    snprintf(path, sizeof path, "%s/uhyve-0123456789abcdef0123456789abcdef", shared);
    mkdir(path, 0700);
    tempdir_remove(&dir);
    assert_int_equal(create(fixture, &dir), 0);
    assert_int_equal(count(shared), 1);
    tempdir_remove(&dir);

    /* What is not empty is something else. */
    assert_int_equal(chown(shared, 0, 0), 0);
    mkdir(path, 0700);
    assert_int_equal(create(fixture, &dir), -EPERM);
    assert_int_equal(count(shared), 1);
}

/* A process that dies leaves a directory, which the next one removes; not one that is in use, nor
 * anything with another name. */
static void stale_directories_are_removed(void **state)
{
    struct fixture *fixture = *state;
    struct tempdir used, next;
    char path[200];

    assert_int_equal(create(fixture, &used), 0);
    pid_t child = fork();
    if (child == 0) {
        struct tempdir dir;
        struct temp_file *file;
        close(used.fd); /* so that only the parent holds the lock */
        if (create(fixture, &dir) != 0)
            _exit(1);
        for (unsigned i = 0; i < 100; i++)
            if (temp_file_create(&dir, O_WRONLY, 0600, &file) < 0)
                _exit(1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count(fixture->shared), 2);
    snprintf(path, sizeof path, "%s/uhyve-keep", fixture->shared);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/uhyve-0123456789abcdef0123456789abcdeg", fixture->shared);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/uhyve-0123456789abcdef0123456789abcdef", fixture->shared);
    assert_int_equal(symlink("/", path), 0);

    assert_int_equal(create(fixture, &next), 0);
    assert_int_equal(count(fixture->shared), 5);
    assert_int_equal(mode_of(used.path), S_IFDIR | 0700);
    tempdir_remove(&next);
    tempdir_remove(&used);
    assert_int_equal(count(fixture->shared), 3);
}

static void files_go_with_their_last_reference(void **state)
{
    struct fixture *fixture = *state;
    struct tempdir dir;
    struct temp_file *file;
    int64_t position = 0;

    assert_int_equal(create(fixture, &dir), 0);
    int fd = temp_file_create(&dir, O_RDWR, 0600, &file);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    char text[] = "text";
    struct iovec iov = {text, 4};
    assert_int_equal(temp_file_write(file, fd, &iov, 1, false, &position), 4);
    assert_int_equal(position, 4);
    assert_int_equal(atomic_load(&fixture->quota.used), 4);
    temp_file_hold(file);
    temp_file_release(file);
    assert_int_equal(count(dir.path), 1);
    temp_file_release(file);
    assert_int_equal(count(dir.path), 0);
    assert_int_equal(atomic_load(&fixture->quota.used), 0);
    close(fd);
    tempdir_remove(&dir);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(directories_are_private),
        TEST(a_place_can_be_given),
        TEST(a_place_can_be_too_long),
        TEST(a_shared_directory_must_be_ours),
        TEST(unfinished_directories_are_removed),
        TEST(stale_directories_are_removed),
        TEST(files_go_with_their_last_reference),
    };
    return cmocka_run_group_tests_name("tempdir", tests, NULL, NULL);
}
