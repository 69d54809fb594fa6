/* Descriptor tables, start state and early exceptions (spec/boot.md sections 4 and 5). */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "arch/x86_64/boot.h"
#include "arch/x86_64/paging.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define BASE UINT64_C(0x100000000)

static struct ram ram;
static struct layout layout;

static struct layout layout_at(gpa_t base)
{
    return (struct layout){
        .ram_base = base,
        .ram_size = 16 * MIB,
        .gdt = base,
        .idt = base + 0x6000,
        .exception_stubs = base + 0x7000,
        .boot_info = base + 0x5000,
        .pml4 = base + 0x10000,
        .tables = base + 0x11000,
        .tables_end = base + 0x38000,
        .stack = base + 0x38000,
        .kernel_start = base + 0x40000,
        .kernel_end = base + 0x140000,
        .entry = base + 0x40100,
    };
}

static int prepare(void **state)
{
    static const struct ram_options options;
    layout = layout_at(BASE);
    int err = ram_alloc(&ram, BASE, layout.ram_size, &options, NULL);
    return err ? err : x86_boot_prepare(&ram, &layout, false);
}

static int release(void **state)
{
    ram_free(&ram);
    return 0;
}

static uint64_t word(gpa_t gpa)
{
    uint64_t value;
    assert_true(ram_read(&ram, gpa, &value, sizeof value));
    return value;
}

static void gdt_has_code_and_data(void **state)
{
    assert_int_equal(word(BASE), 0);
    assert_int_equal(word(BASE + 8), UINT64_C(0x00af9b000000ffff));
    assert_int_equal(word(BASE + 16), UINT64_C(0x00cf93000000ffff));
}

static void gates_lead_to_their_stubs(void **state)
{
    for (unsigned vector = 0; vector < 32; vector++) {
        uint64_t low = word(layout.idt + vector * 16), high = word(layout.idt + vector * 16 + 8);
        gpa_t handler = (low & 0xffff) | (low >> 48 & 0xffff) << 16 | (high & 0xffffffff) << 32;
        assert_int_equal(handler, layout.exception_stubs + vector * 8);
        assert_int_equal(high >> 32, 0);
        assert_int_equal(low >> 16 & 0xffff, 8);  /* code segment */
        assert_int_equal(low >> 32 & 0xff, 0);    /* no interrupt stack table */
        assert_int_equal(low >> 40 & 0xff, 0x8e); /* present, DPL 0, interrupt gate */
        assert_int_equal(word(handler) & 0xffff, X86_EXCEPTION_PORT << 8 | 0xe6); /* out imm8, al */
    }
}

static void start_state_is_the_register_table(void **state)
{
    struct x86_state start;
    memset(&start, 0x5a, sizeof start);
    x86_boot_state(&start, &layout, 3);

    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        if (i != X86_RSP && i != X86_RDI && i != X86_RSI)
            assert_int_equal(start.gpr[i], 0);
    assert_int_equal(start.gpr[X86_RSP], BASE + 0x38000);
    assert_int_equal(start.gpr[X86_RDI], BASE + 0x5000);
    assert_int_equal(start.gpr[X86_RSI], 3);
    assert_int_equal(start.rip, BASE + 0x40100);
    assert_int_equal(start.rflags, 2);
    assert_int_equal(start.cr0, 0x80000031);
    assert_int_equal(start.cr3, BASE + 0x10000);
    assert_int_equal(start.cr4, 0x20);
    assert_int_equal(start.efer, 0xd00);
    assert_int_equal(start.gdt.base, BASE);
    assert_int_equal(start.gdt.limit, 23);
    assert_int_equal(start.idt.base, BASE + 0x6000);
    assert_int_equal(start.idt.limit, 32 * 16 - 1);

    assert_int_equal(start.cs.selector, 8);
    assert_int_equal(start.cs.base, 0);
    assert_int_equal(start.cs.limit, 0xffffffff);
    assert_int_equal(start.cs.attributes, 11 | 1 << 4 | 1 << 7 | 1 << 9 | 1 << 11);
    const struct x86_segment *data[] = {&start.ds, &start.es, &start.ss};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(data[i]->selector, 16);
        assert_int_equal(data[i]->base, 0);
        assert_int_equal(data[i]->limit, 0xffffffff);
        assert_int_equal(data[i]->attributes, 3 | 1 << 4 | 1 << 7 | 1 << 11);
    }
    /* The rest keeps what the accelerator gave. */
    struct x86_segment untouched;
    memset(&untouched, 0x5a, sizeof untouched);
    assert_memory_equal(&start.fs, &untouched, sizeof untouched);
    assert_memory_equal(&start.gs, &untouched, sizeof untouched);
    assert_memory_equal(&start.tr, &untouched, sizeof untouched);
    assert_int_equal(start.apic_base, UINT64_C(0x5a5a5a5a5a5a5a5a));
}

/* The number of 2 MiB pages mapped from `base` on without a hole. */
static uint64_t mapped_pages(gpa_t base)
{
    uint64_t pages = 0, size;
    gpa_t gpa;
    while (paging_translate(&ram, layout.pml4, base + pages * 2 * MIB, &gpa, &size)) {
        assert_int_equal(gpa, base + pages * 2 * MIB);
        pages++;
    }
    return pages;
}

static void mapping_covers_what_the_kernel_expects(void **state)
{
    static const struct {
        gpa_t base;
        uint64_t kernel_end; /* relative to base */
        uint64_t pages, legacy_pages;
    } cases[] = {
        {0, 0x140000, 1, 512},
        {0, 0x1fffff, 1, 512},
        {0, 0x200000, 2, 512},            /* the page behind the kernel is included */
        {0, 14 * MIB + 1, 8, 512},        /* nothing to do with the kernel's start */
        {GIB - 4 * MIB, 0x140000, 1, 2},  /* end of kernel in the same GiB */
        {GIB - 4 * MIB, 4 * MIB, 3, 514}, /* rounded up it is the border: the next GiB as well */
        {GIB - 4 * MIB, 2 * MIB + 1, 2, 514},
        {4 * GIB, 3 * MIB, 2, 512},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int legacy = 0; legacy < 2; legacy++) {
            memset(ram.host, 0, 0x40000);
            ram.base = cases[i].base;
            layout = layout_at(cases[i].base);
            layout.kernel_end = layout.ram_base + cases[i].kernel_end;
            assert_int_equal(x86_boot_prepare(&ram, &layout, legacy), 0);
            assert_int_equal(mapped_pages(layout.ram_base),
                             legacy ? cases[i].legacy_pages : cases[i].pages);
        }
    }
}

static void tables_for_a_huge_kernel_do_not_fit(void **state)
{
    memset(ram.host, 0, 0x40000);
    layout.kernel_end = layout.ram_base + 38 * GIB - 1;
    assert_int_equal(x86_boot_prepare(&ram, &layout, false), 0);
    memset(ram.host, 0, 0x40000);
    layout.kernel_end = layout.ram_base + 38 * GIB;
    assert_int_equal(x86_boot_prepare(&ram, &layout, false), -ENOSPC);
}

#define FRAME_RIP   (BASE + 0x41234)
#define FRAME_FLAGS UINT64_C(0x10046)
#define FRAME_RSP   (BASE + 0x3ffe8)
#define ERROR_CODE  UINT64_C(0x1b)

/* As the processor leaves it: a frame of five words, below it possibly an error code. */
static struct x86_state in_stub(unsigned vector, bool error_code, gpa_t stack)
{
    const uint64_t frame[] = {ERROR_CODE, FRAME_RIP, 8, FRAME_FLAGS, FRAME_RSP, 16};
    struct x86_state state = {0};

    x86_boot_state(&state, &layout, 0);
    state.rip = layout.exception_stubs + vector * 8 + 2; /* behind the OUT */
    state.gpr[X86_RSP] = stack;
    ram_write(&ram, stack, frame + !error_code, sizeof frame - 8 * !error_code);
    return state;
}

static void exceptions_are_decoded(void **state)
{
    static const unsigned with_code[] = {8, 10, 11, 12, 13, 14, 17, 21, 29, 30};
    for (unsigned vector = 0; vector < 32; vector++) {
        bool has_code = false;
        for (size_t i = 0; i < sizeof with_code / sizeof *with_code; i++)
            has_code |= with_code[i] == vector;
        struct x86_state stopped = in_stub(vector, has_code, BASE + 0x3f000);
        struct x86_exception exception;
        assert_true(x86_boot_exception(&ram, &layout, &stopped, &exception));
        assert_int_equal(exception.vector, vector);
        assert_int_equal(exception.has_error_code, has_code);
        assert_int_equal(exception.error_code, has_code ? ERROR_CODE : 0);
        assert_int_equal(stopped.rip, FRAME_RIP);
        assert_int_equal(stopped.rflags, FRAME_FLAGS);
        assert_int_equal(stopped.gpr[X86_RSP], FRAME_RSP);
        assert_non_null(x86_exception_name(vector));
    }
    assert_string_equal(x86_exception_name(14), "page fault");
    assert_string_equal(x86_exception_name(32), "reserved exception");
}

static void writes_from_elsewhere_are_no_exceptions(void **state)
{
    const gpa_t stubs = layout.exception_stubs;
    const gpa_t elsewhere[] = {0, stubs - 1, stubs + 32 * 8, UINT64_MAX};
    struct x86_exception exception;
    for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++) {
        struct x86_state stopped = in_stub(13, true, BASE + 0x3f000);
        stopped.rip = elsewhere[i];
        assert_false(x86_boot_exception(&ram, &layout, &stopped, &exception));
        assert_int_equal(stopped.rip, elsewhere[i]);
    }
    struct x86_state own_table = in_stub(13, true, BASE + 0x3f000);
    own_table.idt.base = BASE + 0x50000; /* the kernel has handlers of its own */
    assert_false(x86_boot_exception(&ram, &layout, &own_table, &exception));
}

static void hostile_stacks_are_no_exceptions(void **state)
{
    static const gpa_t bad[] = {
        0,                            /* not mapped */
        BASE + 2 * MIB,               /* not mapped, but memory */
        BASE + 2 * MIB - 8,           /* leaves its page within the error code or frame */
        BASE + 2 * MIB - 16,          /* likewise */
        UINT64_C(0x8000000000000000), /* not canonical */
        UINT64_MAX,                   /* wraps */
        UINT64_MAX - 7,               /* wraps behind the error code */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        for (unsigned vector = 13; vector <= 16; vector++) {
            struct x86_state stopped = in_stub(vector, false, BASE + 0x3f000);
            struct x86_exception exception;
            stopped.gpr[X86_RSP] = bad[i];
            assert_false(x86_boot_exception(&ram, &layout, &stopped, &exception));
            assert_int_equal(stopped.gpr[X86_RSP], bad[i]);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, prepare, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gdt_has_code_and_data),
        TEST(gates_lead_to_their_stubs),
        TEST(start_state_is_the_register_table),
        TEST(mapping_covers_what_the_kernel_expects),
        TEST(tables_for_a_huge_kernel_do_not_fit),
        TEST(exceptions_are_decoded),
        TEST(writes_from_elsewhere_are_no_exceptions),
        TEST(hostile_stacks_are_no_exceptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
