/* The device tree, read back with libfdt (spec/boot.md section 11). */
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <libfdt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/fdt.h"

static char tree[64 * 1024];

static const struct fdt_content typical = {
    .ram_base = UINT64_C(0x1de400000),
    .ram_size = 512 << 20,
    .cpu_count = 3,
    .tsc_khz = 2400000,
    .bootargs = "-freq 100 env=A=b -- x",
};

static int node(const char *path)
{
    int offset = fdt_path_offset(tree, path);
    if (offset < 0)
        fail_msg("%s: %s", path, fdt_strerror(offset));
    return offset;
}

static void assert_property(const char *path, const char *name, const void *value, int size)
{
    int length = 0;
    const void *found = fdt_getprop(tree, node(path), name, &length);
    if (!found)
        fail_msg("%s has no %s", path, name);
    assert_int_equal(length, size);
    assert_memory_equal(found, value, (size_t)size);
}

static void assert_string_property(const char *path, const char *name, const char *value)
{
    assert_property(path, name, value, (int)strlen(value) + 1);
}

static void assert_u32_property(const char *path, const char *name, uint32_t value)
{
    uint32_t word = htobe32(value);
    assert_property(path, name, &word, sizeof word);
}

static int child_count(const char *path)
{
    int count = 0, child;
    fdt_for_each_subnode(child, tree, node(path)) count++;
    return count;
}

static void whole_tree(void **state)
{
    const uint64_t reg[] = {htobe64(typical.ram_base), htobe64(typical.ram_size)};

    assert_int_equal(fdt_write(tree, 0x4000, &typical), 0);
    assert_int_equal(fdt_check_full(tree, 0x4000), 0);
    assert_int_equal(fdt_version(tree), 17);
    assert_int_equal(fdt_last_comp_version(tree), 16);
    assert_true(fdt_totalsize(tree) < 0x4000);
    assert_int_equal(fdt_num_mem_rsv(tree), 0);

    assert_string_property("/", "compatible", "hermit,uhyve");
    assert_u32_property("/", "#address-cells", 2);
    assert_u32_property("/", "#size-cells", 2);
    assert_string_property("/memory@1de400000", "device_type", "memory");
    assert_property("/memory@1de400000", "reg", reg, sizeof reg);
    assert_u32_property("/cpus", "#address-cells", 1);
    assert_u32_property("/cpus", "#size-cells", 0);
    assert_int_equal(child_count("/cpus"), 3);
    assert_string_property("/cpus/cpu@0", "device_type", "cpu");
    assert_string_property("/cpus/cpu@2", "device_type", "cpu");
    assert_u32_property("/hermit,tsc", "khz", 2400000);
    assert_string_property("/chosen", "bootargs", typical.bootargs);
    /* An empty mounts property makes kernels panic: without mounts there is no such node. */
    assert_true(fdt_path_offset(tree, "/uhyve,mounts") < 0);
    assert_int_equal(child_count("/"), 4);
}

static void unknown_frequency_has_no_node(void **state)
{
    struct fdt_content content = typical;
    content.tsc_khz = 0;
    assert_int_equal(fdt_write(tree, 0x4000, &content), 0);
    assert_true(fdt_path_offset(tree, "/hermit,tsc") < 0);
}

/* linux,initrd-end is the end itself; what is reserved are whole pages. */
static void an_archive_is_announced_and_reserved(void **state)
{
    const uint64_t start = htobe64(UINT64_C(0x1de500000)), end = htobe64(UINT64_C(0x1de501001));
    struct fdt_content content = typical;
    uint64_t address, size;

    content.archive = UINT64_C(0x1de500000);
    content.archive_size = 0x1001;
    assert_int_equal(fdt_write(tree, 0x4000, &content), 0);
    assert_int_equal(fdt_check_full(tree, 0x4000), 0);
    assert_property("/chosen", "linux,initrd-start", &start, sizeof start);
    assert_property("/chosen", "linux,initrd-end", &end, sizeof end);
    assert_int_equal(fdt_num_mem_rsv(tree), 1);
    assert_int_equal(fdt_get_mem_rsv(tree, 0, &address, &size), 0);
    assert_int_equal(address, content.archive);
    assert_int_equal(size, 0x2000);
}

static void memory_at_zero(void **state)
{
    struct fdt_content content = typical;
    content.ram_base = 0;
    assert_int_equal(fdt_write(tree, 0x4000, &content), 0);
    node("/memory@0");
}

/* Whatever the CPUs and arguments: a tree fits into the size predicted for it. */
static void size_bound_suffices(void **state)
{
    static const unsigned cpus[] = {1, 2, 9, 10, 99, 100, 256};
    char *bootargs = malloc(20001);
    struct fdt_content content = typical;

    content.ram_base = UINT64_MAX;
    content.archive = content.archive_size = UINT64_C(1) << 40;
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        for (size_t length = 0; length <= 20000; length += length < 5000 ? 1 : 997) {
            memset(bootargs, 'x', length);
            bootargs[length] = '\0';
            content.bootargs = bootargs;
            content.cpu_count = cpus[i];
            uint64_t bound = fdt_size_bound(cpus[i], length, 0);
            assert_true(bound <= sizeof tree);
            assert_int_equal(bound % 4096, 0);
            assert_int_equal(fdt_write(tree, bound, &content), 0);
            assert_true(fdt_totalsize(tree) < bound);
        }
    }
    free(bootargs);
}

static void too_little_room_is_an_error(void **state)
{
    assert_int_equal(fdt_write(tree, 0x4000, &typical), 0);
    uint64_t needed = fdt_totalsize(tree);
    for (uint64_t capacity = 0; capacity < needed; capacity++) {
        char *exact = malloc(capacity ? capacity : 1); /* for the address sanitizer */
        assert_int_equal(fdt_write(exact, capacity, &typical), -ENOSPC);
        free(exact);
    }
    assert_int_equal(fdt_write(tree, (uint64_t)INT_MAX + 1, &typical), -ENOSPC);
    assert_int_equal(fdt_write(tree, UINT64_MAX, &typical), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_tree),
        cmocka_unit_test(unknown_frequency_has_no_node),
        cmocka_unit_test(an_archive_is_announced_and_reserved),
        cmocka_unit_test(memory_at_zero),
        cmocka_unit_test(size_bound_suffices),
        cmocka_unit_test(too_little_room_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
