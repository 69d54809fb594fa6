/* Segments and relocations in guest memory (spec/boot.md sections 1.4 and 1.6). */
#include "unit.h"

#include <string.h>

#include "elf_builder.h"
#include "image/elf.h"

#define ADDRESS UINT64_C(0x40000) /* where the guest sees the kernel */

static struct elf_builder builder;
static struct uhyve_error error;
/* Guest memory: the kernel, and what must stay untouched around it. */
static struct {
    uint8_t before[4096];
    uint8_t kernel[BUILDER_MEMORY_SIZE];
    uint8_t after[4096];
} memory;

static int load(void)
{
    struct image image = builder_image(&builder);
    struct elf elf;

    memset(&memory, 0, sizeof memory);
    memset(memory.before, 0x5a, sizeof memory.before);
    memset(memory.after, 0x5a, sizeof memory.after);
    memset(&error, 0, sizeof error);
    if (elf_read(&image, &elf, &error) != 0)
        fail_msg("%s", error.message);
    int err = elf_load(&elf, &image, memory.kernel, ADDRESS, &error);
    for (size_t i = 0; i < sizeof memory.before; i++)
        assert_true(memory.before[i] == 0x5a && memory.after[i] == 0x5a);
    return err;
}

static void assert_loaded(void)
{
    if (load() != 0)
        fail_msg("%s", error.message);
}

static void assert_refused(const char *why)
{
    assert_true(load() < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
}

static uint64_t word(uint64_t offset)
{
    uint64_t value;
    memcpy(&value, memory.kernel + offset, sizeof value);
    return value;
}

static int start(void **state)
{
    builder_init(&builder, ET_DYN, 2);
    /* 1 defined, 2 weak and undefined, 3 undefined, 4 absolute, 5 weak and defined */
    builder_symbol(&builder, 1, STB_GLOBAL, 1, 0x30);
    builder_symbol(&builder, 2, STB_WEAK, SHN_UNDEF, 0);
    builder_symbol(&builder, 3, STB_GLOBAL, SHN_UNDEF, 0);
    builder_symbol(&builder, 4, STB_GLOBAL, SHN_ABS, 0x1234);
    builder_symbol(&builder, 5, STB_WEAK, 1, 0x38);
    return 0;
}

static void segments_are_copied_and_the_rest_is_zero(void **state)
{
    for (unsigned i = 0; i < 16; i++)
        *builder_kernel(&builder, i) = (uint8_t)(i + 1);
    assert_loaded();
    assert_memory_equal(memory.kernel, builder_kernel(&builder, 0), BUILDER_KERNEL_SIZE);
    for (size_t i = BUILDER_KERNEL_SIZE; i < BUILDER_MEMORY_SIZE; i++)
        assert_int_equal(memory.kernel[i], 0);
}

static void fixed_kernel_goes_to_its_offset_unrelocated(void **state)
{
    builder_init(&builder, ET_EXEC, 2);
    builder_segment(&builder, 1)->p_memsz = BUILDER_KERNEL_SIZE;
    Elf64_Phdr *more = builder_add(&builder, builder_segment(&builder, 1));
    more->p_vaddr += 0x800;
    more->p_filesz = 0x10;
    for (unsigned i = 0; i < 16; i++)
        *builder_kernel(&builder, i) = (uint8_t)(i + 1);
    assert_loaded();
    assert_memory_equal(memory.kernel, builder_kernel(&builder, 0), BUILDER_KERNEL_SIZE);
    assert_memory_equal(memory.kernel + 0x800, builder_kernel(&builder, 0), 0x10);
    assert_int_equal(memory.kernel[0x810], 0);
    assert_int_equal(memory.kernel[0x7ff], 0);
}

static void relocations_store_address_symbol_and_addend(void **state)
{
    builder_rela(&builder, BUILDER_DATA, R_X86_64_RELATIVE, 0, 0x10);
    builder_rela(&builder, BUILDER_DATA + 8, R_X86_64_64, 1, 4);
    builder_rela(&builder, BUILDER_DATA + 16, R_X86_64_GLOB_DAT, 1, 0);
    builder_rela(&builder, BUILDER_DATA + 24, R_X86_64_64, 5, -0x18);
    builder_rela(&builder, BUILDER_DATA + 33, R_X86_64_RELATIVE, 0, -0x10); /* unaligned */
    memset(builder_kernel(&builder, BUILDER_DATA), 0xee, 64); /* what was there does not matter */
    assert_loaded();
    assert_int_equal(word(BUILDER_DATA), ADDRESS + 0x10);
    assert_int_equal(word(BUILDER_DATA + 8), ADDRESS + 0x30 + 4);
    assert_int_equal(word(BUILDER_DATA + 16), ADDRESS + 0x30);
    assert_int_equal(word(BUILDER_DATA + 24), ADDRESS + 0x38 - 0x18);
    assert_int_equal(word(BUILDER_DATA + 33), ADDRESS - 0x10);
    assert_int_equal(memory.kernel[BUILDER_DATA + 32], 0xee);
    assert_int_equal(memory.kernel[BUILDER_DATA + 41], 0xee);
}

static void relocation_arithmetic_wraps(void **state)
{
    builder_rela(&builder, BUILDER_DATA, R_X86_64_RELATIVE, 0, INT64_MIN);
    builder_rela(&builder, BUILDER_DATA + 8, R_X86_64_RELATIVE, 0, -1);
    assert_loaded();
    assert_int_equal(word(BUILDER_DATA), ADDRESS + (UINT64_C(1) << 63));
    assert_int_equal(word(BUILDER_DATA + 8), ADDRESS - 1);
}

static void symbol_zero_is_the_load_address(void **state)
{
    builder_rela(&builder, BUILDER_DATA, R_X86_64_64, 0, 8);
    assert_loaded();
    assert_int_equal(word(BUILDER_DATA), ADDRESS + 8);
}

static void weak_undefined_symbols_stay_zero(void **state)
{
    builder_rela(&builder, BUILDER_DATA, R_X86_64_64, 2, 0);
    builder_rela(&builder, BUILDER_DATA + 8, R_X86_64_GLOB_DAT, 2, 0);
    assert_loaded();
    assert_int_equal(word(BUILDER_DATA), 0);
    assert_int_equal(word(BUILDER_DATA + 8), 0);
    *builder_kernel(&builder, BUILDER_DATA + 15) = 1;
    assert_refused("not zero");
}

static void bad_symbols_are_refused(void **state)
{
    /* The last index whose entry ends inside the kernel, and those behind it. */
    static const uint32_t beyond[] = {(BUILDER_MEMORY_SIZE - BUILDER_SYMTAB) / 24, 0x10000000,
                                      UINT32_MAX};
    builder_rela(&builder, BUILDER_DATA, R_X86_64_64, 3, 0);
    assert_refused("undefined symbol");
    for (size_t i = 0; i < 3; i++) {
        start(state);
        builder_rela(&builder, BUILDER_DATA, R_X86_64_GLOB_DAT, beyond[i], 0);
        assert_refused("does not exist");
    }
    start(state);
    builder_rela(&builder, BUILDER_DATA, R_X86_64_64, 1, 0);
    builder_dynamic(&builder, DT_SYMTAB, UINT64_MAX - 23);
    assert_refused("does not exist");
    start(state);
    builder_rela(&builder, BUILDER_DATA, R_X86_64_64, 1, 0);
    builder_dynamic(&builder, DT_SYMTAB, 0);
    assert_refused("does not exist");
}

static void addend_of_glob_dat_must_be_zero(void **state)
{
    builder_rela(&builder, BUILDER_DATA, R_X86_64_GLOB_DAT, 1, 1);
    assert_refused("addend");
}

static void other_types_are_refused(void **state)
{
    for (uint32_t type = 0; type < 64; type++) {
        if (type == R_X86_64_64 || type == R_X86_64_GLOB_DAT || type == R_X86_64_RELATIVE)
            continue;
        start(state);
        builder_rela(&builder, BUILDER_DATA, type, 1, 0);
        assert_refused("has a type");
    }
}

static void targets_must_be_inside_the_kernel(void **state)
{
    static const uint64_t outside[] = {BUILDER_MEMORY_SIZE - 7, BUILDER_MEMORY_SIZE, UINT64_MAX - 7,
                                       UINT64_MAX};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        start(state);
        builder_rela(&builder, outside[i], R_X86_64_RELATIVE, 0, 0);
        assert_refused("points outside");
    }
    start(state);
    builder_rela(&builder, BUILDER_MEMORY_SIZE - 8, R_X86_64_RELATIVE, 0, 1);
    assert_loaded();
    assert_int_equal(word(BUILDER_MEMORY_SIZE - 8), ADDRESS + 1);
}

static void table_must_be_inside_the_kernel(void **state)
{
    static const struct {
        uint64_t address, size;
    } outside[] = {
        {BUILDER_MEMORY_SIZE - 23, 24}, {BUILDER_MEMORY_SIZE, 24},           {UINT64_MAX - 23, 24},
        {0x100, UINT64_MAX - 15},       {24, BUILDER_MEMORY_SIZE / 24 * 24},
    };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        start(state);
        builder_dynamic(&builder, DT_RELA, outside[i].address);
        builder_dynamic(&builder, DT_RELASZ, outside[i].size);
        assert_refused("table is outside");
    }
}

static void table_may_rewrite_itself(void **state)
{
    /* The first entry replaces the target of the second by an address far outside. */
    builder_rela(&builder, BUILDER_RELA + 24, R_X86_64_RELATIVE, 0, INT64_MAX);
    builder_rela(&builder, BUILDER_DATA, R_X86_64_RELATIVE, 0, 0);
    assert_refused("points outside");
}

static void file_that_shrinks_after_the_check_is_noticed(void **state)
{
    struct image image = builder_image(&builder);
    struct elf elf;
    assert_int_equal(elf_read(&image, &elf, &error), 0);
    image.size--;
    assert_true(elf_load(&elf, &image, memory.kernel, ADDRESS, &error) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    assert_non_null(strstr(error.message, "truncated"));
}

/* elf_read never gives one; elf_load does not rely on that. */
static void segments_outside_the_kernel_are_refused(void **state)
{
    struct image image = builder_image(&builder);
    struct elf elf;
    assert_int_equal(elf_read(&image, &elf, &error), 0);
    for (int below = 0; below <= 1; below++) {
        struct elf wrong = elf;
        wrong.load[0].vaddr = below ? elf.start - 1 : elf.start + elf.size;
        memset(&error, 0, sizeof error);
        assert_true(elf_load(&wrong, &image, memory.kernel, ADDRESS, &error) < 0);
        assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
        assert_non_null(strstr(error.message, "outside the kernel"));
    }
}

#define TEST(name) cmocka_unit_test_setup(name, start)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(segments_are_copied_and_the_rest_is_zero),
        TEST(fixed_kernel_goes_to_its_offset_unrelocated),
        TEST(relocations_store_address_symbol_and_addend),
        TEST(relocation_arithmetic_wraps),
        TEST(symbol_zero_is_the_load_address),
        TEST(weak_undefined_symbols_stay_zero),
        TEST(bad_symbols_are_refused),
        TEST(addend_of_glob_dat_must_be_zero),
        TEST(other_types_are_refused),
        TEST(targets_must_be_inside_the_kernel),
        TEST(table_must_be_inside_the_kernel),
        TEST(table_may_rewrite_itself),
        TEST(segments_outside_the_kernel_are_refused),
        TEST(file_that_shrinks_after_the_check_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
