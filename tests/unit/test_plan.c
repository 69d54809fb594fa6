/* Which patch is chosen, that it is safe, and that the table leads both ways. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "accel/direct/patch/plan.h"
#include "patch_image.h"

#define BASE      UINT64_C(0x400000)
#define AREA      UINT64_C(0x500000)
#define STATE     UINT64_C(0x600000)
#define SIZE      256
#define AREA_SIZE 0x4000

static struct {
    uint8_t code[SIZE];
    uint8_t before[SIZE];
    uint8_t area[AREA_SIZE];
    struct patch_table *table;
    struct plan_report report;
} test;

static uint32_t native; /* of the next plan */

/* `code` at the start of the image; the second half is data. */
static void plan_in(const void *code, size_t size, const struct plan_area *area)
{
    memset(test.code, 0xCC, SIZE / 2);
    memcpy(test.code, code, size);
    memcpy(test.before, test.code, SIZE);
    struct plan_range range = {0, SIZE / 2};
    struct plan_image image = {test.code, SIZE, BASE, &range, 1, {NULL, 0}, native};
    free(test.table);
    test.table = NULL;
    assert_int_equal(plan_make(&image, area, &test.table, &test.report, NULL), 0);
}

static void plan(const void *code, size_t size)
{
    struct plan_area area = {{TRAMPOLINE_SINGLE, STATE}, test.area, AREA_SIZE, AREA};
    plan_in(code, size, &area);
}

#define PLAN(...) plan((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static int tear_down(void **state)
{
    free(test.table);
    test.table = NULL;
    memset(test.code, 0, SIZE);
    return 0;
}

static void check_jump(size_t at, size_t length)
{
    const struct patch *patch = patch_find(test.table, BASE + at);
    int32_t distance;
    assert_non_null(patch);
    assert_int_equal(patch->address, BASE + at);
    assert_int_equal(patch->length, length);
    assert_true(patch->step_count > 0);
    assert_int_equal(test.code[at], 0xE9);
    memcpy(&distance, test.code + at + 1, sizeof distance);
    assert_int_equal(BASE + at + 5 + (uint64_t)(int64_t)distance, AREA + patch->trampoline);
    assert_memory_equal(patch->original, test.before + at, length);
}

static void check_trap(size_t at)
{
    const struct patch *patch = patch_find(test.table, BASE + at);
    assert_non_null(patch);
    assert_int_equal(patch->step_count, 0);
    assert_int_equal(test.code[at], 0xF4);
    assert_int_equal(patch->original[0], test.before[at]);
}

static void save_and_disable_is_one_piece(void **state)
{
    PLAN(0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0, 0xC3);
    assert_int_equal(test.report.trampolines, 1);
    assert_int_equal(test.report.replaced, 2);
    check_jump(0, 8);
    const struct patch *patch = &test.table->list[0];
    assert_int_equal(patch->step_count, 5);
    assert_int_equal(patch->steps[0].kind, SWEEP_PUSHF);
    assert_int_equal(patch->steps[1].kind, SWEEP_NONE);
    assert_int_equal(patch->steps[2].kind, SWEEP_CLI);
    assert_int_equal(patch->steps[4].guest, 8);
}

static void a_piece_grows_backwards_before_a_target(void **state)
{
    PLAN(0x90, 0xA8, 1, 0x74, 1, 0xFB, 0x31, 0xC0, 0xC3);
    assert_int_equal(test.report.trampolines, 1);
    check_jump(1, 5);
}

static void a_target_inside_forbids_the_jump(void **state)
{
    /* pushfq; 1: pop; cli; mov; jne 1b */
    PLAN(0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0, 0x75, 0xF7, 0xC3);
    assert_int_equal(test.report.trampolines, 1);
    check_trap(0);
    check_jump(2, 6); /* cli; mov */
}

static void a_call_is_not_moved(void **state)
{
    PLAN(0x9C, 0xE8, 4, 0, 0, 0, 0xC3);
    assert_int_equal(test.report.trampolines, 0);
    check_trap(0);
    PLAN(0xFA, 0xE8, 4, 0, 0, 0, 0xC3);
    assert_int_equal(test.report.untouched, 1);
    assert_int_equal(test.table->count, 0);
    assert_memory_equal(test.code, test.before, SIZE);
}

static void idling_is_left_to_the_engine(void **state)
{
    PLAN(0x48, 0x83, 0xC0, 1, 0xFB, 0xF4, 0xC3);
    assert_int_equal(test.report.untouched, 1);
    PLAN(0x48, 0x83, 0xC0, 1, 0xFB, 0x0F, 0x01, 0xC9, 0xC3);
    assert_int_equal(test.report.untouched, 1);
    PLAN(0xFA, 0x66, 0x90, 0xFB, 0xF4, 0xC3);
    assert_int_equal(test.report.untouched, 2);
    PLAN(0x48, 0x83, 0xC0, 1, 0xFB, 0x90, 0xC3);
    assert_int_equal(test.report.trampolines, 1);
}

static void others_get_a_trap(void **state)
{
    PLAN(0x0F, 0xA2, 0x8C, 0xC8, 0x0F, 0x05, 0xCD, 0x20, 0x66, 0x9C, 0x48, 0xCF);
    assert_int_equal(test.report.trapped, 6);
    static const size_t at[] = {0, 2, 4, 6, 8, 10};
    for (size_t i = 0; i < 6; i++)
        check_trap(at[i]);
}

static void kinds_can_be_left_native(void **state)
{
    static const uint8_t code[] = {0x0F, 0x01, 0xD0, 0x9C, 0x0F, 0xA2, 0xC3};
    struct plan_area area = {{TRAMPOLINE_NONE, 0}, NULL, 0, 0};
    native = PLAN_NATIVE(SWEEP_EXTENDED) | PLAN_NATIVE(SWEEP_CPUID);
    plan_in(code, sizeof code, &area);
    native = 0;
    assert_int_equal(test.report.untouched, 2);
    assert_int_equal(test.table->count, 1);
    check_trap(3);
}

static void pointers_in_data_are_targets(void **state)
{
    uint64_t pointer = BASE + 3;
    memcpy(test.code + SIZE / 2 + 4, &pointer, sizeof pointer);
    PLAN(0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0, 0xC3);
    assert_int_equal(test.report.trampolines, 0);
    check_trap(0);
}

static void entries_of_jump_tables_are_targets(void **state)
{
    /* lea table(%rip), %rcx; ret; on the next line the code that the table leads to. */
    uint8_t code[32] = {0x48, 0x8D, 0x0D, SIZE / 2 - 7, 0, 0, 0, 0xC3};
    memset(code + 8, 0xCC, 8);
    memcpy(code + 16, (const uint8_t[]){0xEB, 0, 0x9C, 0x58, 0xFA, 0x31, 0xC0, 0xC3}, 8);
    memset(code + 24, 0xCC, 8);
    struct plan_area area = {{TRAMPOLINE_SINGLE, STATE}, test.area, AREA_SIZE, AREA};
    int32_t table[] = {16 - SIZE / 2, 20 - SIZE / 2, 0x7FFFFFFF};
    memcpy(test.code + SIZE / 2, table, sizeof table);
    code[31] = 0x90;
    plan_in(code, sizeof code, &area);
    assert_int_equal(test.report.trampolines, 0);
    check_trap(18);
    table[1] = 0x7FFFFFFF;
    memcpy(test.code + SIZE / 2, table, sizeof table);
    plan_in(code, sizeof code, &area);
    assert_int_equal(test.report.trampolines, 1);
    check_jump(18, 5);
}

static void no_room_or_reach_means_traps(void **state)
{
    static const uint8_t code[] = {0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0, 0xC3};
    struct plan_area area = {{TRAMPOLINE_SINGLE, STATE}, test.area, TRAMPOLINE_SIZE_MAX - 1, AREA};
    plan_in(code, sizeof code, &area);
    check_trap(0);
    area = (struct plan_area){
        {TRAMPOLINE_SINGLE, STATE}, test.area, AREA_SIZE, AREA + (4ULL << 30)};
    plan_in(code, sizeof code, &area);
    check_trap(0);
    assert_int_equal(test.table->count, 1);
    area = (struct plan_area){
        {TRAMPOLINE_SINGLE, STATE + (4ULL << 30)}, test.area, AREA_SIZE, AREA};
    plan_in(code, sizeof code, &area);
    check_trap(0);
    area = (struct plan_area){{TRAMPOLINE_NONE, 0}, NULL, 0, 0};
    plan_in(code, sizeof code, &area);
    check_trap(0);
}

static void doubtful_sites_are_left_alone(void **state)
{
    PLAN(0x9C, 0x06, 0x0F, 0xA2, 0xC3);
    assert_int_equal(test.report.doubtful, 2);
    assert_int_equal(test.table->count, 0);
    assert_memory_equal(test.code, test.before, SIZE);
}

static void addresses_translate(void **state)
{
    PLAN(0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0, 0x0F, 0xA2, 0xC3);
    const struct patch *patch = &test.table->list[0];
    for (size_t i = 0; i < patch->step_count; i++) {
        uint64_t guest = BASE + patch->steps[i].guest;
        uint64_t host = patch_host_address(test.table, guest);
        if (patch->steps[i].guest == patch->length) {
            assert_int_equal(host, guest);
            continue;
        }
        assert_int_equal(host, AREA + patch->steps[i].host);
        struct trampoline_registers registers = {.rip = host, .rsp = 1, .rax = 2, .rcx = 3};
        assert_true(trampoline_contains(test.table, host));
        assert_true(trampoline_settle(test.table, &registers, NULL, NULL));
        assert_int_equal(registers.rip, guest);
        assert_int_equal(registers.rsp, 1);
        assert_int_equal(registers.rax, 2);
        assert_int_equal(registers.rcx, 3);
    }
    assert_int_equal(patch_host_address(test.table, BASE + 8), BASE + 8);
    assert_int_equal(patch_host_address(test.table, BASE + 100), BASE + 100);
    assert_null(patch_find(test.table, BASE + 10));
    assert_null(patch_find(test.table, BASE - 1));
    assert_non_null(patch_find(test.table, BASE + 9));
}

static void originals_can_be_read(void **state)
{
    PLAN(0x90, 0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0, 0x0F, 0xA2, 0x0F, 0xA2, 0xC3);
    assert_int_equal(test.table->count, 3);
    for (size_t from = 0; from < 20; from++) {
        for (size_t size = 0; size < 20; size++) {
            uint8_t bytes[20];
            memcpy(bytes, test.code + from, size);
            patch_original(test.table, BASE + from, bytes, size);
            assert_memory_equal(bytes, test.before + from, size);
        }
    }
}

/* Every byte is as it was or in a patch, and no patch has a target inside. */
static void check_image(const char *path)
{
    struct patch_image image;
    patch_image_load(&image, path);
    uint8_t *before = malloc(image.size), *area = malloc(1 << 20);
    assert_true(before && area);
    memcpy(before, image.bytes, image.size);
    struct plan_image request = {
        image.bytes,           image.size,
        image.address,         image.map.ranges,
        image.map.range_count, {image.map.symbols, image.map.symbol_count}};
    struct plan_area where = {
        {TRAMPOLINE_SHARED, image.address - 0x1000}, area, 1 << 20, image.address + image.size};
    struct patch_table *table;
    struct plan_report report;
    assert_int_equal(plan_make(&request, &where, &table, &report, NULL), 0);
    assert_int_equal(report.sites,
                     report.doubtful + report.replaced + report.trapped + report.untouched);
    for (size_t i = 0; i < table->count; i++) {
        const struct patch *patch = &table->list[i];
        assert_true(i == 0 ||
                    table->list[i - 1].address + table->list[i - 1].length <= patch->address);
        for (size_t k = 1; k + 1 < patch->step_count; k++)
            for (size_t s = 0; s < image.map.symbol_count; s++)
                assert_int_not_equal(image.map.symbols[s].address,
                                     patch->address + patch->steps[k].guest);
    }
    patch_original(table, image.address, image.bytes, image.size);
    assert_memory_equal(image.bytes, before, image.size);
    print_message(
        "# %s: %zu sites, %zu doubtful, %zu in %zu trampolines, %zu traps, %zu as they are\n", path,
        report.sites, report.doubtful, report.replaced, report.trampolines, report.trapped,
        report.untouched);
    free(table);
    free(area);
    free(before);
    patch_image_unload(&image);
}

static void whole_programs(void **state)
{
    check_image("/proc/self/exe");
    patch_image_each(check_image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(save_and_disable_is_one_piece, tear_down),
        cmocka_unit_test_teardown(a_piece_grows_backwards_before_a_target, tear_down),
        cmocka_unit_test_teardown(a_target_inside_forbids_the_jump, tear_down),
        cmocka_unit_test_teardown(a_call_is_not_moved, tear_down),
        cmocka_unit_test_teardown(idling_is_left_to_the_engine, tear_down),
        cmocka_unit_test_teardown(others_get_a_trap, tear_down),
        cmocka_unit_test_teardown(kinds_can_be_left_native, tear_down),
        cmocka_unit_test_teardown(pointers_in_data_are_targets, tear_down),
        cmocka_unit_test_teardown(entries_of_jump_tables_are_targets, tear_down),
        cmocka_unit_test_teardown(no_room_or_reach_means_traps, tear_down),
        cmocka_unit_test_teardown(doubtful_sites_are_left_alone, tear_down),
        cmocka_unit_test_teardown(addresses_translate, tear_down),
        cmocka_unit_test_teardown(originals_can_be_read, tear_down),
        cmocka_unit_test(whole_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
