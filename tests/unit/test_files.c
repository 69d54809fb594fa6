/* What the file calls do (spec/files.md, spec/hypercalls.md section 4): below the hypercalls, which
 * only decode and encode. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fs/files.h"

#define R  HERMIT_O_RDONLY
#define W  HERMIT_O_WRONLY
#define RW HERMIT_O_RDWR
#define C  HERMIT_O_CREAT
#define X  HERMIT_O_EXCL
#define T  HERMIT_O_TRUNC
#define A  HERMIT_O_APPEND
#define D  HERMIT_O_DIRECTORY

/*
 * In the current directory: host/ with sub/ and file, mapped as /host, and read-only as /ro; a file
 * in memory /image/bytes. Temporary files go to temp/.
 */
struct fixture {
    char base[64];
    struct uhyve_params params;
    struct log log;
    int stop_fd;
    struct files *files;
};

static void put(const char *path, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static const struct uhyve_file_mapping mappings[] = {{"host", "/host", false},
                                                     {"host", "/ro", true}};

static int create(struct fixture *fixture)
{
    const struct files_options options = {&fixture->params, true, fixture->stop_fd, &fixture->log};
    int err = files_create(&fixture->files, &options, NULL);
    if (!err)
        err = filemap_add_bytes(files_map(fixture->files), "/image/bytes", "0123456789", 10, NULL);
    return err;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    strcpy(fixture->base, "/tmp/test_files.XXXXXX");
    if (!mkdtemp(fixture->base) || chdir(fixture->base) != 0)
        return -1;
    mkdir("host", 0700);
    mkdir("host/sub", 0700);
    mkdir("temp", 0700);
    put("host/file", "content");
    put("secret", "secret");
    fixture->stop_fd = eventfd(0, EFD_CLOEXEC);
    uhyve_params_init(&fixture->params);
    fixture->params.file_mappings = mappings;
    fixture->params.file_mapping_count = 2;
    fixture->params.tempdir = "temp";
    return create(fixture);
}

static int count_entries(const char *path)
{
    DIR *stream = opendir(path);
    int count = 0;
    while (stream && readdir(stream))
        count++;
    closedir(stream);
    return count - 2;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[100];
    files_destroy(fixture->files);
    int left = count_entries("temp");
    close(fixture->stop_fd);
    snprintf(command, sizeof command, "rm -rf %s", fixture->base);
    int err = chdir("/") != 0 || system(command) != 0 || left;
    free(fixture);
    return err ? -1 : 0;
}

/* Begin anew with changed parameters. */
static void again(struct fixture *fixture)
{
    files_destroy(fixture->files);
    assert_int_equal(count_entries("temp"), 0);
    assert_int_equal(create(fixture), 0);
}

static int64_t get(struct files *files, int32_t fd, char *to, size_t size)
{
    memset(to, 0, size + 1);
    return files_read(files, fd, &(struct iovec){to, size}, size ? 1 : 0);
}

static int64_t put_fd(struct files *files, int32_t fd, const char *text)
{
    return files_write(files, fd, &(struct iovec){(char *)(uintptr_t)text, strlen(text)}, 1);
}

/* Open must answer this; what it opened is closed. */
static void expect_open(struct files *files, const char *path, int flags, int error)
{
    int32_t fd = files_open(files, path, flags, 0644);
    if (error ? fd != -error : fd < 3)
        fail_msg("open %s with 0%o: %d instead of %d", path, (unsigned)flags, fd, -error);
    if (fd >= 0)
        assert_int_equal(files_close(files, fd), 0);
}

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

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(opening),
        TEST(modes_of_new_files),
        TEST(files_in_memory),
        TEST(attributes),
        TEST(removing),
        TEST(making_directories),
        TEST(other_descriptors),
        TEST(scattered_buffers),
        TEST(space_is_limited),
        TEST(appending),
        TEST(waiting_holds_up_nobody),
        TEST(the_stop_ends_waits),
        TEST(writers_to_a_pipe_without_reader),
        TEST(many_threads),
        TEST(listings),
        TEST(listings_are_limited),
        TEST(replaced_by_a_link),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
