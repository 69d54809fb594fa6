/* Placement in guest-physical memory (spec/boot.md sections 2 and 3). */
#include "unit.h"

#include <string.h>

#include "boot/layout.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

static const struct log silent;
static struct layout layout;
static struct uhyve_error error;
static uint64_t asked_limit; /* what a fake source of randomness was asked for last */

static uint64_t random_zero(uint64_t limit)
{
    asked_limit = limit;
    return 0;
}

static uint64_t random_limit(uint64_t limit)
{
    asked_limit = limit;
    return limit;
}

static uint64_t random_middle(uint64_t limit)
{
    asked_limit = limit;
    return limit / 2;
}

static struct elf relocatable(unsigned interface, uint64_t size)
{
    return (struct elf){.relocatable = true, .entry = 0x100, .size = size, .interface = interface};
}

static struct elf fixed(unsigned interface, uint64_t start, uint64_t size)
{
    return (struct elf){
        .start = start, .entry = start + 0x100, .size = size, .interface = interface};
}

static int choose(const struct elf *elf, uint64_t memory, uint64_t fdt, layout_random_fn random)
{
    memset(&layout, 0, sizeof layout);
    memset(&error, 0, sizeof error);
    return layout_choose(&layout, elf, "built", memory, fdt, random, &silent, &error);
}

static void assert_chosen(const struct elf *elf, uint64_t memory, uint64_t fdt,
                          layout_random_fn random)
{
    if (choose(elf, memory, fdt, random) != 0)
        fail_msg("%s", error.message);
}

static void assert_refused(const struct elf *elf, uint64_t memory, uint64_t fdt, const char *why)
{
    assert_true(choose(elf, memory, fdt, NULL) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    if (!strstr(error.message, why))
        fail_msg("'%s' is not in: %s", why, error.message);
}

/* The parts a guest or the VMM writes before the kernel runs; none may overlap another. */
static void assert_disjoint(void)
{
    const struct {
        gpa_t start, end;
    } part[] = {
        {layout.gdt, layout.gdt + 24},
        {layout.idt, layout.idt + 32 * 16},
        {layout.exception_stubs, layout.exception_stubs + 32 * 8},
        {layout.fdt, layout.fdt + layout.fdt_capacity},
        {layout.boot_info, layout.boot_info + 128},
        {layout.pml4, layout.pml4 + 4096},
        {layout.tables, layout.tables_end},
        {layout.stack, layout.stack + LAYOUT_STACK_SIZE},
        {layout.kernel_start, layout.kernel_end},
        {layout.archive, layout.archive + layout.archive_size},
    };
    size_t count = sizeof part / sizeof *part - (layout.archive_size == 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(part[i].start >= layout.ram_base);
        assert_true(part[i].end <= layout.ram_base + layout.ram_size);
        for (size_t j = 0; j < i; j++)
            assert_true(part[i].start >= part[j].end || part[j].start >= part[i].end);
    }
}

static void relocatable_kernels_without_aslr(void **state)
{
    static const struct {
        unsigned interface;
        uint64_t base;
    } cases[] = {{1, 0}, {2, 4 * GIB}, {3, 4 * GIB}};
    for (size_t i = 0; i < 3; i++) {
        struct elf elf = relocatable(cases[i].interface, 0x9c600); /* hello_world's size */
        gpa_t base = cases[i].base;
        assert_chosen(&elf, 64 * MIB, 0x1000, NULL);
        assert_int_equal(layout.ram_base, base);
        assert_int_equal(layout.ram_size, 64 * MIB);
        assert_int_equal(layout.gdt, base);
        assert_int_equal(layout.fdt, base + 0x1000);
        assert_int_equal(layout.fdt_capacity, 0x4000);
        assert_int_equal(layout.boot_info, base + 0x5000);
        assert_int_equal(layout.pml4, base + 0x10000);
        assert_int_equal(layout.tables, base + 0x11000);
        assert_int_equal(layout.tables_end, base + 0x38000);
        assert_int_equal(layout.stack, base + 0x38000);
        assert_int_equal(layout.kernel_start, base + 0x40000);
        assert_int_equal(layout.kernel_end, base + 0x40000 + 0x9c600);
        assert_int_equal(layout.entry, base + 0x40000 + 0x100);
        assert_disjoint();
    }
}

static void aslr_stays_in_range_and_aligned(void **state)
{
    static const struct {
        unsigned interface;
        uint64_t low, high;
    } ranges[] = {{1, 0, 3 * GIB - 1}, {2, 4 * GIB, 64 * GIB}, {3, 4 * GIB, 64 * GIB}};
    for (size_t i = 0; i < 3; i++) {
        struct elf elf = relocatable(ranges[i].interface, MIB);
        uint64_t upper = ranges[i].high - (MIB + 128 * MIB + 0x40000);

        assert_chosen(&elf, 128 * MIB, 0x1000, random_zero);
        assert_int_equal(asked_limit, upper - ranges[i].low);
        assert_int_equal(layout.ram_base, ranges[i].low);
        assert_int_equal(layout.kernel_start, layout.ram_base + 0x40000);

        assert_chosen(&elf, 128 * MIB, 0x1000, random_limit);
        assert_int_equal(layout.ram_base, upper & ~(2 * MIB - 1));
        assert_true(layout.ram_base + layout.ram_size <= ranges[i].high);
        assert_int_equal(layout.entry, layout.kernel_start + 0x100);
        assert_disjoint();

        assert_chosen(&elf, 128 * MIB, 0x1000, random_middle);
        assert_int_equal(layout.ram_base,
                         ranges[i].low + ((upper - ranges[i].low) / 2 & ~(2 * MIB - 1)));
        assert_disjoint();
    }
}

static void real_randomness_covers_its_range(void **state)
{
    static const uint64_t limits[] = {0, 1, 2, 4, 1000, 1ull << 36, UINT64_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        uint64_t highest = 0;
        for (int round = 0; round < 200; round++) {
            uint64_t value = layout_random(limits[i]);
            assert_true(value <= limits[i]);
            highest = value > highest ? value : highest;
        }
        assert_true(highest > limits[i] / 2 || limits[i] == 0); /* fails once in 2^200 */
    }
}

static void interface_1_ends_at_3_gib(void **state)
{
    struct elf elf = relocatable(1, MIB);
    assert_refused(&elf, 3 * GIB, 0x1000, "at most");
    assert_refused(&elf, 3 * GIB - 1, 0x1000, "at most");
    assert_chosen(&elf, 3 * GIB - 2 * MIB, 0x1000, random_limit);
    assert_int_equal(layout.ram_base, 0);
    assert_disjoint();
    assert_refused(&elf, UINT64_MAX, 0x1000, "at most");
    assert_non_null(strstr(error.message, "hypercall interface 1"));
}

static void interface_2_ends_at_64_gib(void **state)
{
    struct elf elf = relocatable(2, MIB);
    assert_refused(&elf, 60 * GIB, 0x1000, "at most");
    assert_chosen(&elf, 60 * GIB - 2 * MIB, 0x1000, random_limit);
    assert_int_equal(layout.ram_base, 4 * GIB);
}

/* To the byte, whatever the granularity of memory sizes elsewhere. */
static void largest_memory_leaves_one_place(void **state)
{
    struct elf elf = relocatable(2, MIB);
    uint64_t most = 60 * GIB - (MIB + 0x40000);
    assert_chosen(&elf, most, 0x1000, random_limit);
    assert_int_equal(asked_limit, 0);
    assert_int_equal(layout.ram_base, 4 * GIB);
    assert_refused(&elf, most + 1, 0x1000, "at most");
}

static void fixed_kernels_stay_where_they_were_linked(void **state)
{
    struct elf elf = fixed(1, 0x800000, 0x147480); /* hello_c */
    assert_chosen(&elf, 64 * MIB, 0x1000, random_limit);
    assert_int_equal(layout.ram_base, 0);
    assert_int_equal(layout.kernel_start, 0x800000);
    assert_int_equal(layout.kernel_end, 0x947480);
    assert_int_equal(layout.stack, 0x7f8000);
    assert_int_equal(layout.entry, 0x800100);
    assert_disjoint();
    elf = fixed(2, 4 * GIB + 8 * MIB, MIB);
    assert_chosen(&elf, 64 * MIB, 0x1000, NULL);
    assert_int_equal(layout.ram_base, 4 * GIB);
    assert_int_equal(layout.kernel_start, 4 * GIB + 8 * MIB);
}

static void fixed_kernels_at_impossible_places_are_refused(void **state)
{
    static const struct {
        unsigned interface;
        uint64_t start;
        const char *why;
    } cases[] = {
        {1, 0, "linked to address 0x0"},
        {1, 0x3ffff, "linked to address 0x3ffff"},       /* on the boot stack */
        {1, 4 * GIB, "linked to address 0x100000000"},   /* range of interface 2 */
        {2, 0x800000, "linked to address 0x800000"},     /* range of interface 1 */
        {2, 4 * GIB + 0x3ffff, "linked to address"},     /* on the boot stack */
        {1, UINT64_MAX - MIB, "linked to address 0xff"}, /* end wraps */
        {1, 64 * MIB, "does not fit"},                   /* behind the memory */
        {1, 63 * MIB + 1, "does not fit"},               /* end behind the memory */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct elf elf = fixed(cases[i].interface, cases[i].start, MIB);
        assert_refused(&elf, 64 * MIB, 0x1000, cases[i].why);
    }
    struct elf lowest = fixed(1, 0x40000, MIB), highest = fixed(1, 63 * MIB, MIB);
    assert_chosen(&lowest, 64 * MIB, 0x1000, NULL);
    assert_disjoint();
    assert_chosen(&highest, 64 * MIB, 0x1000, NULL);
    assert_disjoint();
}

static void kernels_larger_than_memory_are_refused(void **state)
{
    static const uint64_t sizes[] = {16 * MIB - 0x40000 + 1, 16 * MIB,  2 * GIB, 4 * GIB,
                                     UINT64_MAX - 0x40000,   UINT64_MAX};
    for (unsigned interface = 1; interface <= 3; interface++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct elf elf = relocatable(interface, sizes[i]);
            assert_refused(&elf, 16 * MIB, 0x1000, "does not fit");
        }
        struct elf elf = relocatable(interface, 16 * MIB - 0x40000);
        assert_chosen(&elf, 16 * MIB, 0x1000, NULL);
        assert_disjoint();
    }
}

static void large_device_tree_moves_up(void **state)
{
    struct elf elf = relocatable(2, MIB);
    assert_chosen(&elf, 64 * MIB, 0x4000, NULL);
    assert_int_equal(layout.fdt, layout.ram_base + 0x1000);

    assert_chosen(&elf, 64 * MIB, 0x5000, NULL);
    assert_int_equal(layout.fdt, layout.ram_base + LAYOUT_TABLES_END);
    assert_int_equal(layout.fdt_capacity, 0x5000);
    assert_disjoint();

    assert_chosen(&elf, 64 * MIB, 10 * MIB, random_limit);
    assert_int_equal(layout.fdt, layout.ram_base + LAYOUT_TABLES_END);
    assert_int_equal(layout.kernel_start % 0x40000, 0);
    assert_disjoint();

    assert_refused(&elf, 64 * MIB, 64 * MIB, "does not fit");
    assert_refused(&elf, 64 * MIB, UINT64_MAX, "does not fit");
    assert_refused(&elf, 64 * MIB, UINT64_MAX - LAYOUT_TABLES_END - LAYOUT_STACK_SIZE,
                   "does not fit");

    struct elf low = fixed(1, 0x100000, MIB);
    assert_chosen(&low, 64 * MIB, 0x80000, NULL);
    assert_disjoint();
    assert_refused(&low, 64 * MIB, 0x100000, "linked to address");
}

/* Behind the kernel, on a page of its own, and not beyond the end of RAM. */
static void archives_follow_the_kernel(void **state)
{
    static const uint64_t impossible[] = {63 * MIB, 64 * MIB, UINT64_MAX, UINT64_MAX - 4096};
    struct elf elf = relocatable(3, MIB + 1);

    assert_chosen(&elf, 64 * MIB, 0x1000, NULL);
    assert_int_equal(layout_add_archive(&layout, "built", 0, &error), 0);
    assert_int_equal(layout.archive_size, 0);
    assert_int_equal(layout_add_archive(&layout, "built", 1025, &error), 0);
    assert_int_equal(layout.archive, layout.ram_base + LAYOUT_KERNEL + MIB + 4096);
    assert_int_equal(layout.archive_size, 1025);
    assert_disjoint();
    uint64_t room = layout.ram_base + layout.ram_size - layout.archive;
    assert_int_equal(layout_add_archive(&layout, "built", room, &error), 0);
    assert_disjoint();
    assert_true(layout_add_archive(&layout, "built", room + 1, &error) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_BAD_IMAGE);
    assert_non_null(strstr(error.message, "does not fit"));
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++)
        assert_true(layout_add_archive(&layout, "built", impossible[i], &error) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relocatable_kernels_without_aslr),
        cmocka_unit_test(aslr_stays_in_range_and_aligned),
        cmocka_unit_test(real_randomness_covers_its_range),
        cmocka_unit_test(interface_1_ends_at_3_gib),
        cmocka_unit_test(interface_2_ends_at_64_gib),
        cmocka_unit_test(largest_memory_leaves_one_place),
        cmocka_unit_test(fixed_kernels_stay_where_they_were_linked),
        cmocka_unit_test(fixed_kernels_at_impossible_places_are_refused),
        cmocka_unit_test(kernels_larger_than_memory_are_refused),
        cmocka_unit_test(large_device_tree_moves_up),
        cmocka_unit_test(archives_follow_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
