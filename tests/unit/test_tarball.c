/* The files of a tar archive: names, duplicates, the forms archives come in, and broken ones. */
#include "unit.h"

#include <stdio.h>

#include "image/tarball.h"
#include "tar_builder.h"

#define LIMIT (1 << 20)

static struct uhyve_error error;
static struct tarball tarball;
static struct tar_builder tar;
static char warning[512];

static void keep_warning(void *context, enum uhyve_level level, const char *text)
{
    snprintf(warning, sizeof warning, "%s", text);
}

static const struct log test_log = {.message = keep_warning, .level = UHYVE_LEVEL_WARN};

static int clear(void **state)
{
    tarball_free(&tarball);
    text_free(&tar.bytes);
    warning[0] = '\0';
    return 0;
}

static int read_tar(uint64_t limit)
{
    memset(&error, 0, sizeof error);
    tarball_free(&tarball);
    return tarball_read(&tarball, "test.hermit", tar.bytes.data, tar.bytes.size, limit, &test_log,
                        &error);
}

static void assert_read(size_t count)
{
    int err = read_tar(LIMIT);
    if (err)
        fail_msg("%s", error.message);
    assert_int_equal(tarball.count, count);
}

static void assert_refused(uint64_t limit, const char *why)
{
    assert_true(read_tar(limit) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    assert_non_null(strstr(error.message, "test.hermit"));
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
}

static void assert_file(const char *name, const char *content)
{
    const struct tarball_file *file = tarball_find(&tarball, name);
    if (!file)
        fail_msg("there is no '%s'", name);
    assert_int_equal(file->size, strlen(content));
    assert_memory_equal(file->data, content, file->size);
}

static void files_are_found_by_any_spelling(void **state)
{
    tar_add(&tar, "./", '5', "");
    tar_add(&tar, "./hermit.toml", '0', "config");
    tar_add(&tar, "app/", '5', "");
    tar_add(&tar, "app//data/./x", '\0', "old type");
    tar_add(&tar, "/kernel", '0', "absolute");
    tar_add(&tar, "empty", '0', "");
    tar_end(&tar);
    assert_read(4);
    assert_file("hermit.toml", "config");
    assert_file("/hermit.toml", "config");
    assert_file("./app/../hermit.toml", "config");
    assert_file("app/data/x", "old type");
    assert_file("kernel", "absolute");
    assert_file("empty", "");
    assert_null(tarball_find(&tarball, "app"));
    assert_null(tarball_find(&tarball, "app/data"));
    assert_null(tarball_find(&tarball, "kernel/x"));
    assert_null(tarball_find(&tarball, ""));
    assert_null(tarball_find(&tarball, "/"));
    assert_string_equal(tarball.files[0].name, "app/data/x");
    assert_string_equal(warning, "");
}

/* Files are not copied: the archive may be large. */
static void content_stays_where_it_is(void **state)
{
    tar_add(&tar, "file", '0', "content");
    tar_end(&tar);
    assert_read(1);
    assert_ptr_equal(tarball.files[0].data, tar.bytes.data + TAR_BLOCK);
}

static void the_last_of_equal_names_counts(void **state)
{
    tar_add(&tar, "a", '0', "first");
    tar_add(&tar, "b", '0', "other");
    tar_add(&tar, "./a", '0', "second");
    tar_add(&tar, "/x/../a", '0', "third");
    tar_end(&tar);
    assert_read(2);
    assert_file("a", "third");
    assert_file("b", "other");
}

static void names_that_lead_out_are_refused(void **state)
{
    static const char *const names[] = {"..", "../x", "a/../../x", ".", "/..", "a/.."};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        clear(NULL);
        tar_add(&tar, names[i], '0', "x");
        tar_end(&tar);
        assert_refused(LIMIT, "leads out of the archive");
    }
}

static void names_must_be_utf8(void **state)
{
    tar_add(&tar, "gr\xc3\xbc\xc3\x9f", '0', "x");
    tar_end(&tar);
    assert_read(1);
    assert_file("gr\xc3\xbc\xc3\x9f", "x");
    clear(NULL);
    tar_add(&tar, "gr\xfc\xdf", '0', "x");
    tar_end(&tar);
    assert_refused(LIMIT, "not UTF-8");
}

static void a_file_cannot_be_a_directory_too(void **state)
{
    tar_add(&tar, "a", '0', "x");
    tar_add(&tar, "a-b", '0', "x");
    tar_add(&tar,
            "a\x01"
            "b",
            '0', "x");
    tar_add(&tar, "ab/c", '0', "x");
    tar_end(&tar);
    assert_read(4);
    clear(NULL);
    tar_add(&tar, "d/a/x/y", '0', "x");
    tar_add(&tar, "d/a-b", '0', "x");
    tar_add(&tar, "d/a", '0', "x");
    tar_end(&tar);
    assert_refused(LIMIT, "'d/a' is a directory too");
}

static void other_things_are_left_out(void **state)
{
    tar_add(&tar, "file", '0', "x");
    tar_add(&tar, "hard", '1', "");
    tar_add(&tar, "soft", '2', "");
    tar_add(&tar, "device", '3', "");
    tar_add(&tar, "fifo", '6', "");
    tar_end(&tar);
    assert_read(1);
    assert_non_null(strstr(warning, "4 links or special files"));
}

/* GNU and pax forms of names that do not fit into a header, and the prefix of ustar. */
static void long_names_are_understood(void **state)
{
    char name[301], record[400];

    memset(name, 'n', 300);
    name[150] = '/';
    name[300] = '\0';
    tar_add_header(&tar, "././@LongLink", 'L', sizeof name);
    tar_add_content(&tar, name, sizeof name);
    tar_add(&tar, "nnnn", '0', "gnu");
    name[0] = 'p';
    snprintf(record, sizeof record, "310 path=%s\n", name);
    assert_int_equal(strlen(record), 310);
    tar_add(&tar, "pax", 'x', record);
    tar_add(&tar, "pppp", '0', "pax");
    tar_add(&tar, "base", '0', "ustar");
    size_t header = tar.bytes.size - 2 * TAR_BLOCK;
    strcpy(tar.bytes.data + header + 345, "some/prefix");
    tar_fix_checksum(&tar, header);
    tar_end(&tar);
    assert_read(3);
    assert_file(name, "pax");
    name[0] = 'n';
    assert_file(name, "gnu");
    assert_file("some/prefix/base", "ustar");

    char longer[4097];
    for (size_t size = 4096; size <= 4097; size++) { /* with the terminator */
        clear(NULL);
        memset(longer, 'n', sizeof longer);
        longer[size - 1] = '\0';
        tar_add_header(&tar, "././@LongLink", 'L', size);
        tar_add_content(&tar, longer, size);
        tar_add(&tar, "nnnn", '0', "gnu");
        tar_end(&tar);
        if (size == 4096)
            assert_read(1);
    }
    assert_refused(LIMIT, "more than 4095 bytes");
}

static void pax_names_keep_their_bytes(void **state)
{
    tar_add(&tar, "pax", 'x', "17 path=gr\xc3\xbc\xc3\x9f.x\n");
    tar_add(&tar, "pppp", '0', "pax");
    tar_end(&tar);
    assert_read(1);
    assert_file("gr\xc3\xbc\xc3\x9f.x", "pax");
}

/* Two pieces of 5 bytes in a file of 1,000 (GNU "old" format). */
static void add_sparse(const char *size)
{
    tar_add(&tar, "sparse", 'S', "HELLOWORLD");
    char *header = tar.bytes.data + tar.bytes.size - 2 * TAR_BLOCK;
    memcpy(header + 257, "ustar  ", 8);
    strcpy(header + 386, "00000000144"); /* 100 */
    strcpy(header + 398, "00000000005");
    strcpy(header + 410, "00000000310"); /* 200 */
    strcpy(header + 422, "00000000005");
    strcpy(header + 483, size);
    tar_fix_checksum(&tar, tar.bytes.size - 2 * TAR_BLOCK);
    tar_end(&tar);
}

static void sparse_files_are_filled(void **state)
{
    add_sparse("00000001750"); /* 1000 */
    assert_read(1);
    const struct tarball_file *file = tarball_find(&tarball, "sparse");
    assert_int_equal(file->size, 1000);
    assert_memory_equal(file->data + 100, "HELLO", 6);
    assert_memory_equal(file->data + 200, "WORLD", 6);
    assert_int_equal(file->data[0] | file->data[99] | file->data[999], 0);
    assert_refused(999, "--limit-image");
}

/* A small archive can hold large files: what counts is what they become. */
static void sparse_bombs_are_refused(void **state)
{
    add_sparse("77777777777"); /* 8 GiB */
    assert_refused(UINT64_C(1) << 30, "--limit-image");
    clear(NULL);
    add_sparse("00000000146"); /* 102: the pieces are outside of the file */
    assert_refused(LIMIT, "lies outside");
    clear(NULL);
    add_sparse("00000000310"); /* 200: only one of them */
    assert_refused(LIMIT, "lies outside");
}

static void all_files_together_are_limited(void **state)
{
    tar_add(&tar, "a", '0', "12345");
    tar_add(&tar, "b", '0', "");
    tar_add(&tar, "c", '0', "12345");
    tar_end(&tar);
    assert_int_equal(read_tar(10), 0);
    assert_refused(9, "--limit-image");
}

static void every_cut_is_noticed(void **state)
{
    tar_add(&tar, "dir/", '5', "");
    tar_add(&tar, "dir/a", '0', "content of a");
    tar_add_header(&tar, "b", '0', 3000);
    char zeros[3000] = "";
    tar_add_content(&tar, zeros, sizeof zeros);
    tar_add(&tar, "pax", 'x', "19 path=some/other\n");
    tar_add(&tar, "c", '0', "");
    tar_end(&tar);
    assert_read(3);
    size_t whole = tar.bytes.size;
    for (size_t size = 0; size < whole; size += 256) {
        tar.bytes.size = size;
        /* One block of zeros is enough of an end. */
        if (size == whole - TAR_BLOCK)
            assert_read(3);
        else
            assert_refused(LIMIT, "corrupt");
    }
}

static void a_header_without_its_file_is_noticed(void **state)
{
    tar_add(&tar, "a", '0', "x");
    tar_add(&tar, "pax", 'x', "19 path=some/other\n");
    tar_end(&tar);
    assert_refused(LIMIT, "corrupt");
}

static void names_of_no_file(void **state)
{
    char longer[TARBALL_NAME_MAX + 10];

    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    tar_add(&tar, "a", '0', "x");
    tar_end(&tar);
    assert_read(1);
    assert_null(tarball_find(&tarball, longer));
    assert_null(tarball_find(&tarball, "\xff"));
    assert_null(tarball_find(&tarball, ""));
    assert_null(tarball_find(&tarball, "b"));
}

static void damaged_headers_are_noticed(void **state)
{
    tar_add(&tar, "a", '0', "x");
    tar_add(&tar, "b", '0', "y");
    tar_end(&tar);
    assert_read(2);
    for (size_t i = 0; i < TAR_BLOCK; i += 3) {
        tar.bytes.data[2 * TAR_BLOCK + i] ^= 0x04;
        assert_true(read_tar(LIMIT) < 0);
        assert_non_null(strstr(error.message, "corrupt"));
        tar.bytes.data[2 * TAR_BLOCK + i] ^= 0x04;
    }
}

static void impossible_sizes_are_refused(void **state)
{
    tar_add_header(&tar, "a", '0', UINT64_C(0777777777));
    tar_end(&tar);
    assert_true(read_tar(UINT64_MAX) < 0);
    clear(NULL);
    tar_add(&tar, "a", '0', "x");
    memcpy(tar.bytes.data + 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0", 12);
    tar_fix_checksum(&tar, 0);
    tar_end(&tar);
    assert_true(read_tar(UINT64_MAX) < 0);
}

/* libarchive reads a header that belongs to the next one by recursion. */
static void endless_extensions_are_refused(void **state)
{
    for (int i = 0; i < 10000; i++)
        tar_add(&tar, "././@LongLink", 'L', "name");
    tar_add(&tar, "a", '0', "x");
    tar_end(&tar);
    assert_refused(LIMIT, "corrupt");
}

static void too_many_entries_are_refused(void **state)
{
    tar_add(&tar, "a", '0', "");
    char header[TAR_BLOCK];
    memcpy(header, tar.bytes.data, sizeof header);
    for (int i = 1; i < TARBALL_ENTRIES_MAX; i++)
        text_add_bytes(&tar.bytes, header, sizeof header);
    tar_end(&tar);
    assert_read(1);
    tar.bytes.size -= 2 * TAR_BLOCK;
    text_add_bytes(&tar.bytes, header, sizeof header);
    tar_end(&tar);
    assert_refused(LIMIT, "more than 131072 files");
}

static void what_is_no_archive_is_refused(void **state)
{
    char *noise = malloc(4096);
    memset(noise, 'n', 4096);
    text_add_bytes(&tar.bytes, noise, 4096);
    free(noise);
    assert_refused(LIMIT, "corrupt");
    text_free(&tar.bytes);
    assert_refused(LIMIT, "corrupt");
    tar_end(&tar);
    tar_end(&tar);
    assert_read(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(files_are_found_by_any_spelling, clear),
        cmocka_unit_test_teardown(content_stays_where_it_is, clear),
        cmocka_unit_test_teardown(the_last_of_equal_names_counts, clear),
        cmocka_unit_test_teardown(names_that_lead_out_are_refused, clear),
        cmocka_unit_test_teardown(names_must_be_utf8, clear),
        cmocka_unit_test_teardown(a_file_cannot_be_a_directory_too, clear),
        cmocka_unit_test_teardown(other_things_are_left_out, clear),
        cmocka_unit_test_teardown(long_names_are_understood, clear),
        cmocka_unit_test_teardown(pax_names_keep_their_bytes, clear),
        cmocka_unit_test_teardown(sparse_files_are_filled, clear),
        cmocka_unit_test_teardown(sparse_bombs_are_refused, clear),
        cmocka_unit_test_teardown(all_files_together_are_limited, clear),
        cmocka_unit_test_teardown(every_cut_is_noticed, clear),
        cmocka_unit_test_teardown(a_header_without_its_file_is_noticed, clear),
        cmocka_unit_test_teardown(names_of_no_file, clear),
        cmocka_unit_test_teardown(damaged_headers_are_noticed, clear),
        cmocka_unit_test_teardown(impossible_sizes_are_refused, clear),
        cmocka_unit_test_teardown(endless_extensions_are_refused, clear),
        cmocka_unit_test_teardown(too_many_entries_are_refused, clear),
        cmocka_unit_test_teardown(what_is_no_archive_is_refused, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
