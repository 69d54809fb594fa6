/* Opening names that must not lead out of a directory (spec/files.md section 1.2): the kernel's way
 * and the walk that stands in for it must agree, also while somebody else rearranges everything. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fs/beneath.h"

static char top[64]; /* has root/, which everything starts from, and secret */
static int base;

static void put(const char *path, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static int setup(void **state)
{
    strcpy(top, "/tmp/test_beneath.XXXXXX");
    if (!mkdtemp(top) || chdir(top) != 0)
        return -1;
    put("secret", "secret");
    mkdir("root", 0700);
    mkdir("root/a", 0700);
    mkdir("root/a/b", 0700);
    put("root/file", "inside");
    put("root/a/file", "inside");
    put("root/a/b/file", "inside");
    static const char *const links[][2] = {
        {"file", "root/link"},
        {"a/b", "root/way"},
        {"../file", "root/a/up"},
        {"../../a/./b//file", "root/a/b/around"},
        {"way/../file", "root/physical"}, /* a/file: .. counts from where the link leads */
        {"../secret", "root/out"},
        {"a/../../secret", "root/out2"},
        {"a/../../root/file", "root/out-and-in"},
        {"..", "root/parent"},
        {".", "root/self"},
        {"/", "root/slash"},
        {"loop2", "root/loop"},
        {"loop", "root/loop2"},
        {"nothing", "root/dangling"},
        {"a/b/", "root/trailing"},
    };
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (symlink(links[i][0], links[i][1]) != 0)
            return -1;
    char absolute[100];
    snprintf(absolute, sizeof absolute, "%s/root/file", top);
    if (symlink(absolute, "root/absolute") != 0)
        return -1;
    base = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return base >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", top);
    close(base);
    return chdir("/") != 0 || system(command) != 0 ? -1 : 0;
}

/* What a path leads to: the inode, or -errno. */
static long identify(int fd)
{
    struct stat status;
    if (fd < 0)
        return fd;
    assert_int_equal(fstat(fd, &status), 0);
    close(fd);
    return (long)status.st_ino;
}

static long inode(const char *path)
{
    struct stat status;
    assert_int_equal(lstat(path, &status), 0);
    return (long)status.st_ino;
}

static void both_ways_lead_to_the_same(void **state)
{
    static const struct {
        const char *path;
        int flags;
        const char *leads_to;
        int error;
    } cases[] = {
        {"file", O_RDONLY, "root/file", 0},
        {".", O_RDONLY, "root", 0},
        {"a/b/file", O_RDONLY, "root/a/b/file", 0},
        {"a/b", O_PATH | O_DIRECTORY, "root/a/b", 0},
        {"link", O_RDONLY, "root/file", 0},
        {"link", O_RDONLY | O_NOFOLLOW, NULL, ELOOP},
        {"link", O_PATH | O_NOFOLLOW, "root/link", 0},
        {"link", O_PATH, "root/file", 0},
        {"way/file", O_RDONLY, "root/a/b/file", 0},
        {"way/file", O_RDONLY | O_NOFOLLOW, "root/a/b/file", 0},
        {"way", O_PATH | O_DIRECTORY, "root/a/b", 0},
        {"trailing/file", O_RDONLY, "root/a/b/file", 0},
        {"a/up", O_RDONLY, "root/file", 0},
        {"a/b/around", O_RDONLY, "root/a/b/file", 0},
        {"way/around", O_RDONLY, "root/a/b/file", 0},
        {"physical", O_RDONLY, "root/a/file", 0},
        {"self/self/file", O_RDONLY, "root/file", 0},
        {"out", O_RDONLY, NULL, EXDEV},
        {"out", O_PATH | O_NOFOLLOW, "root/out", 0},
        {"out2", O_RDONLY, NULL, EXDEV},
        {"out-and-in", O_RDONLY, NULL, EXDEV},
        {"parent", O_PATH, NULL, EXDEV},
        {"parent/root/file", O_RDONLY, NULL, EXDEV},
        {"slash/etc/passwd", O_RDONLY, NULL, EXDEV},
        {"absolute", O_RDONLY, NULL, EXDEV},
        {"..", O_PATH, NULL, EXDEV},
        {"a/../..", O_PATH, NULL, EXDEV},
        {"/etc/passwd", O_RDONLY, NULL, EXDEV},
        {"loop", O_RDONLY, NULL, ELOOP},
        {"loop/x", O_RDONLY, NULL, ELOOP},
        {"dangling", O_RDONLY, NULL, ENOENT},
        {"none", O_RDONLY, NULL, ENOENT},
        {"none/x", O_RDONLY, NULL, ENOENT},
        {"file/x", O_RDONLY, NULL, ENOTDIR},
        {"link/x", O_RDONLY, NULL, ENOTDIR},
        {"file", O_RDONLY | O_DIRECTORY, NULL, ENOTDIR},
        {"a", O_WRONLY, NULL, EISDIR},
        {"a/.", O_WRONLY, NULL, EISDIR},
        {"a/b/..", O_WRONLY, NULL, EISDIR},
        {"file", O_WRONLY | O_CREAT | O_EXCL, NULL, EEXIST},
        {"dangling", O_WRONLY | O_CREAT | O_EXCL, NULL, EEXIST},
        {"out", O_WRONLY | O_CREAT | O_EXCL, NULL, EEXIST},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        long expected = cases[i].leads_to ? inode(cases[i].leads_to) : -cases[i].error;
        long kernel = identify(beneath_open(base, cases[i].path, cases[i].flags, 0600));
        long walk = identify(beneath_walk(base, cases[i].path, cases[i].flags, 0600));
        if (kernel != expected || walk != expected)
            fail_msg("'%s' with flags 0%o: expected %ld, openat2 %ld, walk %ld", cases[i].path,
                     (unsigned)cases[i].flags, expected, kernel, walk);
    }
}

static void creation_stays_inside(void **state)
{
    int (*const ways[])(int, const char *, int, mode_t) = {beneath_open, beneath_walk};
    for (size_t i = 0; i < 2; i++) {
        int fd = ways[i](base, "dangling", O_WRONLY | O_CREAT, 0640);
        assert_true(fd >= 0);
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
        close(fd);
        assert_int_equal(unlink("root/nothing"), 0);
        fd = ways[i](base, "a/b/new", O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(unlink("root/a/b/new"), 0);
    }
    struct stat status;
    assert_int_equal(stat("nothing", &status), -1);
}

static void long_names(void **state)
{
    char path[5000];
    memset(path, 'x', sizeof path);
    path[300] = '\0';
    assert_int_equal(beneath_walk(base, path, O_RDONLY, 0), -ENAMETOOLONG);
    assert_int_equal(beneath_open(base, path, O_RDONLY, 0), -ENAMETOOLONG);
    for (size_t i = 0; i < sizeof path; i += 2)
        memcpy(path + i, "./", 2);
    path[sizeof path - 1] = '\0';
    assert_int_equal(beneath_walk(base, path, O_RDONLY, 0), -ENAMETOOLONG);
    assert_int_equal(beneath_open(base, path, O_RDONLY, 0), -ENAMETOOLONG);
    path[3000] = '\0';
    assert_int_equal(identify(beneath_walk(base, path, O_RDONLY, 0)), inode("root"));
}

/* Links can make a path longer than paths may be. The kernel does not mind, the walk says so. */
static void links_to_long_paths(void **state)
{
    char path[4096], name[251];
    int deep = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (size_t i = 0; i < 4000; i += 2)
        memcpy(path + i, "./", 2);
    path[4000] = '\0';
    assert_int_equal(symlinkat(path, base, "far"), 0);
    assert_int_equal(identify(beneath_walk(base, "far/file", O_RDONLY, 0)), inode("root/file"));
    memcpy(path, "far/", 4);
    path[200] = '\0';
    assert_int_equal(beneath_walk(base, path, O_RDONLY, 0), -ENAMETOOLONG);

    /* 18 directories, with a link at every sixth that leads six further. */
    memset(name, 'd', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    path[0] = '\0';
    for (unsigned i = 0; i < 6; i++)
        strcat(strcat(path, name), "/");
    for (unsigned i = 0; i <= 18; i++) {
        if (i % 6 == 0 && i < 18)
            assert_int_equal(symlinkat(path, deep, "down"), 0);
        assert_int_equal(mkdirat(deep, name, 0700), 0);
        int next = openat(deep, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        close(deep);
        deep = next;
    }
    close(deep);
    int fd = beneath_walk(base, "down/down/.", O_PATH, 0);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(beneath_walk(base, "down/down/down/.", O_PATH, 0), -ENAMETOOLONG);
}

/* The adversary: exchanges directories with links that lead out, and moves them out and back. */
static atomic_bool over;
static int play; /* root/play, wherever it is */

static void *rearrange(void *unused)
{
    while (!atomic_load(&over)) {
        /* Out: a directory with the same names but other content, and links to it. */
        syscall(SYS_renameat2, AT_FDCWD, "root/play", AT_FDCWD, "link-out", 2 /* EXCHANGE */);
        syscall(SYS_renameat2, AT_FDCWD, "root/play", AT_FDCWD, "moved", 2);
        syscall(SYS_renameat2, play, "target", AT_FDCWD, "secret-link", 2);
    }
    return NULL;
}

static void races(void **state)
{
    static const char *const paths[] = {"play/target", "play/deep/up", "play/deep/target"};
    int (*const ways[])(int, const char *, int, mode_t) = {beneath_open, beneath_walk};
    pthread_t thread;
    unsigned found = 0;

    mkdir("root/play", 0700);
    mkdir("root/play/deep", 0700);
    put("root/play/target", "inside");
    put("root/play/deep/target", "inside");
    assert_int_equal(symlink("../target", "root/play/deep/up"), 0);
    mkdir("outside", 0700);
    mkdir("outside/deep", 0700);
    put("outside/target", "secret");
    put("outside/deep/target", "secret");
    assert_int_equal(symlink("../target", "outside/deep/up"), 0);
    assert_int_equal(symlink("../outside", "link-out"), 0);
    assert_int_equal(symlink("../../secret", "secret-link"), 0);
    mkdir("moved", 0700);
    put("target", "secret");

    play = open("root/play", O_PATH | O_CLOEXEC);
    assert_true(play >= 0);
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&thread, NULL, rearrange, NULL), 0);
    for (unsigned i = 0; i < 100000; i++) {
        int fd = ways[i % 4 != 0](base, paths[i / 4 % 3], O_RDONLY, 0);
        char content[8] = "";
        if (fd < 0)
            continue;
        ssize_t size = read(fd, content, sizeof content - 1);
        close(fd);
        if (size > 0 && strcmp(content, "inside") != 0)
            fail_msg("%s led to a file with '%s' in it", paths[i / 4 % 3], content);
        found++;
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    close(play);
    assert_true(found > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_lead_to_the_same),
        cmocka_unit_test(creation_stays_inside),
        cmocka_unit_test(long_names),
        cmocka_unit_test(links_to_long_paths),
        cmocka_unit_test(races),
    };
    return cmocka_run_group_tests_name("beneath", tests, setup, teardown);
}
