/* Unwind tables: this very program's own, and what hostile images make of them. */
#include "unit.h"

#include "image/unwind.h"
#include "section_file.h"

static struct unwind_tables tables;
static uint8_t *image;
static size_t image_size;

static void read_self(void)
{
    image = own_program(&image_size);
    unwind_open(&tables, image, image_size);
}

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

/* One function at 0x1000, whose frame is the return address alone; `more` are further rules. */
static size_t make_table(uint8_t *table, const char *augmentation, const void *more,
                         size_t more_size)
{
    static const uint8_t common[] = {1, 0x78, 16, 1, 0 /* pointers are absolute */};
    static const uint8_t rules[] = {0x0c, 7, 8, 0x90, 1}; /* CFA is RSP + 8, RA below */
    size_t text = strlen(augmentation) + 1;
    uint32_t size = (uint32_t)(4 + 1 + text + sizeof common + sizeof rules + more_size);
    uint32_t rest = 4 + 8 + 8 + 1;
    uint8_t *at = table;

    memcpy(at, &size, 4);
    memset(at + 4, 0, 4);
    at[8] = 1; /* version */
    memcpy(at + 9, augmentation, text);
    memcpy(at + 9 + text, common, sizeof common);
    memcpy(at + 9 + text + sizeof common, rules, sizeof rules);
    memcpy(at + 9 + text + sizeof common + sizeof rules, more, more_size);
    at += 4 + size;
    uint32_t back = (uint32_t)(at + 4 - table);
    uint64_t start = 0x1000, length = 0x100;
    memcpy(at, &rest, 4);
    memcpy(at + 4, &back, 4);
    memcpy(at + 8, &start, 8);
    memcpy(at + 16, &length, 8);
    at[24] = 0;
    return (size_t)(at + 4 + rest - table);
}

static bool steps_by(const char *augmentation, const void *more, size_t more_size)
{
    static const uint64_t stack = 0x1234;
    uint8_t table[200];
    struct unwind_tables made = {
        .eh_frame = {table, make_table(table, augmentation, more, more_size), 0}};
    struct unwind_registers at = {.known = 1u << UNWIND_RSP};

    at.value[UNWIND_RSP] = (uintptr_t)&stack;
    return unwind_step(&made, 0x1080, &at, read_own, NULL) && at.value[UNWIND_RA] == stack &&
           at.value[UNWIND_RSP] == (uintptr_t)&stack + 8;
}

static bool steps(const char *augmentation)
{
    return steps_by(augmentation, "", 0);
}

static bool steps_with(const char *rules, size_t size)
{
    return steps_by("zR", rules, size);
}

#define STEPS_WITH(rules) steps_with(rules, sizeof(rules) - 1)

static void states_are_remembered_within_limits(void **state)
{
    assert_true(STEPS_WITH("\x0a\x0b"));
    assert_false(STEPS_WITH("\x0b"));
    assert_false(STEPS_WITH("\x0a\x0b\x0b"));
    assert_true(STEPS_WITH("\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a"));
    assert_false(STEPS_WITH("\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a"));
}

/* There are rules for columns 0 to 16; those for others change nothing. */
static void other_columns_are_left_alone(void **state)
{
    assert_true(STEPS_WITH("\x91\x01"));     /* offset of column 17 */
    assert_true(STEPS_WITH("\x05\x11\x01")); /* the same with an opcode of its own */
    assert_true(STEPS_WITH("\xd1"));         /* restore */
    assert_true(STEPS_WITH("\x06\x11"));
    assert_false(STEPS_WITH("\x0c\x11\x08")); /* the CFA by column 17 */
    assert_false(STEPS_WITH("\x0c\x27\x08")); /* by 39: 7, if counted by 32 */
}

/* The search reads it again with each function's entry: a long one would take for ever. */
static void augmentations_are_short(void **state)
{
    assert_true(steps("zR"));
    assert_true(steps("zRS"));
    assert_true(steps("zRSSSSSS"));
    assert_false(steps("zRSSSSSSS"));
    assert_false(steps("zRX"));
}

/* Likewise a large table with each frame. */
static void large_tables_are_not_used(void **state)
{
    for (size_t more = 0; more < 2; more++) {
        struct unwind_tables found;
        uint8_t *section;
        size_t size;
        uint8_t *file = file_with_section(".eh_frame", SECTION_TABLE_MAX + more, &section, &size);
        unwind_open(&found, file, size);
        assert_ptr_equal(found.eh_frame.data, more ? NULL : section);
        free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_functions),
        cmocka_unit_test(broken_tables),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(states_are_remembered_within_limits),
        cmocka_unit_test(other_columns_are_left_alone),
        cmocka_unit_test(augmentations_are_short),
        cmocka_unit_test(large_tables_are_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
