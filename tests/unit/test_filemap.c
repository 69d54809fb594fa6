/* The tree of names that a guest sees, and what a kernel is told to mount (spec/files.md sections 1
 * to 3). */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/filemap_run.h"
#include "fs/quota.h"

struct fixture {
    char base[64]; /* an empty directory with: dir/, file, and nothing named missing */
    struct quota quota;
    struct filemap *map;
    struct uhyve_error error;
    unsigned warnings;
    char last_warning[256];
};

static void make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    strcpy(fixture->base, "/tmp/test_filemap.XXXXXX");
    if (!mkdtemp(fixture->base) || chdir(fixture->base) != 0 || mkdir("dir", 0700) != 0)
        return -1;
    make_file("file");
    fixture->quota.limit = 1 << 20;
    fixture->map = filemap_create(&fixture->quota);
    return fixture->map ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    filemap_destroy(fixture->map);
    /* What the guest created is given back with the map. */
    int left = atomic_load(&fixture->quota.used) != 0;
    snprintf(command, sizeof command, "rm -rf %s", fixture->base);
    int err = chdir("/") != 0 || system(command) != 0 || left;
    free(fixture);
    return err ? -1 : 0;
}

static int add(struct fixture *fixture, const char *host, const char *guest)
{
    const struct uhyve_file_mapping mapping = {.host = host, .guest = guest};
    return filemap_add_host(fixture->map, &mapping, true, &fixture->error);
}

static int add_bytes(struct fixture *fixture, const char *guest)
{
    return filemap_add_bytes(fixture->map, guest, "12345", 5, &fixture->error);
}

static enum filemap_kind kind_of(struct fixture *fixture, const char *path, const char *rest)
{
    struct filemap_entry entry;
    filemap_lookup(fixture->map, path, &entry);
    if (entry.kind == FILEMAP_HOST)
        assert_string_equal(entry.rest, rest);
    filemap_entry_release(&entry);
    return entry.kind;
}

static void names_lead_to_what_is_mapped(void **state)
{
    struct fixture *fixture = *state;
    struct filemap_entry entry;

    assert_int_equal(add(fixture, "dir", "/deep/er/dir"), 0);
    assert_int_equal(add(fixture, "file", "deep/f"), 0);
    assert_int_equal(add(fixture, "missing", "/missing"), 0);
    assert_int_equal(add_bytes(fixture, "/deep/bytes/"), 0);

    assert_int_equal(kind_of(fixture, "deep", NULL), FILEMAP_DIRECTORY);
    assert_int_equal(kind_of(fixture, "deep/er", NULL), FILEMAP_DIRECTORY);
    assert_int_equal(kind_of(fixture, "deep/er/dir", ""), FILEMAP_HOST);
    assert_int_equal(kind_of(fixture, "deep/er/dir/a/b", "a/b"), FILEMAP_HOST);
    assert_int_equal(kind_of(fixture, "deep/f", ""), FILEMAP_HOST);
    assert_int_equal(kind_of(fixture, "deep/f/x", "x"), FILEMAP_HOST);
    assert_int_equal(kind_of(fixture, "missing", ""), FILEMAP_HOST);
    assert_int_equal(kind_of(fixture, "deep/bytes/x", NULL), FILEMAP_BLOCKED);
    assert_int_equal(kind_of(fixture, "dee", NULL), FILEMAP_MISSING);
    assert_int_equal(kind_of(fixture, "deep/er/dirx", NULL), FILEMAP_MISSING);
    assert_int_equal(kind_of(fixture, "other/x", NULL), FILEMAP_MISSING);

    filemap_lookup(fixture->map, "deep/bytes", &entry);
    assert_int_equal(entry.kind, FILEMAP_BYTES);
    assert_int_equal(entry.size, 5);
    assert_memory_equal(entry.data, "12345", 5);
    filemap_entry_release(&entry);
}

/* Conflicts are errors, in either order, and change nothing. */
static void names_are_given_once(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        const char *guest, *says;
    } bad[] = {
        {"/a", "'/a'"},        {"a/", "'a/'"},           {"/a/b", "'/a/b'"},
        {"/d/e", "'/d/e'"},    {"/d", "'/d'"},           {"/d/e/f/g", "'/d/e/f/g'"},
        {"/", "cannot be"},    {"", "cannot be"},        {"..", "cannot be"},
        {"../x", "cannot be"}, {"/x/\xff", "cannot be"}, {"/d/e/../e/f", "'/d/e/../e/f'"},
    };

    assert_int_equal(add(fixture, "file", "/a"), 0);
    assert_int_equal(add(fixture, "dir", "/d/e/f"), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fixture->error.message[0] = '\0';
        assert_true(add(fixture, "file", bad[i].guest) < 0);
        assert_int_equal(fixture->error.status, UHYVE_STATUS_USAGE);
        assert_non_null(strstr(fixture->error.message, bad[i].says));
        assert_true(add_bytes(fixture, bad[i].guest) < 0);
    }
    assert_int_equal(kind_of(fixture, "a", ""), FILEMAP_HOST);
    assert_int_equal(add(fixture, "file", "/d/e/g"), 0); /* the same file twice is fine */
}

static void host_names_must_be_possible(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"none/file", "none/none/file", "",
                                      "file/x",    "dir/none/.",     "dir/none/.."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_true(add(fixture, bad[i], "/x") < 0);
        assert_int_equal(fixture->error.status, UHYVE_STATUS_FAILED);
        assert_int_equal(kind_of(fixture, "x", NULL), FILEMAP_MISSING);
    }
    assert_non_null(strstr(fixture->error.message, "dir/none/.."));
    char longer[5000] = "none/";
    memset(longer + 5, 'x', sizeof longer - 6);
    for (size_t i = 100; i < sizeof longer; i += 100)
        longer[i] = '/';
    assert_true(add(fixture, longer, "/x") < 0);
    assert_non_null(strstr(fixture->error.message, "'none/xxx"));
    assert_non_null(strstr(fixture->error.message, strerror(ENAMETOOLONG)));
    memset(longer + 7, '/', sizeof longer - 8); /* short but for the slashes at its end */
    memcpy(longer, "missing", 7);
    assert_int_equal(add(fixture, longer, "/slashes"), 0);
    assert_int_equal(add(fixture, "/none-such.uhyve", "/top"), 0);
    struct host_root_view view;
    size_t position = 0;
    assert_true(filemap_next_root(fixture->map, &position, &view));
    assert_true(filemap_next_root(fixture->map, &position, &view));
    assert_string_equal(view.path, "/none-such.uhyve");
    assert_string_equal(view.name, "none-such.uhyve");
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(add(fixture, "dangling", "/dangling"), 0);
    assert_int_equal(add(fixture, "./dir/../missing/", "/missing"), 0);
}

static void roots_are_listed(void **state)
{
    struct fixture *fixture = *state;
    const struct uhyve_file_mapping read_only = {"dir", "/c", true};
    struct host_root_view view;
    struct stat status, expected;
    size_t position = 0;
    char path[128];

    assert_false(filemap_next_root(fixture->map, &position, &view));
    assert_int_equal(symlink("file", "link"), 0);
    assert_int_equal(add(fixture, "link", "/a/link"), 0);
    assert_int_equal(add(fixture, "dir/missing", "/b"), 0);
    assert_int_equal(filemap_add_host(fixture->map, &read_only, true, NULL), 0);
    assert_int_equal(add_bytes(fixture, "/a/a"), 0);

    position = 0;
    assert_true(filemap_next_root(fixture->map, &position, &view));
    snprintf(path, sizeof path, "%s/file", fixture->base);
    assert_string_equal(view.path, path);
    assert_string_equal(view.name, "file");
    assert_int_equal(view.kind, HOST_ROOT_FILE);
    assert_false(view.read_only);

    assert_true(filemap_next_root(fixture->map, &position, &view));
    snprintf(path, sizeof path, "%s/dir/missing", fixture->base);
    assert_string_equal(view.path, path);
    assert_string_equal(view.name, "missing");
    assert_int_equal(view.kind, HOST_ROOT_MISSING);
    assert_int_equal(fstat(view.fd, &status), 0);
    assert_int_equal(stat("dir", &expected), 0);
    assert_int_equal(status.st_ino, expected.st_ino);

    assert_true(filemap_next_root(fixture->map, &position, &view));
    assert_int_equal(view.kind, HOST_ROOT_DIRECTORY);
    assert_null(view.name);
    assert_true(view.read_only);
    assert_int_equal(fstat(view.fd, &status), 0);
    assert_int_equal(status.st_ino, expected.st_ino);
    assert_false(filemap_next_root(fixture->map, &position, &view));
}

/* What a guest creates is charged; what a failure began is taken back. */
static void the_guest_creates_names(void **state)
{
    struct fixture *fixture = *state;
    struct filemap_entry entry;

    assert_int_equal(add_bytes(fixture, "/image/file"), 0);
    assert_int_equal(atomic_load(&fixture->quota.used), 0);
    assert_int_equal(filemap_add_directory(fixture->map, "new/a/b"), 0);
    uint64_t used = atomic_load(&fixture->quota.used);
    assert_true(used > 0);
    assert_int_equal(filemap_add_directory(fixture->map, "new/a/b"), -EEXIST);
    assert_int_equal(filemap_add_directory(fixture->map, "new/a"), -EEXIST);
    assert_int_equal(filemap_add_directory(fixture->map, "image/file"), -EEXIST);
    assert_int_equal(filemap_add_directory(fixture->map, "image/file/x"), -ENOTDIR);
    assert_int_equal(atomic_load(&fixture->quota.used), used);

    fixture->quota.limit = used + used / 2; /* room for one name, not for all */
    assert_int_equal(filemap_add_directory(fixture->map, "x/y/z"), -ENOSPC);
    assert_int_equal(atomic_load(&fixture->quota.used), used);
    assert_int_equal(kind_of(fixture, "x", NULL), FILEMAP_MISSING);
    assert_int_equal(filemap_add_directory(fixture->map, "new/x/y/z"), -ENOSPC);
    assert_int_equal(kind_of(fixture, "new/x", NULL), FILEMAP_MISSING);
    assert_int_equal(kind_of(fixture, "new/a/b", NULL), FILEMAP_DIRECTORY);

    filemap_lookup(fixture->map, "new/a/b", &entry);
    assert_true(entry.created && entry.made_at.tv_sec > 0 && entry.number > 0);
    assert_int_equal(filemap_remove(fixture->map, "new/a/b", &entry), -EISDIR);
    filemap_lookup(fixture->map, "new/a", &entry);
    assert_false(entry.created);
    assert_int_equal(filemap_remove(fixture->map, "new/a", &entry), -ENOTEMPTY);
    filemap_lookup(fixture->map, "image/file", &entry);
    assert_int_equal(filemap_remove(fixture->map, "image", &entry), -ENOENT);
    assert_int_equal(filemap_remove(fixture->map, "image/file", &entry), 0);
    assert_int_equal(filemap_remove(fixture->map, "image/file", &entry), -ENOENT);
    filemap_lookup(fixture->map, "image", &entry);
    assert_int_equal(filemap_remove(fixture->map, "image", &entry), 0);
    assert_int_equal(kind_of(fixture, "image", NULL), FILEMAP_MISSING);
}

/* Between looking and removing, another CPU has put something else there. */
static void what_came_later_is_not_removed(void **state)
{
    struct fixture *fixture = *state;
    struct filemap_entry old, now;

    assert_int_equal(add_bytes(fixture, "/f"), 0);
    filemap_lookup(fixture->map, "f", &old);
    assert_int_equal(filemap_remove(fixture->map, "f/x", &old), -ENOENT);
    assert_int_equal(filemap_remove(fixture->map, "f", &old), 0);

    assert_int_equal(filemap_add_bytes(fixture->map, "/f", "6789", 4, &fixture->error), 0);
    assert_int_equal(filemap_remove(fixture->map, "f", &old), -ENOENT);
    filemap_lookup(fixture->map, "f", &now);
    assert_int_equal(filemap_remove(fixture->map, "f", &now), 0);

    assert_int_equal(filemap_add_directory(fixture->map, "f"), 0);
    assert_int_equal(filemap_remove(fixture->map, "f", &old), -ENOENT);
    assert_int_equal(kind_of(fixture, "f", NULL), FILEMAP_DIRECTORY);

    assert_int_equal(add(fixture, "dir", "/h"), 0);
    filemap_lookup(fixture->map, "h", &old);
    filemap_lookup(fixture->map, "h", &now);
    assert_int_equal(filemap_remove(fixture->map, "h", &now), 0);
    assert_int_equal(add(fixture, "dir", "/h"), 0);
    assert_int_equal(filemap_remove(fixture->map, "h", &old), -ENOENT);
    filemap_entry_release(&old);
    filemap_entry_release(&now);
    assert_int_equal(kind_of(fixture, "h", ""), FILEMAP_HOST);
}

static void the_guest_creates_too_many(void **state)
{
    struct fixture *fixture = *state;
    char path[32];
    unsigned count = 0;
    int err;

    fixture->quota.limit = UINT64_MAX;
    do {
        snprintf(path, sizeof path, "d/%u/%u", count % 400, count);
        err = filemap_add_directory(fixture->map, path);
    } while (!err && ++count < 200000);
    assert_int_equal(err, -ENOSPC);
    assert_true(count > 100000 && count < 150000);
}

static void listings_are_sorted(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"A", "a", "a.b", "a0", "ab", "b", "\xc3\xa9"};
    struct filemap_listing listing;
    struct quota memory = {.limit = 1000};
    char path[16];

    for (size_t i = 7; i-- > 0;) {
        snprintf(path, sizeof path, "/d/%s", names[i]);
        assert_int_equal(i % 2 ? add(fixture, "dir", path) : add_bytes(fixture, path), 0);
    }
    assert_int_equal(add_bytes(fixture, "/d/sub/x"), 0);
    assert_int_equal(filemap_list(fixture->map, "d", &memory, &listing), 0);
    assert_int_equal(listing.count, 8);
    assert_false(listing.created);
    for (size_t i = 0; i < 8; i++) {
        bool is_sub = i == 6;
        assert_string_equal(listing.items[i].name, is_sub ? "sub" : names[i < 6 ? i : 6]);
        assert_int_equal(listing.items[i].host != NULL, i < 6 && i % 2);
        if (is_sub)
            assert_int_equal(listing.items[i].type, FILEMAP_TYPE_DIRECTORY);
    }
    filemap_listing_free(&listing);
    assert_int_equal(filemap_list(fixture->map, "d/b", &memory, &listing), -ENOTDIR);
    assert_int_equal(filemap_list(fixture->map, "d/b/x", &memory, &listing), -ENOTDIR);
    assert_int_equal(filemap_list(fixture->map, "none", &memory, &listing), -ENOENT);
    assert_int_equal(atomic_load(&memory.used), 0);
    memory.limit = 100;
    assert_int_equal(filemap_list(fixture->map, "d", &memory, &listing), -ENOMEM);
    assert_int_equal(atomic_load(&memory.used), 0);
}

static void note_warning(void *context, enum uhyve_level level, const char *text)
{
    struct fixture *fixture = context;
    assert_int_equal(level, UHYVE_LEVEL_WARN);
    fixture->warnings++;
    snprintf(fixture->last_warning, sizeof fixture->last_warning, "%s", text);
}

/* The mounts, each followed by a blank, must be `expected`. */
static void expect_mounts(struct fixture *fixture, const char *expected, unsigned warnings)
{
    const struct log log = {note_warning, fixture, UHYVE_LEVEL_WARN};
    struct text mounts = {0};

    fixture->warnings = 0;
    filemap_list_mounts(fixture->map, &log, &mounts);
    assert_false(mounts.failed);
    for (size_t i = 0; i < mounts.size; i++)
        if (!mounts.data[i])
            mounts.data[i] = ' ';
    assert_string_equal(mounts.data ? mounts.data : "", expected);
    assert_int_equal(fixture->warnings, warnings);
    text_free(&mounts);
}

static void mounts_are_topmost(void **state)
{
    struct fixture *fixture = *state;

    expect_mounts(fixture, "", 0);
    assert_int_equal(add(fixture, "dir", "/testdir3/subdir1/subdir2"), 0);
    assert_int_equal(add(fixture, "dir", "/testdir1"), 0);
    assert_int_equal(add(fixture, "file", "/anothermountpoint/file"), 0);
    expect_mounts(fixture, "/anothermountpoint /testdir1 /testdir3/subdir1/subdir2 ", 0);
    /* Below another mount: kernels would panic. */
    assert_int_equal(add(fixture, "dir", "/anothermountpoint/dir"), 0);
    assert_int_equal(add_bytes(fixture, "/anothermountpoint/a/b/c/bytes"), 0);
    assert_int_equal(add(fixture, "missing", "/testdir3/missing"), 0);
    expect_mounts(fixture, "/anothermountpoint /testdir1 /testdir3 ", 0);
}

static void siblings_are_mounted_each(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(add(fixture, "dir", "/x/d"), 0);
    assert_int_equal(add(fixture, "dir", "/x/e"), 0);
    expect_mounts(fixture, "/x/d /x/e ", 0);
    assert_int_equal(add_bytes(fixture, "/x/f"), 0);
    expect_mounts(fixture, "/x ", 0);
}

static void directories_of_the_kernel_are_left_alone(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(add(fixture, "dir", "/tmp/dir"), 0);
    expect_mounts(fixture, "/tmp/dir ", 0);
    assert_int_equal(add(fixture, "file", "/tmp/file"), 0);
    expect_mounts(fixture, "/tmp/dir ", 1);
    assert_non_null(strstr(fixture->last_warning, "'/tmp/file'"));
    assert_int_equal(add(fixture, "dir", "/proc"), 0);
    assert_int_equal(add(fixture, "dir", "/dev/x"), 0);
    assert_int_equal(add(fixture, "dir", "/devices"), 0);
    expect_mounts(fixture, "/devices /tmp/dir ", 3);
}

static void the_root_is_no_mount(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(add_bytes(fixture, "/hermit.toml"), 0);
    expect_mounts(fixture, "", 0);
    assert_int_equal(add(fixture, "file", "/file"), 0);
    expect_mounts(fixture, "", 1);
    assert_non_null(strstr(fixture->last_warning, "'/file'"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_lead_to_what_is_mapped),
        TEST(names_are_given_once),
        TEST(host_names_must_be_possible),
        TEST(roots_are_listed),
        TEST(the_guest_creates_names),
        TEST(what_came_later_is_not_removed),
        TEST(the_guest_creates_too_many),
        TEST(listings_are_sorted),
        TEST(mounts_are_topmost),
        TEST(siblings_are_mounted_each),
        TEST(directories_of_the_kernel_are_left_alone),
        TEST(the_root_is_no_mount),
    };
    return cmocka_run_group_tests_name("filemap", tests, NULL, NULL);
}
