/* The boot information block, byte by byte (spec/boot.md section 8.1). */
#include "unit.h"

#include <string.h>
#include <time.h>

#include "boot/boot_info.h"

static uint8_t bytes[128];

static uint64_t at(size_t offset, size_t size)
{
    uint64_t value = 0;
    memcpy(&value, bytes + offset, size);
    return value;
}

static void fill(const struct boot_facts *facts)
{
    struct hermit_boot_info info;
    memset(&info, 0xee, sizeof info);
    boot_info_fill(&info, facts);
    memcpy(bytes, &info, sizeof bytes);
}

static const struct layout layout = {
    .ram_base = 0x140000000,
    .ram_size = 0x20000000,
    .fdt = 0x140001000,
    .kernel_start = 0x140040000,
    .kernel_end = 0x1400dc600,
};

/* Values of the sample image hello_world. */
static const struct elf tls_kernel = {
    .relocatable = true,
    .interface = 3,
    .size = 0x9c600,
    .tls = {.vaddr = 0x906f8, .filesz = 0x20, .memsz = 0x81, .align = 8},
};

static void every_field_is_where_kernels_expect_it(void **state)
{
    const struct boot_facts facts = {&layout, &tls_kernel, 7, 2400000, true};
    struct timespec now;

    fill(&facts);
    assert_int_equal(at(0x00, 8), 0x140000000);
    assert_int_equal(at(0x08, 8), 0x160000000);
    assert_int_equal(at(0x10, 2), 0x1030);
    assert_int_equal(at(0x12, 6), 0);
    assert_int_equal(at(0x18, 8), 0x140001000);
    assert_int_equal(at(0x20, 8), 0x140040000);
    assert_int_equal(at(0x28, 8), 0x1400dc600);
    assert_int_equal(at(0x30, 8), 0x1400d06f8); /* relative to where the kernel was put */
    assert_int_equal(at(0x38, 8), 0x20);
    assert_int_equal(at(0x40, 8), 0x81);
    assert_int_equal(at(0x48, 8), 8);
    assert_int_equal(at(0x50, 4), 1);
    assert_int_equal(at(0x54, 4), 0);
    assert_int_equal(at(0x58, 1), 1);
    assert_int_equal(at(0x59, 7), 0);
    assert_int_equal(at(0x60, 8), 7);
    assert_int_equal(at(0x68, 4), 2400000);
    assert_int_equal(at(0x6c, 4), 0);

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t nanoseconds = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    assert_true(at(0x70, 8) <= nanoseconds);
    assert_true(at(0x70, 8) > nanoseconds - UINT64_C(60000000000));
    assert_int_equal(at(0x78, 8), 0);
}

static void interface_1_has_the_old_serial_port(void **state)
{
    struct elf elf = tls_kernel;
    const struct boot_facts facts = {&layout, &elf, 1, 0, false};
    elf.interface = 1;
    fill(&facts);
    assert_int_equal(at(0x10, 2), 0x800);
    assert_int_equal(at(0x58, 1), 0);
    assert_int_equal(at(0x68, 4), 0);
    elf.interface = 2;
    fill(&facts);
    assert_int_equal(at(0x10, 2), 0x1030);
}

static void tls_of_a_fixed_kernel_is_absolute(void **state)
{
    struct elf elf = tls_kernel;
    const struct boot_facts facts = {&layout, &elf, 1, 0, false};
    elf.relocatable = false;
    elf.tls = (struct elf_tls){.vaddr = 0x8ca000, .memsz = 4, .align = 4}; /* hello_c */
    fill(&facts);
    assert_int_equal(at(0x30, 8), 0x8ca000);
    assert_int_equal(at(0x38, 8), 0);
    assert_int_equal(at(0x40, 8), 4);
    assert_int_equal(at(0x48, 8), 4);
}

static void no_tls_is_all_zero(void **state)
{
    struct elf elf = tls_kernel;
    const struct boot_facts facts = {&layout, &elf, 1, 0, false};
    elf.tls = (struct elf_tls){0};
    fill(&facts);
    for (size_t offset = 0x30; offset < 0x50; offset += 8)
        assert_int_equal(at(offset, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_where_kernels_expect_it),
        cmocka_unit_test(interface_1_has_the_old_serial_port),
        cmocka_unit_test(tls_of_a_fixed_kernel_is_absolute),
        cmocka_unit_test(no_tls_is_all_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
