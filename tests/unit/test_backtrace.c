/* Backtraces from stacks that are whole, damaged, or built to keep us busy. */
#include "unit.h"

#include "debug/backtrace.h"
#include "fake_guest.h"

#define RETURN_1 (FAKE_CODE + 0x100)
#define RETURN_2 (FAKE_CODE + 0x800) /* the call ends the function "outer" */

static struct x86_state stopped_at(gva_t rip, gva_t stack, gva_t base)
{
    return (struct x86_state){.rip = rip, .gpr = {[X86_RSP] = stack, [X86_RBP] = base}};
}

static void put_frame(struct fake_guest *guest, gva_t at, gva_t next, gva_t back)
{
    fake_guest_put_word(guest, at, next);
    fake_guest_put_word(guest, at + 8, back);
}

static void calls_are_recognised(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool call;
    } cases[] = {
        {"\xff\xd0", 2, true},                      /* call rax */
        {"\x41\xff\xd3", 3, true},                  /* call r11 */
        {"\xff\x10", 2, true},                      /* call [rax] */
        {"\xff\x14\xd8", 3, true},                  /* call [rax+rbx*8] */
        {"\xff\x14\xdd\x00\x10\x40\x00", 7, true},  /* call [rbx*8+0x401000] */
        {"\xff\x15\x00\x10\x00\x00", 6, true},      /* call [rip+0x1000] */
        {"\xff\x50\x18", 3, true},                  /* call [rax+0x18] */
        {"\xff\x54\x24\x08", 4, true},              /* call [rsp+8] */
        {"\xff\x90\x00\x01\x00\x00", 6, true},      /* call [rax+0x100] */
        {"\xff\x94\xd8\x00\x01\x00\x00", 7, true},  /* call [rax+rbx*8+0x100] */
        {"\xff\xe0", 2, false},                     /* jmp rax */
        {"\xff\x15\x00\x00\x00", 5, false},         /* one byte short */
        {"\xff\x14", 2, false},                     /* SIB missing */
        {"\xe8\x00\x00\x00\x00", 5, true},          /* to the next instruction */
        {"\xe8\x00\x00\x00\x10", 5, false},         /* out of the kernel */
        {"\xe9\x00\x00\x00\x00", 5, false},         /* jmp */
        {"\x90\x90\x90\x90\x90\x90\x90", 7, false}, /* nop */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake_guest guest;
        fake_guest_init(&guest);
        fake_guest_put(&guest, RETURN_1 - cases[i].size, cases[i].bytes, cases[i].size);
        assert_int_equal(guest_view_follows_call(&guest.view, RETURN_1), cases[i].call);
    }
    /* At the very start of what is mapped, and of the address space. */
    struct fake_guest guest;
    fake_guest_init(&guest);
    fake_guest_put(&guest, FAKE_CODE, "\xff\xd0", 2);
    assert_true(guest_view_follows_call(&guest.view, FAKE_CODE + 2));
    assert_false(guest_view_follows_call(&guest.view, FAKE_CODE + 1));
    assert_false(guest_view_follows_call(&guest.view, 0));
}

static void code_is_what_the_kernel_may_execute(void **state)
{
    struct fake_guest guest;
    fake_guest_init(&guest);
    assert_true(guest_view_is_code(&guest.view, FAKE_CODE));
    assert_false(guest_view_is_code(&guest.view, FAKE_CODE + 0x1000));
    assert_false(guest_view_is_code(&guest.view, FAKE_CODE - 1));
    guest.view.symbols = NULL;
    assert_true(guest_view_is_code(&guest.view, FAKE_CODE + 0x1000));
    assert_false(guest_view_is_code(&guest.view, FAKE_END));
}

static void callers_are_in_stack_order(void **state)
{
    struct fake_guest guest;
    struct frame frames[BACKTRACE_FRAMES];
    struct text text = {0};
    fake_guest_init(&guest);
    fake_guest_put_call(&guest, RETURN_1);
    fake_guest_put_call(&guest, RETURN_2);
    put_frame(&guest, FAKE_STACK + 0x40, FAKE_STACK + 0x80, RETURN_1);
    put_frame(&guest, FAKE_STACK + 0x80, 0, RETURN_2);
    fake_guest_put_word(&guest, FAKE_STACK + 0x10, RETURN_2);     /* a caller without a frame */
    fake_guest_put_word(&guest, FAKE_STACK + 0x60, RETURN_1);     /* a leftover */
    fake_guest_put_word(&guest, FAKE_STACK + 0x18, RETURN_2 + 1); /* follows no call */
    struct x86_state at = stopped_at(FAKE_CODE + 0x900, FAKE_STACK + 1, FAKE_STACK + 0x40);
    size_t count = backtrace_walk(&guest.view, &at, frames);
    backtrace_format(&guest.view, frames, count, &text);
    assert_string_equal(text.data, "  #0  0x0000000000101900 inner+0x100 (image 0x1900)\n"
                                   "  ?   0x0000000000101800 outer+0x800 (image 0x1800)\n"
                                   "  #1  0x0000000000101100 outer+0x100 (image 0x1100)\n"
                                   "  ?   0x0000000000101100 outer+0x100 (image 0x1100)\n"
                                   "  #2  0x0000000000101800 outer+0x800 (image 0x1800)\n");
    text_free(&text);
}

static void bad_chains_end(void **state)
{
    static const struct {
        gva_t base, next;
        uint64_t back;
        size_t frames; /* with RIP */
    } cases[] = {
        {FAKE_STACK + 0x40, FAKE_STACK + 0x40, RETURN_1, 2},     /* a loop */
        {FAKE_STACK + 0x40, FAKE_STACK + 0x20, RETURN_1, 2},     /* downward */
        {FAKE_STACK + 0x40, UINT64_MAX - 7, RETURN_1, 2},        /* wraps around */
        {FAKE_STACK + 0x40, UINT64_C(1) << 47, RETURN_1, 2},     /* unmapped */
        {FAKE_STACK + 0x40, FAKE_STACK + 0x64, RETURN_1, 2},     /* misaligned */
        {FAKE_STACK + 0x40, FAKE_STACK + 0x80, FAKE_END - 1, 1}, /* returns to data */
        {FAKE_STACK + 0x64, 0, RETURN_1, 1},
        {0, 0, RETURN_1, 1},
        {UINT64_MAX - 7, 0, RETURN_1, 1},
        {FAKE_STACK + 8192 - 8, 0, RETURN_1, 1}, /* half of it unmapped */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fake_guest guest;
        struct frame frames[BACKTRACE_FRAMES];
        fake_guest_init(&guest);
        put_frame(&guest, FAKE_STACK + 0x40, cases[i].next, cases[i].back);
        put_frame(&guest, FAKE_STACK + 0x64, 0, RETURN_1);
        struct x86_state at = stopped_at(FAKE_CODE, FAKE_STACK, cases[i].base);
        assert_int_equal(backtrace_walk(&guest.view, &at, frames), cases[i].frames);
    }
}

static void work_is_bounded(void **state)
{
    struct fake_guest guest;
    struct frame frames[BACKTRACE_FRAMES];
    fake_guest_init(&guest);
    fake_guest_put_call(&guest, RETURN_1);
    for (gva_t at = FAKE_STACK; at < FAKE_STACK + 8192 - 16; at += 16)
        put_frame(&guest, at, at + 16, RETURN_1);
    struct x86_state at = stopped_at(FAKE_CODE, FAKE_STACK, FAKE_STACK + 4096);
    assert_int_equal(backtrace_walk(&guest.view, &at, frames), 1 + 2 * BACKTRACE_MAX);
    assert_in_range(guest.reads, 1, 4 * BACKTRACE_MAX + 9 * BACKTRACE_SCAN_BYTES / 8);

    /* Nothing but near misses: every word is read once, and the code before each of them. */
    fake_guest_init(&guest);
    for (gva_t slot = FAKE_STACK; slot < FAKE_STACK + 8192; slot += 8)
        fake_guest_put_word(&guest, slot, RETURN_1);
    at.gpr[X86_RBP] = 0;
    assert_int_equal(backtrace_walk(&guest.view, &at, frames), 1);
    assert_in_range(guest.reads, 1, 8 * BACKTRACE_SCAN_BYTES / 8 + 16);
}

/* The kernel runs on a stack of its own; R12, or where it was saved, points to the application's.
 */
static void a_second_stack(void **state)
{
    const gva_t other = FAKE_STACK + 0x1000;
    for (int saved = 0; saved < 2; saved++) {
        struct fake_guest guest;
        struct frame frames[BACKTRACE_FRAMES];
        struct text text = {0};
        fake_guest_init(&guest);
        fake_guest_put_call(&guest, RETURN_1);
        fake_guest_put_word(&guest, FAKE_STACK + 0x20, RETURN_1);
        fake_guest_put_word(&guest, other + 8, RETURN_1);
        fake_guest_put_word(&guest, other + 0x400, RETURN_1);
        struct x86_state at = stopped_at(FAKE_CODE, FAKE_STACK, 0);
        if (saved)
            fake_guest_put_word(&guest, FAKE_STACK + 0x10, other);
        else
            at.gpr[X86_R12] = other;
        size_t count = backtrace_walk(&guest.view, &at, frames);
        assert_int_equal(count, 4);
        assert_int_equal(frames[1].origin, FRAME_GUESS);
        assert_true(frames[2].earlier && !frames[1].earlier);
        assert_int_equal(frames[2].slot, other + 8);
        assert_int_equal(frames[3].slot, other + 0x400);
        backtrace_format(&guest.view, frames, count, &text);
        assert_non_null(strstr(text.data, "on the stack before this one:\n  ?  "));
        text_free(&text);
    }
}

static void stacks_at_the_edge(void **state)
{
    struct fake_guest guest;
    struct frame frames[BACKTRACE_FRAMES];
    fake_guest_init(&guest);
    fake_guest_put_call(&guest, RETURN_1);
    fake_guest_put_word(&guest, FAKE_STACK + 8192 - 8, RETURN_1);
    static const struct {
        gva_t stack;
        size_t frames;
    } cases[] = {
        {FAKE_STACK + 4096, 2}, /* the last word of the scan */
        {FAKE_STACK + 4088, 1}, /* one beyond it */
        {FAKE_STACK + 8192, 1}, {FAKE_STACK - 8, 1}, {0, 1}, {UINT64_MAX, 1}, {UINT64_MAX - 7, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct x86_state at = stopped_at(0, cases[i].stack, 0);
        assert_int_equal(backtrace_walk(&guest.view, &at, frames), cases[i].frames);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_recognised),
        cmocka_unit_test(code_is_what_the_kernel_may_execute),
        cmocka_unit_test(callers_are_in_stack_order),
        cmocka_unit_test(bad_chains_end),
        cmocka_unit_test(work_is_bounded),
        cmocka_unit_test(a_second_stack),
        cmocka_unit_test(stacks_at_the_edge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
