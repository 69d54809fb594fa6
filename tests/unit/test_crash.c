/* The crash report, line by line, and what it says when there is little to say. */
#include "unit.h"

#include "debug/crash.h"
#include "fake_guest.h"

#define RETURN (FAKE_CODE + 0x100)

struct scene {
    struct fake_guest guest;
    struct x86_state state;
    struct crash crash;
    struct text text;
};

static void make_scene(struct scene *scene)
{
    fake_guest_init(&scene->guest);
    scene->text = (struct text){0};
    scene->state = (struct x86_state){
        .rip = FAKE_CODE + 0x900,
        .rflags = 0x10246,
        .cr0 = X86_CR0_PE | X86_CR0_ET | X86_CR0_WP | X86_CR0_PG,
        .cr2 = 0xdead0,
        .cr3 = 0x103000,
        .cr4 = X86_CR4_PAE | 1 << 9 | 1 << 18,
        .cr8 = 1,
        .efer = X86_EFER_LME | X86_EFER_LMA,
        .apic_base = 0xfee00d00,
        .cs = {.limit = 0xffffffff, .selector = 8, .attributes = 0xa09b},
        .fs = {.base = 0x123450},
        .gdt = {0x5000, 0x37},
        .idt = {0x6000, 0xfff},
    };
    for (unsigned i = 0; i < X86_GPR_COUNT; i++)
        scene->state.gpr[i] = 0xa0 + i;
    scene->state.gpr[X86_RSP] = FAKE_STACK;
    fake_guest_put(&scene->guest, scene->state.rip, "\x0f\x0b", 2);
    fake_guest_put_call(&scene->guest, RETURN);
    fake_guest_put_word(&scene->guest, FAKE_STACK + 0x20, RETURN);
    scene->crash = (struct crash){
        .cause = "the guest executed an invalid instruction",
        .vcpu = 3,
        .registers_valid = true,
        .state = &scene->state,
        .view = &scene->guest.view,
    };
}

static void report(struct scene *scene)
{
    crash_report(&scene->crash, &scene->text);
    assert_false(scene->text.failed);
}

static void has(const struct scene *scene, const char *part)
{
    if (!strstr(scene->text.data, part))
        fail_msg("the report lacks \"%s\":\n%s", part, scene->text.data);
}

static void lacks(const struct scene *scene, const char *part)
{
    if (strstr(scene->text.data, part))
        fail_msg("the report has \"%s\":\n%s", part, scene->text.data);
}

static void a_full_report(void **state)
{
    struct scene scene;
    make_scene(&scene);
    report(&scene);
    assert_memory_equal(scene.text.data, "the guest executed an invalid instruction\nvCPU 3:\n",
                        50);
    has(&scene, "\n  rip    0000000000101900 inner+0x100 (image 0x1900)\n");
    has(&scene, "\n  rax 00000000000000a0  rbx 00000000000000a3  rcx 00000000000000a1  "
                "rdx 00000000000000a2\n");
    has(&scene, "rbp 00000000000000a5  rsp 0000000007000000\n");
    has(&scene, "r15 00000000000000af\n");
    has(&scene, "\n  rflags 0000000000010246 [PF ZF IF RF]\n");
    has(&scene, "\n  cr0    0000000080010011 [PE ET WP PG]\n");
    has(&scene, "\n  cr2    00000000000dead0\n");
    has(&scene, "\n  cr3    0000000000103000\n");
    has(&scene, "\n  cr4    0000000000040220 [PAE OSFXSR OSXSAVE]\n");
    has(&scene, "\n  cr8    0000000000000001  apic_base 00000000fee00d00\n");
    has(&scene, "\n  efer   0000000000000500 [LME LMA]\n");
    has(&scene, "\n  cs   0008 base 0000000000000000 limit ffffffff attributes a09b\n");
    has(&scene, "\n  fs   0000 base 0000000000123450 limit 00000000 attributes 0000\n");
    has(&scene, "\n  gdt       base 0000000000005000 limit 0037\n");
    has(&scene, "\n  idt       base 0000000000006000 limit 0fff\n");
    has(&scene, "\ncode: 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 <0f> 0b 90 90 90 90 90 90 "
                "90 90 90 90 90 90 90 90\n");
    has(&scene, "\n  #0  0x0000000000101900 inner+0x100 (image 0x1900)\n"
                "  ?   0x0000000000101100 outer+0x100 (image 0x1100)\n");
    lacks(&scene, "no symbols");
    text_free(&scene.text);
}

static void lost_registers_are_not_invented(void **state)
{
    struct scene scene;
    make_scene(&scene);
    scene.crash.registers_valid = false;
    report(&scene);
    has(&scene, "the guest executed an invalid instruction\nvCPU 3: the registers are lost");
    lacks(&scene, "rax");
    lacks(&scene, "code:");
    lacks(&scene, "#0");
    text_free(&scene.text);
}

static void an_unmapped_rip(void **state)
{
    static const uint64_t places[] = {0, 8, UINT64_C(0xffff800000000000), FAKE_END};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct scene scene;
        make_scene(&scene);
        scene.state.rip = places[i];
        report(&scene);
        has(&scene, " (outside the kernel)\n");
        has(&scene, "code: ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? ?? <?\?> ??");
        has(&scene, "  ?   0x0000000000101100 outer+0x100"); /* who called it is still there */
        text_free(&scene.text);
    }
}

static void a_rip_at_the_end(void **state)
{
    struct scene scene;
    make_scene(&scene);
    scene.state.rip = UINT64_MAX - 1;
    report(&scene);
    has(&scene, "code: ?? ?? 00 00 00 00 00 00 00 00 00 00 00 00 00 00 <00> 00 ??");
    text_free(&scene.text);
}

static void a_rip_in_data(void **state)
{
    struct scene scene;
    make_scene(&scene);
    scene.state.rip = FAKE_END - 1;
    report(&scene);
    has(&scene, " (image 0x3fff) (not code)\n");
    text_free(&scene.text);
}

static void an_unmapped_stack(void **state)
{
    struct scene scene;
    make_scene(&scene);
    scene.state.gpr[X86_RSP] = 0x1000;
    report(&scene);
    has(&scene, "no return address was found on the stack\n");
    text_free(&scene.text);
}

static void an_image_without_symbols(void **state)
{
    struct scene scene;
    make_scene(&scene);
    scene.guest.view.symbols = NULL;
    scene.guest.view.load_offset = 0;
    report(&scene);
    has(&scene, "\n  rip    0000000000101900\n");
    has(&scene, "\n  #0  0x0000000000101900\n  ?   0x0000000000101100\n");
    has(&scene, "the image has no symbols");
    text_free(&scene.text);
}

static void endless_names_are_cut(void **state)
{
    static char names[10000];
    struct scene scene;
    make_scene(&scene);
    memset(names, 'n', sizeof names - 1);
    scene.guest.symbols.names = names;
    report(&scene);
    assert_in_range(scene.text.size, 1000, 5000);
    has(&scene, "nnn+0x100");
    text_free(&scene.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_report),
        cmocka_unit_test(lost_registers_are_not_invented),
        cmocka_unit_test(an_unmapped_rip),
        cmocka_unit_test(a_rip_at_the_end),
        cmocka_unit_test(a_rip_in_data),
        cmocka_unit_test(an_unmapped_stack),
        cmocka_unit_test(an_image_without_symbols),
        cmocka_unit_test(endless_names_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
