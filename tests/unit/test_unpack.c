/* Recognising and unpacking gzip, zstd and plain archives, and refusing damaged ones. */
#include "unit.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/unpack.h"
#include "tar_builder.h"

#define LIMIT (1 << 20)

static struct uhyve_error error;
static struct text content; /* what is packed */

static int make_content(void **state)
{
    struct tar_builder tar = {0};
    char line[64];

    tar_add_header(&tar, "numbers", '0', 100000);
    for (int i = 0; i < 10000; i++) {
        snprintf(line, sizeof line, "%09d\n", i * 7919);
        text_add(&tar.bytes, line);
    }
    tar_add_content(&tar, NULL, 0);
    content = tar.bytes;
    return content.failed;
}

static int free_content(void **state)
{
    text_free(&content);
    return 0;
}

static enum unpack_format detect(const void *bytes, size_t size)
{
    struct image image;
    enum unpack_format format = UNPACK_UNKNOWN;

    image_from_memory(&image, "test", bytes, size);
    assert_int_equal(unpack_detect(&image, &format, &error), 0);
    return format;
}

/* Unpack; returns the result of unpack_all and keeps nothing. */
static int unpack(const struct text *packed, uint64_t limit, const struct text *expected)
{
    struct image image;
    uint8_t *data;
    size_t size;

    memset(&error, 0, sizeof error);
    image_from_memory(&image, "test.hermit", packed->data, packed->size);
    int err = unpack_all(&image, detect(packed->data, packed->size), limit, &data, &size, &error);
    if (err) {
        assert_null(data);
        assert_non_null(strstr(error.message, "test.hermit"));
    } else if (expected) {
        assert_int_equal(size, expected->size);
        assert_memory_equal(data, expected->data, size);
    }
    free(data);
    return err;
}

static void assert_refused(const struct text *packed, uint64_t limit, const char *why)
{
    assert_true(unpack(packed, limit, NULL) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
}

static void formats_are_recognised_by_content(void **state)
{
    char v7[TAR_BLOCK];

    assert_int_equal(detect("\x1f\x8b\x08\x00", 4), UNPACK_GZIP);
    assert_int_equal(detect("\x1f\x8b\x07\x00", 4), UNPACK_UNKNOWN);
    assert_int_equal(detect("\x28\xb5\x2f\xfd", 4), UNPACK_ZSTD);
    assert_int_equal(detect("\x7f"
                            "ELF",
                            4),
                     UNPACK_UNKNOWN);
    assert_int_equal(detect("", 0), UNPACK_UNKNOWN);
    assert_int_equal(detect("\x1f\x8b", 2), UNPACK_UNKNOWN);
    assert_int_equal(detect(content.data, content.size), UNPACK_TAR);
    assert_int_equal(detect(content.data, TAR_BLOCK - 1), UNPACK_UNKNOWN);
    /* Without a magic, the checksum tells. */
    memcpy(v7, content.data, sizeof v7);
    memset(v7 + 257, 0, 8);
    assert_int_equal(detect(v7, sizeof v7), UNPACK_UNKNOWN);
    struct tar_builder tar = {.bytes = {.data = v7, .size = sizeof v7}};
    tar_fix_checksum(&tar, 0);
    assert_int_equal(detect(v7, sizeof v7), UNPACK_TAR);
    memset(v7, 0, sizeof v7);
    assert_int_equal(detect(v7, sizeof v7), UNPACK_UNKNOWN);
}

static void everything_comes_out_again(void **state)
{
    struct text packed = {0};

    assert_int_equal(unpack(&content, LIMIT, &content), 0);
    compress_gzip(&packed, content.data, content.size);
    assert_int_equal(unpack(&packed, LIMIT, &content), 0);
    packed.size = 0;
    if (compress_zstd(&packed, content.data, content.size))
        assert_int_equal(unpack(&packed, LIMIT, &content), 0);
    text_free(&packed);
}

/* As cat or pigz make them; tar pads to whole records. */
static void several_members_and_padding_are_one_stream(void **state)
{
    struct text packed = {0};
    size_t half = content.size / 2;

    compress_gzip(&packed, content.data, half);
    compress_gzip(&packed, content.data + half, content.size - half);
    assert_int_equal(unpack(&packed, LIMIT, &content), 0);
    text_add_bytes(&packed, "\0\0\0\0\0", 5);
    assert_int_equal(unpack(&packed, LIMIT, &content), 0);
    text_add(&packed, "garbage");
    assert_refused(&packed, LIMIT, "corrupt");

    packed.size = 0;
    if (compress_zstd(&packed, content.data, half)) {
        compress_zstd(&packed, content.data + half, content.size - half);
        assert_int_equal(unpack(&packed, LIMIT, &content), 0);
        text_add(&packed, "garbage");
        assert_refused(&packed, LIMIT, "corrupt");
    }
    text_free(&packed);
}

/* At any byte near the ends, at some between. */
static void assert_truncation_noticed(struct text *packed)
{
    size_t whole = packed->size;

    for (size_t size = 4; size < whole; size += size < 64 || size + 100 > whole ? 1 : 97) {
        packed->size = size;
        assert_refused(packed, LIMIT, "truncated");
    }
}

static void every_truncation_is_noticed(void **state)
{
    struct text packed = {0};

    compress_gzip(&packed, content.data, content.size);
    assert_truncation_noticed(&packed);
    packed.size = 0;
    if (compress_zstd(&packed, content.data, content.size))
        assert_truncation_noticed(&packed);
    text_free(&packed);
}

/* As if somebody cut the file while it is read. */
static void a_file_that_shrinks_is_noticed(void **state)
{
    struct text packed[3] = {0};
    static const enum unpack_format formats[] = {UNPACK_TAR, UNPACK_GZIP, UNPACK_ZSTD};

    text_add_bytes(&packed[0], content.data, content.size);
    compress_gzip(&packed[1], content.data, content.size);
    bool zstd = compress_zstd(&packed[2], content.data, content.size);
    for (int i = 0; i < 2 + zstd; i++)
        for (size_t gone = 1; gone <= packed[i].size; gone += packed[i].size - 1) {
            int fd = memfd_create("test", MFD_CLOEXEC);
            uint8_t *data;
            size_t size = packed[i].size - gone;
            assert_int_equal(write(fd, packed[i].data, size), size);
            struct image image = {.path = "cut.hermit", .fd = fd, .size = packed[i].size};
            assert_true(unpack_all(&image, formats[i], LIMIT, &data, &size, &error) < 0);
            assert_null(data);
            assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
            assert_non_null(strstr(error.message, "'cut.hermit' is truncated"));
            image_close(&image);
        }
    for (int i = 0; i < 3; i++)
        text_free(&packed[i]);
}

/* A flipped bit anywhere in the packed data or its checksums. */
static void damage_is_noticed(void **state)
{
    struct text packed = {0};
    unsigned unnoticed = 0;

    compress_gzip(&packed, content.data, content.size);
    for (size_t i = 10; i < packed.size; i += 101) {
        packed.data[i] ^= 0x10;
        unnoticed += unpack(&packed, LIMIT, NULL) == 0;
        packed.data[i] ^= 0x10;
    }
    assert_int_equal(unnoticed, 0);
    packed.data[packed.size - 8] ^= 1; /* the checksum itself */
    assert_refused(&packed, LIMIT, "incorrect data check");
    packed.data[packed.size - 8] ^= 1;
    packed.data[packed.size - 1] ^= 1;
    assert_refused(&packed, LIMIT, "incorrect length check");
    text_free(&packed);
}

static void the_limit_holds_to_the_byte(void **state)
{
    struct text packed[3] = {0};

    text_add_bytes(&packed[0], content.data, content.size);
    compress_gzip(&packed[1], content.data, content.size);
    bool zstd = compress_zstd(&packed[2], content.data, content.size);
    for (int i = 0; i < 2 + zstd; i++) {
        assert_int_equal(unpack(&packed[i], content.size, &content), 0);
        assert_refused(&packed[i], content.size - 1, "--limit-image");
        assert_refused(&packed[i], 0, "--limit-image");
        assert_int_equal(unpack(&packed[i], UINT64_MAX, &content), 0);
    }
    for (int i = 0; i < 3; i++)
        text_free(&packed[i]);
}

/* A gigabyte of zeros in a megabyte: refused after the limit, not after the gigabyte. */
static void bombs_are_refused(void **state)
{
    struct text zeros = {0}, packed = {0}, bomb = {0};
    size_t size = 1 << 22;

    char *memory = calloc(1, size);
    text_add_bytes(&zeros, memory, size);
    free(memory);
    compress_gzip(&packed, zeros.data, zeros.size);
    for (int i = 0; i < 256; i++)
        text_add_bytes(&bomb, packed.data, packed.size);
    assert_refused(&bomb, 64 << 20, "unpacks to more than 64 MiB");
    packed.size = 0;
    bomb.size = 0;
    if (compress_zstd(&packed, zeros.data, zeros.size)) {
        for (int i = 0; i < 256; i++)
            text_add_bytes(&bomb, packed.data, packed.size);
        assert_refused(&bomb, 64 << 20, "unpacks to more than 64 MiB");
    }
    text_free(&zeros);
    text_free(&packed);
    text_free(&bomb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_recognised_by_content),
        cmocka_unit_test(everything_comes_out_again),
        cmocka_unit_test(several_members_and_padding_are_one_stream),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(a_file_that_shrinks_is_noticed),
        cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(the_limit_holds_to_the_byte),
        cmocka_unit_test(bombs_are_refused),
    };
    return cmocka_run_group_tests(tests, make_content, free_content);
}
