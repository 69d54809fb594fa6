/* What the file calls do with names, and with several CPUs at once (spec/files.md,
 * spec/hypercalls.md section 4): below the hypercalls, which only decode and encode. */
#include "files_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static void opening(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *path;
        int flags, error;
    } cases[] = {
        /* what can never be a name */
        {"/", R | D, ENOENT},
        {"", R, ENOENT},
        {".", R, ENOENT},
        {"..", R | D, ENOENT},
        {"../host/file", R, ENOENT},
        {"/host/\xff", R, EINVAL},
        {"/none", R, ENOENT},
        {"/none", C | D, EINVAL},
        {"/none", 3, EINVAL},
        {"/host/file", 3, EINVAL},
        /* the host's */
        {"/host/file", R, 0},
        {"host/file", RW, 0},
        {"//host/./sub/../file/", R, 0},
        {"/host/file", R | ~HERMIT_O_MASK, 0},
        {"/host/file", R | D, ENOTDIR},
        {"/host/file", W | C | X, EEXIST},
        {"/host/file/x", R, ENOTDIR},
        {"/host/none", R, ENOENT},
        {"/host/none/x", W | C, ENOENT},
        {"/host", R | D, 0},
        {"/host", R, 0},
        {"/host", W, EISDIR},
        {"/host/sub", R | D, 0},
        {"/host/../secret", R, ENOENT},
        {"/host/sub/../../secret", R, ENOENT},
        /* in memory */
        {"/image/bytes", R, 0},
        {"/image/bytes", R | C, 0},
        {"/image/bytes", W, EROFS},
        {"/image/bytes", RW, EROFS},
        {"/image/bytes", R | T, EROFS},
        {"/image/bytes", R | D, ENOTDIR},
        {"/image/bytes", R | C | X, EEXIST},
        {"/image/bytes/x", R, ENOENT},
        {"/image/bytes/x", W | C, ENOTDIR},
        /* directories of the tree */
        {"/image", R | D, 0},
        {"/image", R, EINVAL},
        {"/image", W | C, EINVAL},
        {"/image", W | D, EISDIR},
        /* read-only */
        {"/ro/file", R, 0},
        {"/ro/file", R | C, 0},
        {"/ro/file", W, EROFS},
        {"/ro/file", R | T, EROFS},
        {"/ro/file", W | C | X, EEXIST},
        {"/ro/new", W | C | X, EROFS},
        {"/ro/new", R | C, EROFS},
        {"/ro/new", W, ENOENT},
        {"/ro/sub", W, EISDIR},
        {"/ro/none/x", W | C, EROFS},
        /* created */
        {"/new/file", W | C, 0},
        {"/new/file", W | C | X, EEXIST},
        {"/new/file", R | D, ENOTDIR},
        {"/new/file", R, 0},
        {"/new/file/x", R, ENOENT},
        {"/new/file/x", W | C, ENOTDIR},
        {"/new", R | D, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_open(fixture->files, cases[i].path, cases[i].flags, cases[i].error);
    struct stat status;
    assert_int_equal(stat("host/new", &status), -1);
    char path[HERMIT_PATH_MAX + 10];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    expect_open(fixture->files, path, R, ENAMETOOLONG);
    path[256] = '\0';
    expect_open(fixture->files, path, W | C, ENAMETOOLONG);
    assert_int_equal(files_mkdir(fixture->files, path), -ENAMETOOLONG);
    expect_open(fixture->files, path + 1, W | C, 0);
    path[300] = 'x';
    path[310] = '\0';
    memcpy(path, "/host/", 6);
    path[256] = 'x';
    expect_open(fixture->files, path, W | C, ENAMETOOLONG);
}

static void modes_of_new_files(void **state)
{
    struct fixture *fixture = *state;
    struct stat status;
    mode_t mask = umask(022);
    int32_t fd = files_open(fixture->files, "/host/new", W | C, 07777);
    assert_true(fd >= 3);
    assert_int_equal(stat("host/new", &status), 0);
    assert_int_equal(status.st_mode, S_IFREG | 0755); /* no set-user-ID bits */
    umask(mask);
    /* Temporary files can be opened again whatever their mode. */
    fd = files_open(fixture->files, "/t", W | C, 0);
    struct hermit_attr attr;
    assert_int_equal(files_stat_fd(fixture->files, fd, &attr), 0);
    assert_int_equal(attr.mode, S_IFREG | 0600);
}

static void attributes(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    struct hermit_attr attr, expected = {.mode = 0040755, .nlink = 2, .blksize = 4096};
    struct stat status;

    assert_int_equal(files_stat(files, "/image", true, &attr), 0);
    assert_memory_equal(&attr, &expected, sizeof attr);
    int32_t fd = files_open(files, "/image", R | D, 0);
    assert_int_equal(files_stat_fd(files, fd, &attr), 0);
    assert_memory_equal(&attr, &expected, sizeof attr);

    assert_int_equal(stat("host/file", &status), 0);
    assert_int_equal(files_stat(files, "/host/file", false, &attr), 0);
    assert_int_equal(attr.ino, status.st_ino);
    assert_int_equal(attr.size, 7);
    assert_int_equal(attr.mode, S_IFREG | 0644);
    assert_int_equal(attr.mtime, status.st_mtim.tv_sec);
    assert_int_equal(files_stat(files, "/host", true, &attr), 0);
    assert_true(S_ISDIR(attr.mode));
    assert_int_equal(files_stat(files, "/host/none", true, &attr), -ENOENT);
    assert_int_equal(files_stat(files, "/none", true, &attr), -ENOENT);
    assert_int_equal(files_stat(files, "/", true, &attr), -ENOENT);
    assert_int_equal(files_stat(files, "/host/file/x", true, &attr), -ENOTDIR);

    assert_int_equal(symlink("file", "host/link"), 0);
    assert_int_equal(symlink("../secret", "host/out"), 0);
    assert_int_equal(files_stat(files, "/host/link", true, &attr), 0);
    assert_true(S_ISREG(attr.mode));
    assert_int_equal(files_stat(files, "/host/link", false, &attr), 0);
    assert_true(S_ISLNK(attr.mode));
    assert_int_equal(files_stat(files, "/host/out", true, &attr), -EACCES);
    assert_int_equal(files_stat(files, "/host/out", false, &attr), 0);
    expect_open(files, "/host/out", R, EACCES);
    expect_open(files, "/ro/out", R, EACCES);
}

static void removing(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    struct stat status;

    assert_int_equal(files_unlink(files, "/"), -ENOENT);
    assert_int_equal(files_unlink(files, "/none"), -ENOENT);
    assert_int_equal(files_unlink(files, "/host"), -EISDIR);
    assert_int_equal(files_unlink(files, "/host/sub"), -EISDIR);
    assert_int_equal(files_unlink(files, "/host/none"), -ENOENT);
    assert_int_equal(files_unlink(files, "/image"), -ENOENT); /* not empty */
    assert_int_equal(files_unlink(files, "/ro/file"), -EROFS);
    assert_int_equal(files_unlink(files, "/ro/sub"), -EISDIR);
    assert_int_equal(files_unlink(files, "/ro/none"), -ENOENT);
    assert_int_equal(files_unlink(files, "/\xff"), -EINVAL);
    /* The link, not what it leads to. */
    assert_int_equal(symlink("../secret", "host/out"), 0);
    assert_int_equal(files_unlink(files, "/host/out"), 0);
    assert_int_equal(lstat("host/out", &status), -1);
    assert_int_equal(lstat("secret", &status), 0);
    assert_int_equal(files_unlink(files, "/host/file"), 0);
    assert_int_equal(files_unlink(files, "/host/file"), -ENOENT);
    expect_open(files, "/host/file", W | C, 0); /* there again, in its place */
    assert_int_equal(lstat("host/file", &status), 0);
}

static void making_directories(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    struct hermit_attr attr;
    struct stat status;

    assert_int_equal(files_mkdir(files, "/host/new"), 0);
    assert_int_equal(stat("host/new", &status), 0);
    assert_int_equal(files_mkdir(files, "/host/new/deep"), 0);
    assert_int_equal(files_mkdir(files, "/host/new"), -EEXIST);
    assert_int_equal(files_mkdir(files, "/host"), -EEXIST);
    assert_int_equal(files_mkdir(files, "/host/file"), -EEXIST);
    assert_int_equal(files_mkdir(files, "/host/file/x"), -ENOTDIR);
    assert_int_equal(files_mkdir(files, "/host/none/x"), -ENOENT);
    assert_int_equal(files_mkdir(files, "/ro/new"), -EEXIST);
    assert_int_equal(files_mkdir(files, "/ro/newer"), -EROFS);
    assert_int_equal(files_mkdir(files, "/image"), -EEXIST);
    assert_int_equal(files_mkdir(files, "/"), -ENOENT);
    assert_int_equal(files_mkdir(files, "/a/b/c"), 0);
    assert_int_equal(files_mkdir(files, "/a"), -EEXIST);
    assert_int_equal(files_stat(files, "/a/b/c", true, &attr), 0);
    assert_true(S_ISDIR(attr.mode) && attr.ino && attr.mtime);
    expect_open(files, "/a/b/c/file", W | C, 0);
    assert_int_equal(files_mkdir(files, "/a/b/c/file"), -EEXIST);
    assert_int_equal(files_mkdir(files, "/a/b/c/file/x"), -ENOTDIR);
    assert_int_equal(files_unlink(files, "/a/b/c"), -EISDIR);
    assert_int_equal(files_unlink(files, "/a/b/c/file"), 0);
}

/* A single mapped file whose name is given to a link. */
static void replaced_by_a_link(void **state)
{
    struct fixture *fixture = *state;
    static const struct uhyve_file_mapping single[] = {{"host/file", "/f", false},
                                                       {"host/missing", "/m", false}};
    struct hermit_attr attr;
    fixture->params.file_mappings = single;
    again(fixture);
    expect_open(fixture->files, "/f", R, 0);
    assert_int_equal(unlink("host/file"), 0);
    assert_int_equal(symlink("../secret", "host/file"), 0);
    expect_open(fixture->files, "/f", R, ELOOP);
    expect_open(fixture->files, "/f", W | C, ELOOP);
    assert_int_equal(files_stat(fixture->files, "/f", true, &attr), -ELOOP);
    assert_int_equal(files_stat(fixture->files, "/f", false, &attr), 0);
    assert_int_equal(symlink("..", "host/missing"), 0);
    expect_open(fixture->files, "/m/secret", R, ENOTDIR);
    assert_int_equal(unlink("host/missing"), 0);
    assert_int_equal(files_mkdir(fixture->files, "/m"), 0);
    expect_open(fixture->files, "/m/new", W | C, 0);
    assert_int_equal(files_unlink(fixture->files, "/m/new"), 0);
    assert_int_equal(files_unlink(fixture->files, "/m"), -EISDIR);
}

/* Blocking. */

struct reader {
    struct files *files;
    int32_t fd;
    atomic_int started;
    int64_t result;
    char text[16];
};

static void *read_in_thread(void *context)
{
    struct reader *reader = context;
    atomic_store(&reader->started, 1);
    reader->result = get(reader->files, reader->fd, reader->text, 15);
    return NULL;
}

static pthread_t start_reader(struct reader *reader)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_in_thread, reader), 0);
    while (!atomic_load(&reader->started))
        sched_yield();
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    return thread;
}

static void waiting_holds_up_nobody(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;

    assert_int_equal(mkfifo("host/fifo", 0600), 0);
    expect_open(files, "/host/fifo", W, ENXIO);
    struct reader reader = {.files = files, .fd = files_open(files, "/host/fifo", R, 0)};
    assert_int_equal(reader.fd, 3);
    pthread_t thread = start_reader(&reader);
    opening(state);
    /* Even closed, the descriptor's read gets what comes. */
    assert_int_equal(files_close(files, 3), 0);
    assert_int_equal(files_seek(files, 3, 0, 0), -EBADF);
    int fd = open("host/fifo", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "late", 4), 4);
    pthread_join(thread, NULL);
    assert_int_equal(reader.result, 4);
    assert_string_equal(reader.text, "late");
    close(fd);
}

static void the_stop_ends_waits(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    static char much[1 << 20];

    assert_int_equal(mkfifo("host/fifo", 0600), 0);
    struct reader reader = {.files = files, .fd = files_open(files, "/host/fifo", R, 0)};
    pthread_t thread = start_reader(&reader);
    /* A pipe that is full. */
    assert_int_equal(mkfifo("host/full", 0600), 0);
    int32_t in = files_open(files, "/host/full", R, 0);
    int32_t out = files_open(files, "/host/full", W, 0);
    assert_true(in >= 3 && out >= 3);
    eventfd_write(fixture->stop_fd, 1);
    pthread_join(thread, NULL);
    assert_int_equal(reader.result, -EINTR);
    assert_int_equal(files_write(files, out, &(struct iovec){much, sizeof much}, 1), -EINTR);
}

static void writers_to_a_pipe_without_reader(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(mkfifo("host/fifo", 0600), 0);
    int32_t in = files_open(files, "/host/fifo", R, 0), out = files_open(files, "/host/fifo", W, 0);
    char text[8];
    assert_int_equal(put_fd(files, out, "abc"), 3);
    assert_int_equal(get(files, in, text, 7), 3);
    assert_int_equal(files_seek(files, in, 0, 0), -ESPIPE);
    assert_int_equal(files_close(files, in), 0);
    assert_int_equal(put_fd(files, out, "abc"), -EPIPE);
}

/* Several CPUs at once on the same few names. */

static atomic_uint completed;

static void *disturb(void *context)
{
    struct files *files = context;
    static const char *const names[] = {"/t/a",        "/t/b",         "/host/a",
                                        "/host/sub/b", "/image/bytes", "/t"};
    static const int flags[] = {R, W | C, RW | C | T, R | D, W | C | X, W | A | C};
    unsigned seed = 1 + atomic_fetch_add(&completed, 1);
    struct hermit_attr attr;
    char text[256];

    for (unsigned i = 0; i < 4000; i++) {
        seed = seed * 1103515245 + 12345;
        const char *name = names[seed / 65536 % 6];
        int32_t fd = 3 + (int32_t)(seed / 4096 % 64) + (int32_t)i;
        switch (seed / 1024 % 8) {
        case 0:
        case 1:
            files_open(files, name, flags[seed / 7 % 6], 0600);
            break;
        case 2:
            files_unlink(files, name);
            break;
        case 3:
            put_fd(files, fd, "some text to write");
            break;
        case 4:
            get(files, fd, text, 200);
            break;
        case 5:
            files_list(files, fd, text, sizeof text);
            files_seek(files, fd, 0, 0);
            break;
        case 6:
            files_stat(files, name, true, &attr);
            files_mkdir(files, name);
            break;
        case 7:
            files_close(files, fd);
            break;
        }
    }
    return NULL;
}

static void many_threads(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[4];
    fixture->params.limit_files = 200;
    fixture->params.limit_temp = 1 << 20;
    again(fixture);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, disturb, fixture->files), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(count_entries("host") < 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opening),
        TEST(modes_of_new_files),
        TEST(attributes),
        TEST(removing),
        TEST(making_directories),
        TEST(waiting_holds_up_nobody),
        TEST(the_stop_ends_waits),
        TEST(writers_to_a_pipe_without_reader),
        TEST(many_threads),
        TEST(replaced_by_a_link),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
