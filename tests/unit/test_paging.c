/* Boot page tables and the walk through a guest's own (spec/boot.md section 4, spec/hypercalls.md
 * section 1.3). */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "arch/x86_64/paging.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define POOL_PAGES 4

static struct ram ram;

static int allocate(void **state)
{
    static const struct ram_options options;
    return ram_alloc(&ram, *state ? *(gpa_t *)*state : 0, 2 * MIB, &options, NULL);
}

static int release(void **state)
{
    ram_free(&ram);
    return 0;
}

static uint64_t *table(gpa_t gpa)
{
    uint64_t *entries = ram_at(&ram, gpa, 4096);
    assert_non_null(entries);
    return entries;
}

static int map(gpa_t start, gpa_t last)
{
    memset(ram.host, 0, 0x40000);
    gpa_t base = ram.base;
    return paging_map_identity(&ram, base + 0x10000, base + 0x11000, base + 0x38000, start, last);
}

/* hello_c: base 0, a GiB of 2 MiB pages. */
static void worked_example_at_zero(void **state)
{
    assert_int_equal(map(0, GIB - 1), 0);
    assert_int_equal(table(0x10000)[0], 0x11003);
    assert_int_equal(table(0x10000)[511], 0x10003);
    for (unsigned i = 1; i < 511; i++)
        assert_int_equal(table(0x10000)[i], 0);
    assert_int_equal(table(0x11000)[0], 0x12003);
    assert_int_equal(table(0x11000)[1], 0);
    for (uint64_t i = 0; i < 512; i++)
        assert_int_equal(table(0x12000)[i], i * 0x200000 | 0x83);
    assert_int_equal(table(0x13000)[0], 0);
}

static void last_page_is_included(void **state)
{
    assert_int_equal(map(0, 2 * MIB - 1), 0);
    assert_int_equal(table(0x12000)[0], 0x83);
    assert_int_equal(table(0x12000)[1], 0);
    assert_int_equal(map(0, 2 * MIB), 0); /* floor(len / 2 MiB) + 1 pages */
    assert_int_equal(table(0x12000)[1], 0x200083);
    assert_int_equal(table(0x12000)[2], 0);
}

static gpa_t four_gib = UINT64_C(0x100000000);

static void memory_at_4_gib(void **state)
{
    gpa_t base = four_gib;
    assert_int_equal(map(base, base + 3 * MIB), 0);
    assert_int_equal(table(base + 0x10000)[0], (base + 0x11000) | 3);
    assert_int_equal(table(base + 0x10000)[511], (base + 0x10000) | 3);
    assert_int_equal(table(base + 0x11000)[4], (base + 0x12000) | 3);
    assert_int_equal(table(base + 0x11000)[0], 0);
    assert_int_equal(table(base + 0x12000)[0], base | 0x83);
    assert_int_equal(table(base + 0x12000)[1], (base + 2 * MIB) | 0x83);
    assert_int_equal(table(base + 0x12000)[2], 0);
}

static void range_over_a_gib_border(void **state)
{
    assert_int_equal(map(GIB - 2 * MIB, GIB), 0);
    assert_int_equal(table(0x11000)[0], 0x12003);
    assert_int_equal(table(0x11000)[1], 0x13003);
    assert_int_equal(table(0x12000)[510], 0);
    assert_int_equal(table(0x12000)[511], (GIB - 2 * MIB) | 0x83);
    assert_int_equal(table(0x13000)[0], GIB | 0x83);
    assert_int_equal(table(0x13000)[1], 0);
}

static void tables_run_out(void **state)
{
    /* One page of the pool is the PDPT, each of the others maps a GiB. */
    gpa_t end = 0x11000 + POOL_PAGES * 4096;
    uint64_t most = (POOL_PAGES - 1) * GIB;
    assert_int_equal(paging_map_identity(&ram, 0x10000, 0x11000, end, 0, most - 1), 0);
    memset(ram.host, 0, 0x40000);
    memset(ram.host + end, 0x77, 4096);
    assert_int_equal(paging_map_identity(&ram, 0x10000, 0x11000, end, 0, most), -ENOSPC);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(ram.host[end + i], 0x77); /* what is behind the pool is untouched */
    memset(ram.host, 0, 0x40000);
    assert_int_equal(paging_map_identity(&ram, 0x10000, 0x11000, 0x11000, 0, 0), -ENOSPC);
    assert_int_equal(paging_map_identity(&ram, 4 * MIB, 0x11000, end, 0, 0), -ENOSPC);
    memset(ram.host, 0, 0x40000);
    assert_int_equal(paging_map_identity(&ram, 0x10000, 4 * MIB, 5 * MIB, 0, 0), -ENOSPC);
}

static void boot_tables_translate(void **state)
{
    gpa_t gpa;
    uint64_t size;
    assert_int_equal(map(0, 4 * MIB - 1), 0);
    assert_true(paging_translate(&ram, 0x10000, 0x234567, &gpa, &size));
    assert_int_equal(gpa, 0x234567);
    assert_int_equal(size, 0x400000 - 0x234567);
    assert_false(paging_translate(&ram, 0x10000, 4 * MIB, &gpa, &size));
    /* The recursive entry shows the PML4 as the last page of the address space. */
    assert_true(paging_translate(&ram, 0x10000, UINT64_C(0xfffffffffffff008), &gpa, &size));
    assert_int_equal(gpa, 0x10008);
    assert_int_equal(size, 4096 - 8);
    /* ... and the page directory of the first GiB. */
    assert_true(paging_translate(&ram, 0x10000, UINT64_C(0xffffffffc0000000), &gpa, &size));
    assert_int_equal(gpa, 0x12000);
}

#define PML4 0x1000
#define PDPT 0x2000
#define PD   0x3000
#define PT   0x4000

static void link_tables(void)
{
    memset(ram.host, 0, 0x10000);
    table(PML4)[0] = PDPT | 1;
    table(PML4)[256] = PDPT | 1; /* first entry of the upper half */
    table(PDPT)[0] = PD | 1;
    table(PD)[0] = PT | 1;
}

static void assert_maps(gva_t gva, gpa_t expected, uint64_t rest)
{
    gpa_t gpa = 0;
    uint64_t size = 0;
    assert_true(paging_translate(&ram, PML4, gva, &gpa, &size));
    assert_int_equal(gpa, expected);
    assert_int_equal(size, rest);
}

static void assert_unmapped(gva_t gva)
{
    gpa_t gpa;
    uint64_t size;
    assert_false(paging_translate(&ram, PML4, gva, &gpa, &size));
}

static void leaves_of_every_size(void **state)
{
    link_tables();
    table(PT)[3] = 0x5000 | 1;
    table(PT)[4] = 0x6000 | 0x81; /* bit 7 of a 4 KiB leaf is a memory type, not a size */
    table(PD)[5] = 0x600000 | 0x81;
    table(PDPT)[7] = (3 * GIB) | 0x81;
    assert_maps(0x3000, 0x5000, 4096);
    assert_maps(0x3fff, 0x5fff, 1);
    assert_maps(0x4010, 0x6010, 4096 - 0x10);
    assert_maps(5 * 2 * MIB + 0x12345, 0x612345, 2 * MIB - 0x12345);
    assert_maps(7 * GIB + 0x1234567, 3 * GIB + 0x1234567, GIB - 0x1234567);
    assert_maps(UINT64_C(0xffff800000003004), 0x5004, 4096 - 4);
}

static void flags_around_the_frame_are_ignored(void **state)
{
    link_tables();
    table(PT)[0] = UINT64_C(0xfff0000000000000) | 0x5000 | 0xfff; /* NX, software bits, all flags */
    assert_maps(0, 0x5000, 4096);
    table(PD)[1] = 0x400000 | 0x1000 | 0x81; /* bit 12 of a large leaf: memory type */
    assert_maps(2 * MIB, 0x400000, 2 * MIB);
    gpa_t gpa;
    uint64_t size;
    /* A process-context id, and flags in CR3. */
    assert_true(paging_translate(&ram, PML4 | 0x18, 0, &gpa, &size));
    assert_true(paging_translate(&ram, UINT64_C(1) << 63 | PML4 | 1, 0, &gpa, &size));
}

static void absent_entries_end_the_walk(void **state)
{
    static const struct {
        gpa_t table;
        unsigned index;
    } entries[] = {{PT, 0}, {PD, 0}, {PDPT, 0}, {PML4, 0}};
    for (size_t i = 0; i < 4; i++) {
        link_tables();
        table(PT)[0] = 0x5001;
        assert_maps(0, 0x5000, 4096);
        table(entries[i].table)[entries[i].index] &= ~UINT64_C(1);
        assert_unmapped(0);
    }
}

static void large_bit_in_the_pml4_is_no_leaf(void **state)
{
    link_tables();
    table(PT)[0] = 0x5001;
    table(PML4)[0] |= 0x80;
    assert_maps(0, 0x5000, 4096);
}

static void non_canonical_addresses_are_unmapped(void **state)
{
    link_tables();
    table(PT)[0] = 0x5001;
    assert_unmapped(UINT64_C(1) << 48);
    assert_unmapped(UINT64_C(1) << 63);
    assert_unmapped(UINT64_C(0x0000800000000000));
    assert_unmapped(UINT64_C(0xffff7fffffffffff));
    assert_maps(UINT64_C(0xffff800000000000), 0x5000, 4096);
}

static void tables_outside_memory_end_the_walk(void **state)
{
    static const uint64_t outside[] = {2 * MIB, 4 * GIB, UINT64_C(0x000ffffffffff000)};
    static const gpa_t tables[] = {PML4, PDPT, PD};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 3; j++) {
            link_tables();
            table(tables[j])[0] = outside[i] | 1;
            assert_unmapped(0);
        }
        gpa_t gpa;
        uint64_t size;
        assert_false(paging_translate(&ram, outside[i], 0, &gpa, &size));
    }
    /* Where a leaf leads is for the caller to check. */
    link_tables();
    table(PT)[0] = UINT64_C(0x000ffffffffff000) | 1;
    assert_maps(8, UINT64_C(0x000ffffffffff008), 4096 - 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, allocate, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(worked_example_at_zero),
        TEST(last_page_is_included),
        cmocka_unit_test_prestate_setup_teardown(memory_at_4_gib, allocate, release, &four_gib),
        TEST(range_over_a_gib_border),
        TEST(tables_run_out),
        TEST(boot_tables_translate),
        TEST(leaves_of_every_size),
        TEST(flags_around_the_frame_are_ignored),
        TEST(absent_entries_end_the_walk),
        TEST(large_bit_in_the_pml4_is_no_leaf),
        TEST(non_canonical_addresses_are_unmapped),
        TEST(tables_outside_memory_end_the_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
