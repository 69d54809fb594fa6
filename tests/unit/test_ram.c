/* The one checked way to guest memory, at its edges. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory/ram.h"

#define BASE UINT64_C(0x100000000)
#define SIZE (UINT64_C(2) << 20)
#define END  (BASE + SIZE)

static struct ram ram;

static int allocate(void **state)
{
    static const struct ram_options options;
    return ram_alloc(&ram, BASE, SIZE, &options, NULL);
}

static int release(void **state)
{
    ram_free(&ram);
    ram_free(&ram); /* allowed on a zeroed structure */
    return ram.host ? -1 : 0;
}

static void memory_is_zero_and_aligned(void **state)
{
    assert_int_equal((uintptr_t)ram.host % (UINT64_C(2) << 20), 0);
    for (uint64_t i = 0; i < SIZE; i++)
        assert_int_equal(ram.host[i], 0);
}

static void ranges_inside_have_an_address(void **state)
{
    assert_ptr_equal(ram_at(&ram, BASE, 1), ram.host);
    assert_ptr_equal(ram_at(&ram, BASE, SIZE), ram.host);
    assert_ptr_equal(ram_at(&ram, END - 1, 1), ram.host + SIZE - 1);
    assert_ptr_equal(ram_at(&ram, BASE + 16, SIZE - 16), ram.host + 16);
    assert_ptr_equal(ram_at(&ram, END, 0), ram.host + SIZE);
    assert_ptr_equal(ram_at(&ram, BASE, 0), ram.host);
}

static void ranges_outside_have_none(void **state)
{
    static const struct {
        uint64_t start, size;
    } outside[] = {
        {BASE - 1, 1},          {BASE - 1, 2},
        {BASE - 1, 0},          {END, 1},
        {END - 1, 2},           {END + 1, 0},
        {BASE, SIZE + 1},       {0, 1},
        {0, UINT64_MAX},        {UINT64_MAX, 1},
        {UINT64_MAX, 0},        {BASE, UINT64_MAX},
        {END - 1, UINT64_MAX},  {BASE + 1, UINT64_MAX - BASE + 1},
        {UINT64_MAX - 7, BASE}, {END, UINT64_MAX - END + 1},
    };
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_null(ram_at(&ram, outside[i].start, outside[i].size));
}

static void memory_at_the_ends_of_the_address_space(void **state)
{
    uint8_t page[4096];
    struct ram low = {.base = 0, .size = sizeof page, .host = page};
    struct ram high = {.base = UINT64_MAX - 4095, .size = sizeof page, .host = page};
    assert_ptr_equal(ram_at(&low, 0, 4096), page);
    assert_null(ram_at(&low, 0, 4097));
    assert_null(ram_at(&low, UINT64_MAX, 1));
    assert_ptr_equal(ram_at(&high, UINT64_MAX, 1), page + 4095);
    assert_null(ram_at(&high, UINT64_MAX, 2));
    assert_null(ram_at(&high, 0, 1));
}

static void copies_are_all_or_nothing(void **state)
{
    uint32_t value = 0x11223344, back = 0;
    assert_true(ram_write(&ram, END - 4, &value, 4));
    assert_true(ram_read(&ram, END - 4, &back, 4));
    assert_int_equal(back, value);
    assert_false(ram_write(&ram, END - 3, &(uint32_t){0}, 4));
    assert_false(ram_write(&ram, BASE - 1, &(uint32_t){0xffffffff}, 4));
    assert_memory_equal(ram.host + SIZE - 4, &value, 4);
    assert_int_equal(ram.host[0], 0);
    back = 5;
    assert_false(ram_read(&ram, END - 3, &back, 4));
    assert_int_equal(back, 5);
}

static void strings_end_inside_memory(void **state)
{
    char text[8];
    memcpy(ram.host + SIZE - 6, "abcde", 6);
    assert_int_equal(ram_read_string(&ram, END - 6, text, sizeof text), 5);
    assert_string_equal(text, "abcde");
    assert_int_equal(ram_read_string(&ram, END - 1, text, sizeof text), 0);
    assert_int_equal(ram_read_string(&ram, END, text, sizeof text), -EFAULT);
    assert_int_equal(ram_read_string(&ram, BASE - 1, text, sizeof text), -EFAULT);
    assert_int_equal(ram_read_string(&ram, UINT64_MAX, text, sizeof text), -EFAULT);
    ram.host[SIZE - 1] = 'f'; /* runs out of memory */
    assert_int_equal(ram_read_string(&ram, END - 6, text, sizeof text), -EFAULT);
}

static void strings_fit_or_are_too_long(void **state)
{
    char text[8];
    memcpy(ram.host, "1234567", 8);
    assert_int_equal(ram_read_string(&ram, BASE, text, 8), 7);
    assert_int_equal(ram_read_string(&ram, BASE, text, 7), -ENAMETOOLONG);
    /* As many bytes as there is memory, and no terminator: what ends first decides. */
    memset(ram.host + SIZE - 8, 'x', 8);
    assert_int_equal(ram_read_string(&ram, END - 8, text, 8), -ENAMETOOLONG);
    assert_int_equal(ram_read_string(&ram, END - 7, text, 8), -EFAULT);
}

/* A file that another process maps, and cannot shrink. */
static void shared_memory_keeps_its_size(void **state)
{
    static const struct ram_options options = {.shared = true};
    struct ram shared;
    assert_int_equal(ram_alloc(&shared, BASE, SIZE, &options, NULL), 0);
    assert_int_equal((uintptr_t)shared.host % SIZE, 0);
    shared.host[SIZE - 1] = 0x5a;
    uint8_t byte = 0;
    assert_int_equal(pread(shared.fd, &byte, 1, SIZE - 1), 1);
    assert_int_equal(byte, 0x5a);
    assert_int_equal(ftruncate(shared.fd, 0), -1);
    assert_int_equal(ftruncate(shared.fd, 2 * SIZE), -1);
    assert_int_equal(errno, EPERM);
    int fd = shared.fd;
    ram_free(&shared);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* What the host's kernel may lack is refused by name. */
static void advice_is_taken_or_refused(void **state)
{
    static const struct {
        struct ram_options options;
        int advice;
        const char *name;
    } kinds[] = {
        {{.thp = true}, MADV_HUGEPAGE, "--thp"},
        {{.ksm = true}, MADV_MERGEABLE, "--ksm"},
    };
    for (size_t i = 0; i < 2; i++) {
        struct uhyve_error error = {0};
        struct ram other = {0};
        bool possible = madvise(ram.host, SIZE, kinds[i].advice) == 0;
        int err = ram_alloc(&other, BASE, SIZE, &kinds[i].options, &error);
        assert_int_equal(err == 0, possible);
        assert_int_equal(other.host != NULL, possible);
        assert_int_equal(strstr(error.message, kinds[i].name) == NULL, possible);
        ram_free(&other);
    }
}

static void impossible_sizes_are_an_error(void **state)
{
    static const struct ram_options options;
    struct uhyve_error error = {0};
    struct ram huge = {0};
    assert_true(ram_alloc(&huge, 0, UINT64_C(1) << 60, &options, &error) < 0);
    assert_int_equal(error.status, UHYVE_STATUS_FAILED);
    assert_non_null(strstr(error.message, "cannot reserve"));
    assert_null(huge.host);
    static const struct ram_options shared = {.shared = true};
    assert_true(ram_alloc(&huge, 0, UINT64_MAX - 4095, &shared, &error) < 0);
    assert_non_null(strstr(error.message, "cannot reserve"));
    assert_null(huge.host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zero_and_aligned),
        cmocka_unit_test(ranges_inside_have_an_address),
        cmocka_unit_test(ranges_outside_have_none),
        cmocka_unit_test(memory_at_the_ends_of_the_address_space),
        cmocka_unit_test(copies_are_all_or_nothing),
        cmocka_unit_test(strings_end_inside_memory),
        cmocka_unit_test(strings_fit_or_are_too_long),
        cmocka_unit_test(shared_memory_keeps_its_size),
        cmocka_unit_test(advice_is_taken_or_refused),
        cmocka_unit_test(impossible_sizes_are_an_error),
    };
    return cmocka_run_group_tests(tests, allocate, release);
}
