/* What the file calls do with descriptors: reading, writing, positions, listings, and the space
 * that a guest may use (spec/files.md). */
#include "files_fixture.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

static void files_in_memory(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    struct hermit_attr attr,
        expected = {.mode = 0100444, .nlink = 1, .size = 10, .blksize = 4096, .blocks = 1};
    char text[16];
    int32_t fd = files_open(files, "/image/bytes", R, 0),
            other = files_open(files, "/image/bytes", R, 0);

    assert_int_equal(get(files, fd, text, 4), 4);
    assert_string_equal(text, "0123");
    assert_int_equal(get(files, fd, text, 0), 0);
    assert_int_equal(get(files, fd, text, 15), 6);
    assert_string_equal(text, "456789");
    assert_int_equal(get(files, fd, text, 15), 0);
    assert_int_equal(get(files, other, text, 1), 1); /* a position of its own */
    assert_string_equal(text, "0");
    static const struct {
        int64_t offset;
        uint32_t whence;
        int64_t result;
    } seeks[] = {
        {3, 0, 3},
        {2, 1, 5},
        {-5, 1, 0},
        {-1, 1, -EINVAL},
        {-1, 0, -EINVAL},
        {-1, 2, 9},
        {5, 2, 15},
        {0, 3, -EINVAL},
        {0, 4, -EINVAL},
        {0, 5, -EINVAL},
        {0, UINT32_MAX, -EINVAL},
        {INT64_MAX, 0, INT64_MAX},
        {1, 1, -EOVERFLOW},
        {INT64_MIN, 2, -EINVAL},
        {0, 1, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof seeks / sizeof *seeks; i++)
        assert_int_equal(files_seek(files, fd, seeks[i].offset, seeks[i].whence), seeks[i].result);
    assert_int_equal(get(files, fd, text, 15), 0); /* far behind the end */
    assert_int_equal(put_fd(files, fd, "x"), -EROFS);
    assert_int_equal(files_list(files, fd, text, 15), -EBADF);
    assert_int_equal(files_stat_fd(files, fd, &attr), 0);
    assert_memory_equal(&attr, &expected, sizeof attr);
    memset(&attr, 0xee, sizeof attr);
    assert_int_equal(files_stat(files, "image/bytes", true, &attr), 0);
    assert_memory_equal(&attr, &expected, sizeof attr);
    assert_int_equal(files_mkdir(files, "/image/bytes"), -EROFS);
    assert_int_equal(files_mkdir(files, "/image/bytes/x"), -ENOTDIR);
    assert_int_equal(files_unlink(files, "/image/bytes/x"), -ENOENT);

    /* Gone for this run, but not for those who have it open. */
    assert_int_equal(files_unlink(files, "/image/bytes"), 0);
    assert_int_equal(files_unlink(files, "/image/bytes"), -ENOENT);
    assert_int_equal(get(files, other, text, 15), 9);
    assert_int_equal(files_unlink(files, "/image"), 0);
    assert_int_equal(files_stat(files, "/image", true, &attr), -ENOENT);
}

static void other_descriptors(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    static const int32_t none[] = {3, 100, -1, INT32_MIN, INT32_MAX};
    struct hermit_attr attr;
    char text[8];

    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(get(files, none[i], text, 7), -EBADF);
        assert_int_equal(put_fd(files, none[i], "x"), -EBADF);
        assert_int_equal(files_seek(files, none[i], 0, 0), -EBADF);
        assert_int_equal(files_list(files, none[i], text, 7), -EBADF);
        assert_int_equal(files_stat_fd(files, none[i], &attr), -EBADF);
        assert_int_equal(files_close(files, none[i]), none[i] < 0 ? 0 : -EBADF);
    }
    for (int32_t fd = 0; fd < 3; fd++) {
        assert_int_equal(files_seek(files, fd, 0, 0), -ESPIPE);
        assert_int_equal(files_list(files, fd, text, 7), -EBADF);
        assert_int_equal(files_stat_fd(files, fd, &attr), -EBADF);
        assert_int_equal(files_close(files, fd), 0);
    }
    assert_int_equal(get(files, 0, text, 7), 0); /* no input */
    assert_int_equal(put_fd(files, 0, "x"), -EBADF);
    assert_int_equal(get(files, 1, text, 7), -EBADF);
    int32_t reader = files_open(files, "/host/file", R, 0),
            writer = files_open(files, "/host/file", W, 0);
    assert_int_equal(put_fd(files, reader, "x"), -EBADF);
    assert_int_equal(get(files, writer, text, 7), -EBADF);
    reader = files_open(files, "/t", R | C, 0600), writer = files_open(files, "/t", W, 0);
    assert_int_equal(put_fd(files, reader, "x"), -EBADF);
    assert_int_equal(get(files, writer, text, 7), -EBADF);
    int32_t directory = files_open(files, "/host", R | D, 0);
    assert_int_equal(get(files, directory, text, 7), -EISDIR);
    assert_int_equal(put_fd(files, directory, "x"), -EBADF);
}

/* Many buffers in one call, in order, for each kind of file. */
static void scattered_buffers(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    static const char *const paths[] = {"/host/scattered", "/temp/scattered"};
    enum { COUNT = 1000 };
    static uint8_t out[COUNT][7], in[COUNT][7];
    struct iovec iov[COUNT];

    for (size_t i = 0; i < 2; i++) {
        int32_t fd = files_open(files, paths[i], RW | C, 0600);
        for (size_t j = 0; j < COUNT; j++) {
            memset(out[j], (int)(j % 251), 7);
            iov[j] = (struct iovec){out[j], j % 8};
            if (iov[j].iov_len == 0)
                iov[j].iov_len = 7;
        }
        int64_t total = files_write(files, fd, iov, COUNT);
        assert_true(total > 4 * COUNT - 100);
        assert_int_equal(files_seek(files, fd, 0, 1), total);
        assert_int_equal(files_seek(files, fd, 0, 0), 0);
        memset(in, 0, sizeof in);
        for (size_t j = 0; j < COUNT; j++)
            iov[j].iov_base = in[j];
        assert_int_equal(files_read(files, fd, iov, COUNT), total);
        for (size_t j = 0; j < COUNT; j++)
            assert_memory_equal(in[j], out[j], iov[j].iov_len);
    }
}

static uint64_t temp_left(struct files *files)
{
    static char zeros[4096];
    uint64_t left = 0;
    int32_t fd = files_open(files, "/probe", W | C, 0600);
    if (fd < 0)
        return 0;
    for (int64_t size;
         (size = files_write(files, fd, &(struct iovec){zeros, sizeof zeros}, 1)) > 0;)
        left += (uint64_t)size;
    files_close(files, fd);
    assert_int_equal(files_unlink(files, "/probe"), 0);
    return left;
}

static void space_is_limited(void **state)
{
    struct fixture *fixture = *state;
    fixture->params.limit_temp = 100000;
    again(fixture);
    struct files *files = fixture->files;
    uint64_t all = temp_left(files);
    assert_int_equal(all, 100000 - 4096); /* the name */

    int32_t fd = files_open(files, "/f", RW | C, 0600);
    assert_int_equal(put_fd(files, fd, "0123456789"), 10);
    assert_int_equal(temp_left(files), all - 4096 - 10);
    /* Writing over what is there takes nothing, a hole takes its size. */
    assert_int_equal(files_seek(files, fd, 0, 0), 0);
    assert_int_equal(put_fd(files, fd, "abc"), 3);
    assert_int_equal(temp_left(files), all - 4096 - 10);
    assert_int_equal(files_seek(files, fd, 5000, 0), 5000);
    assert_int_equal(put_fd(files, fd, "x"), 1);
    assert_int_equal(temp_left(files), all - 4096 - 5001);
    /* Not beyond the limit, wherever. */
    assert_int_equal(files_seek(files, fd, 1 << 30, 0), 1 << 30);
    assert_int_equal(put_fd(files, fd, "x"), -ENOSPC);
    assert_int_equal(files_seek(files, fd, INT64_MAX, 0), INT64_MAX);
    assert_int_equal(put_fd(files, fd, "x"), -EFBIG);
    assert_int_equal(files_seek(files, fd, 0, 2), 5001);
    assert_int_equal(temp_left(files), all - 4096 - 5001);
    /* Emptied, and removed while open: its space comes back when it is closed. */
    expect_open(files, "/f", W | T, 0);
    assert_int_equal(temp_left(files), all - 4096);
    assert_int_equal(files_seek(files, fd, 0, 2), 0);
    assert_int_equal(put_fd(files, fd, "0123456789"), 10);
    assert_int_equal(files_unlink(files, "/f"), 0);
    assert_int_equal(temp_left(files), all - 10);
    assert_int_equal(files_close(files, fd), 0);
    assert_int_equal(temp_left(files), all);
    /* What a write could not write is not taken. */
    struct rlimit old, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 4;
    signal(SIGXFSZ, SIG_IGN);
    fd = files_open(files, "/g", W | C, 0600);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int64_t first = put_fd(files, fd, "0123456789"), second = put_fd(files, fd, "0123456789");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(first, 4);
    assert_int_equal(second, -EFBIG);
    assert_int_equal(temp_left(files), all - 4096 - 4);
    /* Mapped files do not count. */
    fd = files_open(files, "/host/large", W | C, 0600);
    assert_int_equal(files_seek(files, fd, 1 << 20, 0), 1 << 20);
    assert_int_equal(put_fd(files, fd, "x"), 1);
}

static void appending(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    static const char *const paths[] = {"/host/a", "/temp/a"};
    char text[16];

    for (size_t i = 0; i < 2; i++) {
        int32_t one = files_open(files, paths[i], W | C | A, 0600);
        int32_t two = files_open(files, paths[i], RW | A, 0);
        assert_int_equal(put_fd(files, one, "abc"), 3);
        assert_int_equal(put_fd(files, two, "def"), 3);
        assert_int_equal(files_seek(files, one, 0, 0), 0);
        assert_int_equal(put_fd(files, one, "ghi"), 3);
        assert_int_equal(files_seek(files, two, 0, 0), 0);
        assert_int_equal(get(files, two, text, 15), 9);
        assert_string_equal(text, "abcdefghi");
    }
}

/* Directories in the tree. */

static void listings(void **state)
{
    struct fixture *fixture = *state;
    struct files *files = fixture->files;
    static const uint8_t expected[] = {1, 0, 0, 0, 0,  0, 0, 0,   0,   0,   0,   0,
                                       0, 0, 0, 0, 24, 0, 8, 'b', 'y', 't', 'e', 's' /* 32 */};
    uint8_t bytes[4096];

    int32_t fd = files_open(files, "/image", R | D, 0);
    memset(bytes, 0xee, sizeof bytes);
    int64_t size = files_list(files, fd, bytes, sizeof bytes);
    assert_int_equal(size, 32);
    assert_memory_equal(bytes, expected, 16);
    assert_int_equal(bytes[16], 32);
    assert_memory_equal(bytes + 18, expected + 18, 6);
    assert_int_equal(bytes[24], 0);
    assert_int_equal(bytes[32], 0xee);
    assert_int_equal(files_list(files, fd, bytes, sizeof bytes), 0);
    /* The snapshot does not change, and a new one does. */
    expect_open(files, "/image/another", W | C, 0);
    assert_int_equal(files_seek(files, fd, 0, 0), 0);
    assert_int_equal(files_list(files, fd, bytes, sizeof bytes), 32);
    fd = files_open(files, "/image", R | D, 0);
    assert_int_equal(files_list(files, fd, bytes, sizeof bytes), 64);
    assert_int_equal(files_seek(files, fd, -1, 0), -EINVAL);
    assert_int_equal(files_seek(files, fd, 0, 2), -EINVAL);
    assert_int_equal(files_seek(files, fd, INT64_MAX, 0), INT64_MAX);
    assert_int_equal(files_seek(files, fd, INT64_MAX, 1), INT64_MAX);
    assert_int_equal(files_list(files, fd, bytes, sizeof bytes), 0);
    /* A directory of the host, by its own system call. */
    fd = files_open(files, "/host", R | D, 0);
    assert_int_equal(files_list(files, fd, bytes, 10), -EINVAL);
    assert_true(files_list(files, fd, bytes, sizeof bytes) >= 4 * 24);
    assert_int_equal(files_list(files, fd, bytes, sizeof bytes), 0);
    fd = files_open(files, "/host/file", R, 0);
    assert_int_equal(files_list(files, fd, bytes, sizeof bytes), -ENOTDIR);
}

/* Listings take memory; a guest cannot make the VMM keep more than a limit. */
static void listings_are_limited(void **state)
{
    struct fixture *fixture = *state;
    char name[300];
    fixture->params.limit_files = 100000;
    again(fixture);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "/d/%0250u", i);
        assert_int_equal(files_mkdir(fixture->files, name), 0);
    }
    int32_t fd = 0;
    unsigned opened = 0;
    for (; opened < 10000 && (fd = files_open(fixture->files, "/d", R | D, 0)) >= 3; opened++)
        ;
    assert_int_equal(fd, -ENOMEM);
    assert_true(opened > 100 && opened < 1000);
    assert_int_equal(files_close(fixture->files, 3), 0);
    assert_true(files_open(fixture->files, "/d", R | D, 0) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_in_memory),      TEST(other_descriptors), TEST(scattered_buffers),
        TEST(space_is_limited),     TEST(appending),         TEST(listings),
        TEST(listings_are_limited),
    };
    return cmocka_run_group_tests_name("files_content", tests, NULL, NULL);
}
