/* Which files are opened as an image, and reading pieces of them. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/image.h"

static char directory[] = "/tmp/uhyve-test-image-XXXXXX";
static char path[64];
static struct uhyve_error error;

static int make_directory(void **state)
{
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    return rmdir(directory);
}

static const char *in_directory(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const char *content, size_t size)
{
    int fd = open(in_directory(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, size), size);
    close(fd);
}

static void assert_refused(const char *file, int status, const char *why)
{
    struct image image;
    memset(&error, 0, sizeof error);
    assert_true(image_open(&image, file, &error) < 0);
    assert_int_equal(error.status, status);
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
    if (*file)
        assert_non_null(strstr(error.message, file));
}

static void missing_files_are_not_found(void **state)
{
    assert_refused(in_directory("missing"), UHYVE_STATUS_NO_IMAGE, "not found");
    assert_refused("", UHYVE_STATUS_NO_IMAGE, "not found");
    write_file("file", "x", 1);
    assert_refused(in_directory("file/below"), UHYVE_STATUS_NO_IMAGE, "not found");
    unlink(in_directory("file"));
}

static void other_things_than_files_are_refused(void **state)
{
    assert_refused(directory, UHYVE_STATUS_BAD_IMAGE, "is a directory");
    assert_refused("/dev/null", UHYVE_STATUS_BAD_IMAGE, "not a regular file");
    assert_int_equal(mkfifo(in_directory("fifo"), 0600), 0);
    assert_refused(path, UHYVE_STATUS_BAD_IMAGE, "not a regular file"); /* and does not wait */
    unlink(path);
    assert_int_equal(symlink("loop", in_directory("loop")), 0);
    assert_refused(path, UHYVE_STATUS_BAD_IMAGE, "cannot open image");
    unlink(path);
}

static void refusals_leave_nothing_open(void **state)
{
    int before = dup(0);
    close(before);
    assert_refused(directory, UHYVE_STATUS_BAD_IMAGE, "is a directory");
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void pieces_are_read(void **state)
{
    struct image image;
    char piece[8] = "";
    write_file("file", "0123456789", 10);
    assert_int_equal(image_open(&image, path, &error), 0);
    assert_int_equal(image.size, 10);
    assert_true(fcntl(image.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(image_read(&image, 3, piece, 4, "test", &error), 0);
    assert_string_equal(piece, "3456");
    assert_int_equal(image_read(&image, 6, piece, 4, "test", &error), 0);
    assert_string_equal(piece, "6789");
    assert_int_equal(image_read(&image, 10, piece, 0, "test", &error), 0);

    static const uint64_t beyond[][2] = {{7, 4},          {10, 1},         {11, 0},
                                         {UINT64_MAX, 1}, {1, UINT64_MAX}, {0, UINT64_MAX}};
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++) {
        assert_true(image_read(&image, beyond[i][0], piece, beyond[i][1], "test", &error) < 0);
        assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
        assert_non_null(strstr(error.message, "ends inside its test"));
    }
    /* Shorter than when it was opened: no error of the machine, a sentence. */
    assert_int_equal(truncate(path, 5), 0);
    assert_true(image_read(&image, 3, piece, 4, "test", &error) < 0);
    assert_non_null(strstr(error.message, "truncated"));
    image_close(&image);
    assert_int_equal(image.fd, -1);
    image_close(&image); /* harmless */
    unlink(path);
}

static void file_names_cannot_drive_the_terminal(void **state)
{
    struct image image;
    assert_true(image_open(&image, "/none/\x1b[31m\nred", &error) < 0);
    assert_null(strchr(error.message, '\x1b'));
    assert_null(strchr(error.message, '\n'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_files_are_not_found),
        cmocka_unit_test(other_things_than_files_are_refused),
        cmocka_unit_test(refusals_leave_nothing_open),
        cmocka_unit_test(pieces_are_read),
        cmocka_unit_test(file_names_cannot_drive_the_terminal),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
