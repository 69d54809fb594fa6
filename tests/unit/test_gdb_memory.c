/* Guest memory and breakpoints as a debugger sees them (spec/debug.md sections 4 and 7). */
#include "unit.h"

#include "debug/gdb/memory.h"
#include "fake_gdb_machine.h"

static struct fake_machine fake;
static struct gdb_breakpoints breakpoints;

static int fresh(void **state)
{
    fake_machine_init(&fake);
    memset(&breakpoints, 0, sizeof breakpoints);
    return 0;
}

static int clear(void **state)
{
    gdb_breakpoints_clear(&fake.machine, &breakpoints);
    return 0;
}

static uint8_t *at(gpa_t gpa)
{
    return fake.memory + (gpa - FAKE_RAM);
}

static size_t get(gva_t gva, void *to, size_t size)
{
    return gdb_memory_read(&fake.machine, &breakpoints, fake.state, gva, to, size);
}

static int put(gva_t gva, const void *from, size_t size)
{
    return gdb_memory_write(&fake.machine, &breakpoints, fake.state, gva, from, size);
}

static int insert(gva_t gva)
{
    return gdb_breakpoint_insert(&fake.machine, &breakpoints, fake.state, gva);
}

static int take_out(gva_t gva)
{
    return gdb_breakpoint_remove(&fake.machine, &breakpoints, gva);
}

static void reads_end_where_the_mapping_does(void **state)
{
    uint8_t bytes[64];
    memset(at(FAKE_SMALL_GPA), 7, 4096);
    assert_int_equal(get(FAKE_SMALL_PAGE + 4096 - 16, bytes, sizeof bytes), 16);
    assert_int_equal(bytes[15], 7);
    assert_int_equal(get(FAKE_SMALL_PAGE + 4096, bytes, sizeof bytes), 0);
    assert_int_equal(get(FAKE_SMALL_PAGE - 1, bytes, sizeof bytes), 0);
    /* Not canonical; and the end of the address space, where the tables map themselves. */
    assert_int_equal(get(UINT64_C(1) << 60, bytes, sizeof bytes), 0);
    assert_int_equal(get(UINT64_MAX, bytes, sizeof bytes), 1);
    /* Two large pages, then mapped addresses without RAM. */
    assert_int_equal(get(FAKE_RAM + 0x1ffff0, bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(get(FAKE_RAM + FAKE_RAM_SIZE - 8, bytes, sizeof bytes), 8);
    assert_int_equal(get(FAKE_RAM + FAKE_RAM_SIZE, bytes, sizeof bytes), 0);
}

static void writes_are_all_or_nothing(void **state)
{
    memset(at(FAKE_SMALL_GPA), 7, 4096);
    assert_int_equal(put(FAKE_SMALL_PAGE + 4092, "12345678", 8), -EFAULT);
    assert_int_equal(*at(FAKE_SMALL_GPA + 4092), 7);
    assert_int_equal(put(FAKE_RAM + FAKE_RAM_SIZE - 4, "12345678", 8), -EFAULT);
    /* Permissions are the guest's, not the debugger's. */
    assert_int_equal(put(FAKE_SMALL_PAGE + 4088, "12345678", 8), 0);
    assert_memory_equal(at(FAKE_SMALL_GPA + 4088), "12345678", 8);
    assert_true(fake.written > 0);
}

static void without_paging_addresses_are_physical(void **state)
{
    uint8_t byte;
    fake.state[0].cr0 = 0;
    *at(FAKE_SMALL_GPA) = 9;
    assert_int_equal(get(FAKE_SMALL_GPA, &byte, 1), 1);
    assert_int_equal(byte, 9);
    assert_int_equal(get(FAKE_SMALL_PAGE, &byte, 1), 0);
}

static void breakpoints_are_not_seen(void **state)
{
    uint8_t bytes[4];
    memcpy(at(FAKE_CODE), "\x90\x91\x92\x93", 4);
    assert_int_equal(insert(FAKE_CODE + 1), 0);
    assert_int_equal(*at(FAKE_CODE + 1), 0xcc);
    assert_int_equal(get(FAKE_CODE, bytes, 4), 4);
    assert_memory_equal(bytes, "\x90\x91\x92\x93", 4);
    assert_true(gdb_breakpoint_is_at(&fake.machine, &breakpoints, fake.state, FAKE_CODE + 1));
    assert_false(gdb_breakpoint_is_at(&fake.machine, &breakpoints, fake.state, FAKE_CODE));
    assert_int_equal(take_out(FAKE_CODE + 1), 0);
    assert_int_equal(*at(FAKE_CODE + 1), 0x91);
}

static void inserting_twice_is_inserting_once(void **state)
{
    *at(FAKE_CODE) = 0x55;
    assert_int_equal(insert(FAKE_CODE), 0);
    assert_int_equal(insert(FAKE_CODE), 0);
    assert_int_equal(take_out(FAKE_CODE), 0);
    assert_int_equal(*at(FAKE_CODE), 0x55);
    assert_int_equal(take_out(FAKE_CODE), -ENOENT);
    assert_int_equal(insert(FAKE_SMALL_PAGE + 4096), -EFAULT);
}

static void writes_go_around_breakpoints(void **state)
{
    assert_int_equal(insert(FAKE_CODE + 1), 0);
    assert_int_equal(put(FAKE_CODE, "abc", 3), 0);
    assert_memory_equal(at(FAKE_CODE),
                        "a\xcc"
                        "c",
                        3);
    char bytes[3];
    get(FAKE_CODE, bytes, 3);
    assert_memory_equal(bytes, "abc", 3);
    take_out(FAKE_CODE + 1);
    assert_memory_equal(at(FAKE_CODE), "abc", 3);
}

/* One byte of RAM, two addresses. */
static void aliases_share_a_byte(void **state)
{
    *at(FAKE_SMALL_GPA) = 0x55;
    assert_int_equal(insert(FAKE_SMALL_PAGE), 0);
    assert_int_equal(insert(FAKE_SMALL_GPA), 0);
    assert_int_equal(take_out(FAKE_SMALL_PAGE), 0);
    assert_int_equal(*at(FAKE_SMALL_GPA), 0xcc);
    assert_int_equal(take_out(FAKE_SMALL_GPA), 0);
    assert_int_equal(*at(FAKE_SMALL_GPA), 0x55);
}

static void code_that_the_guest_replaced_stays(void **state)
{
    insert(FAKE_CODE);
    *at(FAKE_CODE) = 0x11;
    assert_int_equal(take_out(FAKE_CODE), 0);
    assert_int_equal(*at(FAKE_CODE), 0x11);
}

static void patches_of_the_accelerator_are_not_seen(void **state)
{
    uint8_t byte;
    get(FAKE_PATCHED, &byte, 1);
    assert_int_equal(byte, FAKE_UNPATCHED);
    insert(FAKE_PATCHED);
    get(FAKE_PATCHED, &byte, 1);
    assert_int_equal(byte, FAKE_UNPATCHED);
    take_out(FAKE_PATCHED);
    /* The accelerator is told, and may patch it again. */
    assert_int_equal(*at(FAKE_PATCHED), FAKE_UNPATCHED);
    assert_int_equal(fake.written, 2);
}

static void many_breakpoints(void **state)
{
    int err = 0;
    unsigned count = 0;
    for (; !err; count++)
        err = insert(FAKE_CODE + count);
    assert_int_equal(err, -ENOSPC);
    assert_int_equal(count, GDB_BREAKPOINTS_MAX + 1);
    gdb_breakpoints_clear(&fake.machine, &breakpoints);
    assert_int_equal(*at(FAKE_CODE + 100), 0);
}

static int hardware(enum accel_breakpoint_kind kind, gva_t gva, uint64_t size)
{
    return gdb_hardware_insert(&fake.machine, &breakpoints, kind, gva, size);
}

static void hardware_has_four_slots(void **state)
{
    assert_int_equal(hardware(ACCEL_BREAK_EXECUTE, 0x1001, 1), 0);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x2000, 8), 0);
    assert_int_equal(hardware(ACCEL_BREAK_ACCESS, 0x2000, 8), 0);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x3002, 2), 0);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x2000, 8), 0); /* is there */
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x4000, 4), -ENOSPC);
    assert_int_equal(fake.slot[0].kind, ACCEL_BREAK_EXECUTE);
    assert_int_equal(fake.slot[3].address, 0x3002);
    assert_int_equal(gdb_hardware_remove(&fake.machine, &breakpoints, ACCEL_BREAK_WRITE, 0x2000, 8),
                     0);
    assert_int_equal(fake.slot[1].kind, ACCEL_BREAK_NONE);
    assert_int_equal(gdb_hardware_remove(&fake.machine, &breakpoints, ACCEL_BREAK_WRITE, 0x2000, 8),
                     -ENOENT);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x4000, 4), 0);
    assert_int_equal(fake.slot[1].address, 0x4000);
    gdb_breakpoints_clear(&fake.machine, &breakpoints);
    assert_int_equal(fake.slot[1].kind, ACCEL_BREAK_NONE);
}

/* An accelerator may have none. */
static void hardware_that_refuses(void **state)
{
    fake.hardware_error = -EOPNOTSUPP;
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x2000, 8), -EOPNOTSUPP);
    fake.hardware_error = 0;
    assert_int_equal(breakpoints.slot[0].kind, ACCEL_BREAK_NONE);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x2000, 4), 0);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x2000, 8), 0); /* another one */
    assert_int_equal(fake.slot[1].size, 8);
}

/* A page of 1 GiB, of which only the start is RAM. */
static void a_page_may_be_larger_than_memory(void **state)
{
    const gva_t huge = UINT64_C(0x80000000), end = huge + FAKE_RAM_SIZE;
    uint8_t bytes[4] = {1, 2, 3, 4};
    uint64_t pointers;

    ram_read(&fake.ram, FAKE_PML4, &pointers, sizeof pointers);
    fake_put_entry(&fake, pointers & X86_PTE_FRAME, 2, FAKE_RAM | X86_PTE_PRESENT | X86_PTE_LARGE);
    fake.memory[FAKE_RAM_SIZE - 2] = 0x17;
    assert_int_equal(get(end - 2, bytes, 4), 2);
    assert_int_equal(bytes[0], 0x17);
    assert_int_equal(bytes[2], 3);
    assert_int_equal(get(end, bytes, 1), 0);
    assert_int_equal(put(end - 2, bytes, 4), -EFAULT);
    assert_int_equal(put(end - 2, bytes + 2, 2), 0);
    assert_int_equal(fake.memory[FAKE_RAM_SIZE - 1], 4);
    assert_int_equal(insert(end), -EFAULT);
    assert_false(gdb_breakpoint_is_at(&fake.machine, &breakpoints, fake.state, end));
}

/* What is written may be the page table of the rest. */
static void a_write_can_take_its_own_place_away(void **state)
{
    const gpa_t table = FAKE_RAM + 0x81000;
    static const uint8_t zeros[0x1000];

    fake_put_entry(&fake, table, 1, table | X86_PTE_PRESENT);
    fake_put_entry(&fake, table, 2, FAKE_CODE | X86_PTE_PRESENT);
    assert_int_equal(put(0x1010, zeros, 0xff0), 0);
    fake_put_entry(&fake, table, 2, FAKE_CODE | X86_PTE_PRESENT);
    *at(FAKE_CODE) = 0x55;
    assert_int_equal(put(0x1010, zeros, 0xff1), -EFAULT);
    assert_int_equal(*at(FAKE_CODE), 0x55);
}

static void hardware_watches_aligned_words(void **state)
{
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x1000, 3), -EINVAL);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x1000, 16), -EINVAL);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x1000, 0), -EINVAL);
    assert_int_equal(hardware(ACCEL_BREAK_WRITE, 0x1004, 8), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_end_where_the_mapping_does, fresh, clear),
        cmocka_unit_test_setup_teardown(writes_are_all_or_nothing, fresh, clear),
        cmocka_unit_test_setup_teardown(without_paging_addresses_are_physical, fresh, clear),
        cmocka_unit_test_setup_teardown(breakpoints_are_not_seen, fresh, clear),
        cmocka_unit_test_setup_teardown(inserting_twice_is_inserting_once, fresh, clear),
        cmocka_unit_test_setup_teardown(writes_go_around_breakpoints, fresh, clear),
        cmocka_unit_test_setup_teardown(aliases_share_a_byte, fresh, clear),
        cmocka_unit_test_setup_teardown(code_that_the_guest_replaced_stays, fresh, clear),
        cmocka_unit_test_setup_teardown(patches_of_the_accelerator_are_not_seen, fresh, clear),
        cmocka_unit_test_setup_teardown(many_breakpoints, fresh, clear),
        cmocka_unit_test_setup_teardown(hardware_has_four_slots, fresh, clear),
        cmocka_unit_test_setup_teardown(hardware_that_refuses, fresh, clear),
        cmocka_unit_test_setup_teardown(a_page_may_be_larger_than_memory, fresh, clear),
        cmocka_unit_test_setup_teardown(a_write_can_take_its_own_place_away, fresh, clear),
        cmocka_unit_test_setup_teardown(hardware_watches_aligned_words, fresh, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
