/*
 * Every file call of the announced generation against a VM to which no files are mapped: the
 * answers of spec/hypercalls.md section 4.
 */
#include "lib/build.h"
#include "lib/hypercall.h"
#include "lib/tap.h"

#define NO_SUCH_FD 77

static char buffer[256];

static void check_open(void)
{
    tap_equal(file_open("/nothing", HERMIT_O_RDONLY, 0), -GUEST_ENOENT, "open for reading");
    tap_equal(file_open("/nothing", HERMIT_O_WRONLY, 0), -GUEST_ENOENT, "open for writing");
    tap_equal(file_open("relative", HERMIT_O_RDONLY, 0), -GUEST_ENOENT, "open a relative path");
    tap_equal(file_open("/nothing", HERMIT_O_DIRECTORY, 0), -GUEST_ENOENT, "open a directory");
    tap_equal(file_open("/nothing", HERMIT_O_ACCMODE, 0), -GUEST_EINVAL, "open without a mode");
    tap_equal(file_open("/new", HERMIT_O_CREAT | HERMIT_O_DIRECTORY, 0755), -GUEST_EINVAL,
              "open creates no directory");
    tap_equal(file_open("/\xff\xfe", HERMIT_O_RDONLY, 0), -GUEST_EINVAL,
              "open a path that is not UTF-8");
}

static void check_close(void)
{
    tap_equal(file_close(0), 0, "close 0");
    tap_equal(file_close(1), 0, "close 1");
    tap_equal(file_close(2), 0, "close 2");
    tap_equal(file_close(-1), 0, "close -1");
    tap_equal(file_close(NO_SUCH_FD), -GUEST_EBADF, "close an unknown descriptor");
}

static void check_read_write(void)
{
    tap_equal(file_read(1, buffer, sizeof(buffer)), -GUEST_EBADF, "read 1");
    tap_equal(file_read(2, buffer, sizeof(buffer)), -GUEST_EBADF, "read 2");
    tap_equal(file_read(-1, buffer, sizeof(buffer)), -GUEST_EBADF, "read -1");
    tap_equal(file_read(NO_SUCH_FD, buffer, sizeof(buffer)), -GUEST_EBADF,
              "read an unknown descriptor");
    if (guest_interface == 1)
        return; /* its write has no result */
    tap_equal(file_write(1, "", 0), 0, "write nothing");
    tap_equal(file_write(1, "# written\n", 10), 10, "write to 1");
    tap_equal(file_write(0, "no", 2), -GUEST_EBADF, "write to 0");
    tap_equal(file_write(-1, "no", 2), -GUEST_EBADF, "write to -1");
    tap_equal(file_write(NO_SUCH_FD, "no", 2), -GUEST_EBADF, "write to an unknown descriptor");
}

static void check_seek(void)
{
    /* Generation 1 knows only one error. */
    int64_t not_seekable = guest_interface == 1 ? -1 : -GUEST_ESPIPE;
    int64_t bad = guest_interface == 1 ? -1 : -GUEST_EBADF;
    tap_equal(file_seek(0, 0, 0), not_seekable, "seek 0");
    tap_equal(file_seek(1, 0, 1), not_seekable, "seek 1");
    tap_equal(file_seek(2, 0, 2), not_seekable, "seek 2");
    tap_equal(file_seek(-1, 0, 0), bad, "seek -1");
    tap_equal(file_seek(NO_SUCH_FD, 0, 0), bad, "seek an unknown descriptor");
}

static void check_interface_3(void)
{
    struct hermit_attr attr;
    tap_equal(file_list(NO_SUCH_FD, buffer, sizeof(buffer)), -GUEST_EBADF,
              "list an unknown descriptor");
    tap_equal(file_list(1, buffer, sizeof(buffer)), -GUEST_EBADF, "list 1");
    tap_equal(file_stat("/nothing", HERMIT_STAT_FOLLOW, &attr), -GUEST_ENOENT, "stat");
    tap_equal(file_stat("/nothing", HERMIT_STAT_NO_FOLLOW, &attr), -GUEST_ENOENT,
              "stat without following");
    tap_equal(file_stat("/nothing", 7, &attr), -GUEST_EINVAL, "stat of an unknown kind");
    tap_equal(file_stat_fd(1, &attr), -GUEST_EBADF, "stat 1");
    tap_equal(file_stat_fd(NO_SUCH_FD, &attr), -GUEST_EBADF, "stat an unknown descriptor");
    tap_equal(file_make_directory("/nothing/new"), 0, "make a directory");
    tap_equal(file_stat("/nothing", HERMIT_STAT_FOLLOW, &attr), 0, "stat the one it is in");
}

/* What a guest creates is its own for this run. */
static void check_create(void)
{
    int fd = file_open("/root/new", HERMIT_O_RDWR | HERMIT_O_CREAT, 0644);
    tap_equal(fd, 3, "create a file");
    tap_equal(file_write(fd, "new", 3), 3, "write to it");
    tap_equal(file_seek(fd, 0, 0), 0, "seek in it");
    tap_equal(file_read(fd, buffer, sizeof(buffer)), 3, "read from it");
    tap_equal(file_close(fd), 0, "close it");
    tap_equal(file_open("/root/new", HERMIT_O_RDONLY, 0), 4, "open it again");
    tap_equal(file_unlink("/root/new"), 0, "unlink it");
    tap_equal(file_open("/root/new", HERMIT_O_RDONLY, 0), -GUEST_ENOENT, "it is gone");
    tap_equal(file_close(4), 0, "close it after that");
    tap_equal(file_close(4), -GUEST_EBADF, "close it twice");
}

int main(void)
{
    check_open();
    check_close();
    check_read_write();
    check_seek();
    tap_equal(file_unlink("/nothing"), -GUEST_ENOENT, "unlink");
    tap_equal(file_unlink("/\xff\xfe"), -GUEST_EINVAL, "unlink a path that is not UTF-8");
    if (guest_interface >= 3)
        check_interface_3();
    check_create();
    return tap_end();
}
