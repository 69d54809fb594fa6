/* Watchpoints in the engine of the accelerator 'direct': which accesses they notice, and what of
 * the guest's addresses can still be mapped. */
#include "unit.h"

#include "accel/direct/engine/device.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/watch.h"

#define PAGE(n) (UINT64_C(0x100000000) + (n)*UINT64_C(0x1000))

struct engine engine;

static struct direct_header header = {.cpu_count = 2};
static _Alignas(DIRECT_PAGE) uint8_t vcpus[2][DIRECT_PAGE];
static struct cpu cpu;

void device_access(struct cpu *who, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
}

static void set_slot(unsigned vcpu, unsigned slot, enum direct_breakpoint_kind kind,
                     uint64_t address, uint32_t size)
{
    engine_vcpu(vcpu)->debug.slot[slot] = (struct direct_breakpoint){address, kind, size};
    if (vcpu == 0)
        cpu.slots[slot] = engine_vcpu(0)->debug.slot[slot];
}

static int set_up(void **state)
{
    memset(vcpus, 0, sizeof vcpus);
    engine = (struct engine){.header = &header, .vcpus = vcpus[0], .debugged = true};
    cpu = (struct cpu){.shared = engine_vcpu(0), .state = &engine_vcpu(0)->state};
    return 0;
}

/* Slots met by an access, which are forgotten. */
static uint32_t hits(uint64_t gva, uint64_t size, bool write)
{
    watch_note(&cpu, gva, size, write);
    uint32_t result = cpu.hits;
    cpu.hits = 0;
    return result;
}

static void only_watched_bytes_count(void **state)
{
    set_slot(0, 1, DIRECT_BREAK_WRITE, PAGE(0) + 8, 4);
    set_slot(0, 3, DIRECT_BREAK_ACCESS, PAGE(0) + 12, 1);
    set_slot(0, 0, DIRECT_BREAK_EXECUTE, PAGE(0) + 8, 1);
    assert_int_equal(hits(PAGE(0), 8, true), 0);
    assert_int_equal(hits(PAGE(0) + 1, 8, true), 2);
    assert_int_equal(hits(PAGE(0) + 11, 1, true), 2);
    assert_int_equal(hits(PAGE(0) + 11, 2, true), 2 | 8);
    assert_int_equal(hits(PAGE(0) + 13, 8, true), 0);
    assert_int_equal(hits(PAGE(0), 64, false), 8); /* a read */
    assert_int_equal(hits(PAGE(0) - 4, 12, true), 0);
}

static void watchpoints_of_all_cpus_keep_pages_from_being_mapped(void **state)
{
    set_slot(0, 0, DIRECT_BREAK_WRITE, PAGE(3) + 0xff8, 8);
    set_slot(1, 3, DIRECT_BREAK_ACCESS, PAGE(5), 1);
    set_slot(1, 2, DIRECT_BREAK_EXECUTE, PAGE(4), 1);
    assert_int_equal(watch_page(PAGE(3)), WATCH_WRITES);
    assert_int_equal(watch_page(PAGE(4)), WATCH_NOTHING);
    assert_int_equal(watch_page(PAGE(5)), WATCH_ACCESSES);
    set_slot(1, 0, DIRECT_BREAK_ACCESS, PAGE(3), 1);
    assert_int_equal(watch_page(PAGE(3)), WATCH_ACCESSES);
}

static void expect_clip(unsigned page, unsigned first, unsigned after)
{
    uint64_t start = PAGE(0), end = PAGE(10);
    watch_clip(PAGE(page), &start, &end);
    assert_int_equal(start, PAGE(first));
    assert_int_equal(end, PAGE(after));
}

static void runs_end_at_watched_pages(void **state)
{
    expect_clip(4, 0, 10);
    set_slot(0, 0, DIRECT_BREAK_WRITE, PAGE(3) + 8, 8);
    set_slot(1, 1, DIRECT_BREAK_ACCESS, PAGE(7), 1);
    set_slot(0, 1, DIRECT_BREAK_WRITE, PAGE(12), 8);
    expect_clip(0, 0, 3);
    expect_clip(3, 3, 4);
    expect_clip(5, 4, 7);
    expect_clip(7, 7, 8);
    expect_clip(9, 8, 10);
}

#define WIDTH(...)                                                                                 \
    watch_width((const uint8_t[15]){__VA_ARGS__}, sizeof((const uint8_t[15]){__VA_ARGS__}))

static void operands_have_their_width(void **state)
{
    assert_int_equal(WIDTH(0x0f, 0x58, 0x07), 16);                   /* addps (%rdi), %xmm0 */
    assert_int_equal(WIDTH(0xf3, 0x0f, 0x58, 0x07), 4);              /* addss */
    assert_int_equal(WIDTH(0xf2, 0x0f, 0x58, 0x07), 8);              /* addsd */
    assert_int_equal(WIDTH(0xc5, 0xfc, 0x58, 0x07), 32);             /* vaddps, ymm */
    assert_int_equal(WIDTH(0x62, 0xf1, 0x7c, 0x48, 0x58, 0x07), 64); /* vaddps, zmm */
    assert_int_equal(WIDTH(0x62, 0xf1, 0x7c, 0x28, 0x58, 0x07), 32); /* vaddps, ymm */
    assert_int_equal(WIDTH(0xd9, 0x07), 4);                          /* flds */
    assert_int_equal(WIDTH(0xdd, 0x1f), 8);                          /* fstpl */
    assert_int_equal(WIDTH(0xdb, 0x3f), 10);                         /* fstpt */
    assert_int_equal(WIDTH(0xd9, 0x3f), 2);                          /* fnstcw */
    assert_int_equal(WIDTH(0x48, 0x0f, 0xc7, 0x0f), 16);             /* cmpxchg16b */
    assert_int_equal(WIDTH(0x0f, 0xae, 0x07), 512);                  /* fxsave */
    assert_int_equal(WIDTH(0x66, 0x48, 0x0f, 0x6e, 0x07), 8);        /* movq */
    assert_int_equal(WIDTH(0x66, 0x0f, 0x6e, 0x07), 4);              /* movd */
    assert_int_equal(WIDTH(0x48, 0xd3, 0x27), 8);                    /* shlq %cl, (%rdi) */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_watched_bytes_count, set_up),
        cmocka_unit_test_setup(watchpoints_of_all_cpus_keep_pages_from_being_mapped, set_up),
        cmocka_unit_test_setup(runs_end_at_watched_pages, set_up),
        cmocka_unit_test_setup(operands_have_their_width, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
