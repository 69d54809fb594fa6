/* Attributes and directory entries, byte for byte (spec/hypercalls.md sections 4.7 and 4.8). */
#include "unit.h"

#include "fs/encode.h"

static void attributes_of_a_host_file(void **state)
{
    const struct stat status = {
        .st_dev = 0x1112131415161718,
        .st_ino = 0x2122232425262728,
        .st_nlink = 0x31,
        .st_mode = 0100644,
        .st_uid = 0x41424344,
        .st_gid = 0x51525354,
        .st_rdev = 0x6162636465666768,
        .st_size = 0x7172737475767778,
        .st_blksize = 4096,
        .st_blocks = 0x8182,
        .st_atim = {-2, 0x11223344},
        .st_mtim = {0x0102030405060708, 999999999},
        .st_ctim = {1, 0},
    };
    static const uint8_t expected[120] = {
        0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, /* dev */
        0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, /* ino */
        0x31, 0,    0,    0,    0,    0,    0,    0,    /* nlink */
        0xa4, 0x81, 0,    0,                            /* mode */
        0x44, 0x43, 0x42, 0x41,                         /* uid */
        0x54, 0x53, 0x52, 0x51, 0,    0,    0,    0,    /* gid, padding */
        0x68, 0x67, 0x66, 0x65, 0x64, 0x63, 0x62, 0x61, /* rdev */
        0x78, 0x77, 0x76, 0x75, 0x74, 0x73, 0x72, 0x71, /* size */
        0,    0x10, 0,    0,    0,    0,    0,    0,    /* blksize */
        0x82, 0x81, 0,    0,    0,    0,    0,    0,    /* blocks */
        0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* atime */
        0x44, 0x33, 0x22, 0x11, 0,    0,    0,    0,    /* and nanoseconds, padding */
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* mtime */
        0xff, 0xc9, 0x9a, 0x3b, 0,    0,    0,    0,    /* and nanoseconds, padding */
        1,    0,    0,    0,    0,    0,    0,    0,    /* ctime */
    };
    struct hermit_attr attr;

    memset(&attr, 0xee, sizeof attr);
    encode_attr(&attr, &status);
    assert_memory_equal(&attr, expected, sizeof expected);
}

static void attributes_of_files_in_memory(void **state)
{
    static const struct {
        uint64_t size;
        int64_t blocks;
    } cases[] = {{0, 0}, {1, 1}, {512, 1}, {513, 2}, {1 << 20, 2048}};
    struct hermit_attr attr, expected = {.nlink = 1, .mode = 0100444, .blksize = 4096};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(&attr, 0xee, sizeof attr);
        encode_attr_bytes(&attr, cases[i].size);
        expected.size = (int64_t)cases[i].size;
        expected.blocks = cases[i].blocks;
        assert_memory_equal(&attr, &expected, sizeof attr);
    }
}

static void attributes_of_directories_in_the_tree(void **state)
{
    static const struct timespec never, then = {7, 8};
    struct hermit_attr attr, expected = {.nlink = 2, .mode = 0040755, .blksize = 4096};

    memset(&attr, 0xee, sizeof attr);
    encode_attr_directory(&attr, 0, &never);
    assert_memory_equal(&attr, &expected, sizeof attr);
    encode_attr_directory(&attr, 9, &then);
    expected.ino = 9;
    expected.atime = expected.mtime = expected.ctime = 7;
    expected.atime_ns = expected.mtime_ns = expected.ctime_ns = 8;
    assert_memory_equal(&attr, &expected, sizeof attr);
}

static void entries(void **state)
{
    static const uint8_t expected[] = {
        8,  7, 6, 5,   4,   3,   2,   1,   0,   0,   0,   0, 0, 0, 0, 0, /* ino, off */
        32, 0, 8, 'f', 'i', 'l', 'e', '.', 't', 'x', 't', 0, 0, 0, 0, 0,
    };
    static const struct {
        size_t length, size;
    } sizes[] = {{1, 24}, {4, 24}, {5, 32}, {12, 32}, {13, 40}, {255, 280}};
    uint8_t bytes[40];

    memset(bytes, 0xee, sizeof bytes);
    encode_dirent(bytes, 0x0102030405060708, 8, "file.txt and more", 8);
    assert_memory_equal(bytes, expected, sizeof expected);
    assert_int_equal(bytes[32], 0xee);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(encode_dirent_size(sizes[i].length), sizes[i].size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_of_a_host_file),
        cmocka_unit_test(attributes_of_files_in_memory),
        cmocka_unit_test(attributes_of_directories_in_the_tree),
        cmocka_unit_test(entries),
    };
    return cmocka_run_group_tests_name("encode", tests, NULL, NULL);
}
