/* What the guest's own output says about its end. */
#include "unit.h"

#include "debug/panic.h"

static struct panic found;

static const struct panic *find(const char *text)
{
    panic_find(&found, text, strlen(text));
    return &found;
}

static void expect(const char *text, const char *location, const char *message)
{
    find(text);
    assert_true(found.found);
    assert_false(found.exception);
    assert_string_equal(found.location, location);
    assert_string_equal(found.message, message);
}

static void panics(void **state)
{
    expect("\nthread 'main' panicked at src/bin/panic.rs:6:5:\nAaaaaaaaargh!!!\nnote: run with",
           "src/bin/panic.rs:6:5", "Aaaaaaaaargh!!!");
    expect("thread 'main' (1) panicked at /a b/c:d.rs:100:42:\r\nx\r\n", "/a b/c:d.rs:100:42", "x");
    expect("thread 'main' panicked at 'it's, over', src/old.rs:12:34\n", "src/old.rs:12:34",
           "it's, over");
    expect("[0][PANIC] panicked at src/mm/mod.rs:70:9:\nout of memory\n\n", "src/mm/mod.rs:70:9",
           "out of memory");
    expect("[0][PANIC] panicked at a.rs:1:2", "a.rs:1:2", "");
    /* The last one counts. */
    expect("panicked at a.rs:1:2:\nfirst\npanicked at b.rs:3:4:\nsecond\n", "b.rs:3:4", "second");
    /* The control characters of hostile guests stay out. */
    expect("panicked at a.rs:1:2:\nx\033[2Jy\n", "a.rs:1:2", "x?[2Jy");
    expect("panicked at somewhere\n", "", "somewhere");
    expect("panicked at 'no place\n", "", "'no place");
    expect("panicked at 'x', y\n", "", "x");
    expect("panicked at ", "", "");
    expect("panicked at 'one', two', three.rs:1:2\n', x.rs:3:4", "three.rs:1:2", "one', two");
    /* A place has a line and a column, in this order and with digits. */
    expect("panicked at a.rs::1:2:\nx", "", "a.rs::1:2:");
    expect("panicked at a.rs:1:\nx", "", "a.rs:1:");
    expect("panicked at a:b:3:\nx", "", "a:b:3:");
    expect("panicked at 1:2/3:4:5 x", "1:2/3:4:5", "x");
    expect("panicked at a.rs:1:2x\ny", "a.rs:1:2", "x");
}

static void exceptions(void **state)
{
    find("[0][ERROR] Page fault (#PF)!\n[0][ERROR] page_fault_linear_address = 0x10\n"
         "[ERROR] stack_frame = ExceptionStackFrame {\n    instruction_pointer: VirtAddr(\n"
         "        0x1234,\n    ),\n  stack_pointer: VirtAddr(0xff00),\n");
    assert_true(found.found && found.exception && found.has_address && found.has_rip);
    assert_string_equal(found.message, "Page fault (#PF)");
    assert_int_equal(found.address, 0x10);
    assert_int_equal(found.rip, 0x1234);
    assert_int_equal(found.rsp, 0xff00);

    find("[    0.1][0][ERROR      ] General Protection (#GP) Exception: nothing more");
    assert_true(found.found && found.exception && !found.has_address && !found.has_rip);
    assert_string_equal(found.message, "General Protection (#GP)");

    /* A number too far away is another one. */
    static char far[400] = "(#UD) instruction_pointer";
    memset(far + strlen(far), ' ', 200);
    strcat(far, "0x1 stack_pointer 0x2");
    find(far);
    assert_false(found.has_rip);

    find("(#PF) page_fault_linear_address: VirtAddr(0xyz) instruction_pointer: 0x1 stack: 0x2");
    assert_true(found.exception && !found.has_address && !found.has_rip);
    find("(#PF) stack_pointer: 0x1 page_fault_linear_address: none");
    assert_true(found.exception && !found.has_address && !found.has_rip);

    /* What comes last counts. */
    find("(#PF) panicked at a.rs:1:2:\nx\n");
    assert_false(found.exception);
    find("panicked at a.rs:1:2:\nx\nlog:  Invalid Opcode (#UD) (#XX1) (#X");
    assert_true(found.exception);
    assert_string_equal(found.message, "Invalid Opcode (#UD)");
}

static void expect_sentence(const char *log, const char *sentence)
{
    struct text text = {0};
    panic_format(find(log), &text);
    assert_string_equal(text.data, sentence);
    text_free(&text);
}

static void sentences(void **state)
{
    expect_sentence("panicked at a.rs:1:2:\nx", "panic at a.rs:1:2: x");
    expect_sentence("panicked at a.rs:1:2", "panic at a.rs:1:2");
    expect_sentence("panicked at 'x'", "panic: 'x'");
    expect_sentence("panicked at ", "panic");
    expect_sentence("Trap (#UD)", "the kernel caught an exception: Trap (#UD)");
    expect_sentence("(#PF) page_fault_linear_address: VirtAddr(0x10)",
                    "the kernel caught an exception: (#PF) at address 0x10");
}

static void nothing(void **state)
{
    static const char *const texts[] = {"",     "panicked",   "(#pf)", "(#",
                                        "(#P",  "hello (#1)", "(#1A)", "(#A1)",
                                        "(#a)", "(#Aa)",      "(#{A)", "(#A{)"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(find(texts[i])->found);
}

static void long_texts_are_cut(void **state)
{
    static char text[8192];
    memset(text, 'm', sizeof text - 1);
    memcpy(text, "panicked at ", 12);
    assert_int_equal(strlen(find(text)->message), sizeof found.message - 1);
    memcpy(text + 8000, ":1:2:\n", 6);
    assert_int_equal(strlen(find(text)->location), sizeof found.location - 1);
}

static void roles(void **state)
{
    assert_int_equal(panic_role("core::panicking::panic_fmt"), PANIC_MACHINERY);
    assert_int_equal(panic_role("rust_begin_unwind"), PANIC_MACHINERY);
    assert_int_equal(panic_role("core::option::unwrap_failed"), PANIC_LIBRARY);
    assert_int_equal(panic_role("<core::option::Option<T> as x>::y"), PANIC_LIBRARY);
    assert_int_equal(panic_role("<app::T as core::fmt::Debug>::fmt"), PANIC_OTHER);
    assert_int_equal(panic_role("app::main"), PANIC_OTHER);
    assert_int_equal(panic_role("hermit::mm::init"), PANIC_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(panics),
        cmocka_unit_test(exceptions),
        cmocka_unit_test(sentences),
        cmocka_unit_test(nothing),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
