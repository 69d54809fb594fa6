/*
 * Files of a guest, in a directory of the test's own. One program, one test at a time.
 */
#ifndef FILES_FIXTURE_H
#define FILES_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/files.h"
#include "unit.h"

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

static inline void put(const char *path, const char *content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

static const struct uhyve_file_mapping mappings[] = {{"host", "/host", false},
                                                     {"host", "/ro", true}};

static inline int create(struct fixture *fixture)
{
    const struct files_options options = {&fixture->params, true, fixture->stop_fd, &fixture->log};
    int err = files_create(&fixture->files, &options, NULL);
    if (!err)
        err = filemap_add_bytes(files_map(fixture->files), "/image/bytes", "0123456789", 10, NULL);
    return err;
}

static inline int setup(void **state)
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

static inline int count_entries(const char *path)
{
    DIR *stream = opendir(path);
    int count = 0;
    while (stream && readdir(stream))
        count++;
    closedir(stream);
    return count - 2;
}

static inline int teardown(void **state)
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
static inline void again(struct fixture *fixture)
{
    files_destroy(fixture->files);
    assert_int_equal(count_entries("temp"), 0);
    assert_int_equal(create(fixture), 0);
}

static inline int64_t get(struct files *files, int32_t fd, char *to, size_t size)
{
    memset(to, 0, size + 1);
    return files_read(files, fd, &(struct iovec){to, size}, size ? 1 : 0);
}

static inline int64_t put_fd(struct files *files, int32_t fd, const char *text)
{
    return files_write(files, fd, &(struct iovec){(char *)(uintptr_t)text, strlen(text)}, 1);
}

/* Open must answer this; what it opened is closed. */
static inline void expect_open(struct files *files, const char *path, int flags, int error)
{
    int32_t fd = files_open(files, path, flags, 0644);
    if (error ? fd != -error : fd < 3)
        fail_msg("open %s with 0%o: %d instead of %d", path, (unsigned)flags, fd, -error);
    if (fd >= 0)
        assert_int_equal(files_close(files, fd), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

#endif
