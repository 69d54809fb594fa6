/* A Hermit image as a whole: its configuration, and the kernel that this names. */
#include "unit.h"

#include "image/hermit_image.h"
#include "tar_builder.h"

#define LIMIT  (1 << 20)
#define CONFIG "version = '1'\nkernel = '%s'\n[input]\nkernel_args = []\napp_args = []\n"

static struct uhyve_error error;
static struct hermit_image image;
static struct tar_builder tar;

static int clear(void **state)
{
    hermit_image_free(&image);
    text_free(&tar.bytes);
    return 0;
}

static void add_config(const char *kernel)
{
    struct text config = {0};

    text_printf(&config, CONFIG, kernel);
    tar_add(&tar, "hermit.toml", '0', config.data);
    text_free(&config);
}

/* Read it packed, and forget the archive. */
static int read_image(void)
{
    static const struct log quiet;
    struct text packed = {0};
    struct image file;

    tar_end(&tar);
    compress_gzip(&packed, tar.bytes.data, tar.bytes.size);
    image_from_memory(&file, "app.hermit", packed.data, packed.size);
    error = (struct uhyve_error){0};
    int err = hermit_image_read(&image, &file, UNPACK_GZIP, LIMIT, &quiet, &error);
    image_close(&file);
    text_free(&packed);
    text_free(&tar.bytes);
    return err;
}

static void assert_refused(const char *why)
{
    assert_true(read_image() < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    assert_non_null(strstr(error.message, "'app.hermit'"));
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
}

static void the_kernel_is_found(void **state)
{
    tar_add(&tar, "boot/kernel", '0', "ELF");
    add_config("./boot//kernel");
    assert_int_equal(read_image(), 0);
    assert_int_equal(image.format, UNPACK_GZIP);
    assert_non_null(image.kernel);
    assert_string_equal(image.kernel_path, "app.hermit:boot/kernel");
    assert_int_equal(image.kernel->size, 3);
    assert_memory_equal(image.kernel->data, "ELF", 3);
    assert_int_equal(image.files.count, 2);
}

static void a_kernel_that_is_missing(void **state)
{
    add_config("boot/kernel");
    assert_refused("the kernel 'boot/kernel' that its hermit.toml names is not in it");
}

static void a_configuration_that_is_missing(void **state)
{
    tar_add(&tar, "boot/kernel", '0', "ELF");
    assert_refused("has no hermit.toml");
}

static void a_configuration_that_is_wrong(void **state)
{
    tar_add(&tar, "hermit.toml", '0', "version = 1\n");
    assert_refused("hermit.toml:1: ");
}

static void no_archive_inside(void **state)
{
    text_add(&tar.bytes, "noise");
    assert_refused("is corrupt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_kernel_is_found, clear),
        cmocka_unit_test_teardown(a_kernel_that_is_missing, clear),
        cmocka_unit_test_teardown(a_configuration_that_is_missing, clear),
        cmocka_unit_test_teardown(a_configuration_that_is_wrong, clear),
        cmocka_unit_test_teardown(no_archive_inside, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
