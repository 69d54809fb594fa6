/* Names of files as guests write them (spec/files.md section 1.1). */
#include "unit.h"

#include <errno.h>
#include <stdio.h>

#include "fs/guest_path.h"

static const struct {
    const char *path;
    const char *normal;
    bool is_name;
} paths[] = {
    {"/root//a/../b/", "root/b", true},
    {"root/b", "root/b", true},
    {"/", "", false},
    {"//", "", false},
    {"", ".", false},
    {".", ".", false},
    {"./", ".", false},
    {"a/..", ".", false},
    {"/a/..", "", false},
    {"..", "..", false},
    {"../x", "../x", false},
    {"../../x", "../../x", false},
    {"a/../../x", "../x", false},
    {"/..", "", false},
    {"/../../etc/passwd", "etc/passwd", true},
    {"/a/../../b", "b", true},
    {"/a/./b/.", "a/b", true},
    {"/a/b/../..", "", false},
    {"/a/b/../../c", "c", true},
    {"..x", "..x", true},
    {"/...", "...", true},
    {"/..x/y", "..x/y", true},
    {"/a.txt", "a.txt", true},
    {"/.hidden", ".hidden", true},
    {"/\xc3\xa9/\xe2\x82\xac", "\xc3\xa9/\xe2\x82\xac", true},
    {"/a b/\t", "a b/\t", true},
};

static void normal_forms(void **state)
{
    char normal[64];
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(guest_path_normalize(paths[i].path, normal, sizeof normal), 0);
        assert_string_equal(normal, paths[i].normal);
        assert_int_equal(guest_path_is_name(normal), paths[i].is_name);
    }
}

static void normal_forms_stay(void **state)
{
    char once[64], twice[64];
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_int_equal(guest_path_normalize(paths[i].path, once, sizeof once), 0);
        if (!*once)
            continue;
        assert_int_equal(guest_path_normalize(once, twice, sizeof twice), 0);
        assert_string_equal(once, twice);
    }
}

static void only_utf8(void **state)
{
    char normal[16];
    static const char *const bad[] = {"/\xff", "\xc3", "/a/\xc0\xaf", "/\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(guest_path_normalize(bad[i], normal, sizeof normal), -EINVAL);
}

/* It fits or it does not; nothing is written behind the end. */
static void every_capacity(void **state)
{
    static const char path[] = "/ab//cd/../efg/./h";
    char normal[32];
    for (size_t capacity = 0; capacity < sizeof normal; capacity++) {
        memset(normal, '#', sizeof normal);
        int err = guest_path_normalize(path, normal, capacity);
        assert_int_equal(err, capacity > strlen("ab/efg/h") ? 0 : -ENAMETOOLONG);
        for (size_t i = capacity; i < sizeof normal; i++)
            assert_int_equal(normal[i], '#');
    }
    assert_int_equal(guest_path_normalize("", normal, 2), 0);
    assert_string_equal(normal, ".");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normal_forms),
        cmocka_unit_test(normal_forms_stay),
        cmocka_unit_test(only_utf8),
        cmocka_unit_test(every_capacity),
    };
    return cmocka_run_group_tests_name("guest_path", tests, NULL, NULL);
}
