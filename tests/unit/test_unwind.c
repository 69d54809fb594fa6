/* Unwind tables: this very program's own, and what hostile images make of them. */
#include "unit.h"

#include <stdio.h>

#include "image/unwind.h"

static struct unwind_tables tables;
static uint8_t *image;
static size_t image_size;

static void read_self(void)
{
    FILE *file = fopen("/proc/self/exe", "rbe");
    assert_non_null(file);
    image = malloc(64 << 20);
    image_size = fread(image, 1, 64 << 20, file);
    fclose(file);
    unwind_open(&tables, image, image_size);
}

extern const char __executable_start[];

static bool read_own(void *context, uint64_t address, uint64_t *word)
{
    memcpy(word, (const void *)(uintptr_t)address, sizeof *word);
    return true;
}

static unsigned levels;
static uint64_t returns[8];

/* Where this function would return to, by the tables. */
static __attribute__((noinline)) void innermost(void)
{
    struct unwind_registers at = {.known = (1u << UNWIND_COLUMNS) - 1};

    __asm__ volatile("mov %%rsp, %0; mov %%rbp, %1; lea 0(%%rip), %2"
                     : "=m"(at.value[UNWIND_RSP]), "=m"(at.value[UNWIND_RBP]),
                       "=r"(at.value[UNWIND_RA]));
    for (levels = 0; levels < 8; levels++) {
        uint64_t pc = at.value[UNWIND_RA] - (levels > 0) - (uint64_t)(uintptr_t)__executable_start;
        if (!unwind_step(&tables, pc, &at, read_own, NULL))
            return;
        returns[levels] = at.value[UNWIND_RA];
    }
}

static __attribute__((noinline)) uint64_t middle(volatile char *buffer)
{
    volatile char more[200];
    more[0] = buffer[0];
    innermost();
    return (uint64_t)(uintptr_t)__builtin_return_address(0) + (uint64_t)more[0];
}

static __attribute__((noinline)) uint64_t outer(void)
{
    volatile char buffer[64] = {0};
    uint64_t from = middle(buffer);
    return from + (uint64_t)buffer[1];
}

static void own_functions(void **state)
{
    read_self();
    if (!tables.eh_frame.data)
        skip();
    uint64_t from_middle = outer();
    assert_true(levels >= 2);
    assert_int_equal(returns[1], from_middle);
    free(image);
}

/* No byte of the tables may make it read beyond them, or hang. */
static void broken_tables(void **state)
{
    read_self();
    if (!tables.eh_frame.data)
        skip();
    size_t size = tables.eh_frame.size < 3000 ? tables.eh_frame.size : 3000;
    uint8_t *copy = malloc(size);
    for (size_t i = 0; i < size; i += 3) {
        for (unsigned value = 0; value < 256; value += 85) {
            struct unwind_tables broken = {.eh_frame = {copy, size, tables.eh_frame.address}};
            struct unwind_registers at = {.known = 0};
            memcpy(copy, tables.eh_frame.data, size);
            copy[i] = (uint8_t)value;
            unwind_step(&broken, 0x1234, &at, read_own, NULL);
            broken.debug_frame = broken.eh_frame;
            unwind_step(&broken, UINT64_MAX, &at, read_own, NULL);
        }
    }
    free(copy);
    free(image);
}

static void broken_files(void **state)
{
    struct unwind_tables none;
    read_self();
    for (size_t size = 0; size < 200; size++) {
        unwind_open(&none, image, size);
        assert_null(none.eh_frame.data);
    }
    free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_functions),
        cmocka_unit_test(broken_tables),
        cmocka_unit_test(broken_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
