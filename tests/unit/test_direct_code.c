/* Patching pages of code that came later, again after the guest has written to them. */
#include "unit.h"

#include <string.h>
#include <sys/mman.h>

#include "accel/direct/direct.h"

#define RAM          UINT64_C(0x100000000)
#define RAM_SIZE     (UINT64_C(2) << 20)
#define PAGE         (RAM + 2 * DIRECT_PAGE)
#define CONTROL_SIZE (DIRECT_PAGE_KINDS + RAM_SIZE / DIRECT_PAGE)

#define NOP        0x90
#define PUSHF      0x9c
#define POPF       0x9d
#define BREAKPOINT 0xcc

#define SITE 16 /* offset in the page */

static struct accel_vm *vm;
static uint8_t *code;

static int set_up(void **state)
{
    static struct ram ram;
    struct uhyve_error error;

    vm = calloc(1, sizeof *vm);
    assert_non_null(vm);
    assert_int_equal(ram_alloc(&ram, RAM, RAM_SIZE, &(struct ram_options){0}, &error), 0);
    vm->ram = &ram;
    vm->control = mmap(NULL, CONTROL_SIZE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(vm->control, MAP_FAILED);
    vm->header = (struct direct_header *)(void *)vm->control;
    pthread_mutex_init(&vm->lock, NULL);
    code = ram_at(&ram, PAGE, DIRECT_PAGE);
    memset(code, NOP, DIRECT_PAGE);
    return 0;
}

static int tear_down(void **state)
{
    ram_free((struct ram *)(uintptr_t)vm->ram);
    munmap(vm->control, CONTROL_SIZE);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
    return 0;
}

/* The guest writes and executes: the engine makes the page data, the VMM sweeps it. */
static void write_and_execute(uint8_t byte)
{
    code[SITE] = byte;
    vm->control[DIRECT_PAGE_KINDS + (PAGE - RAM) / DIRECT_PAGE] = DIRECT_PAGE_DATA;
    assert_int_equal(code_patch_page(vm, PAGE, PAGE), 0);
}

static void expect_trap_for(uint8_t original)
{
    uint8_t copy = DIRECT_TRAP;

    assert_int_equal(code[SITE], DIRECT_TRAP);
    assert_int_equal(vm->site_count, 1);
    code_original(vm, PAGE + SITE, &copy, 1);
    assert_int_equal(copy, original);
}

static void the_same_code_written_again_traps_again(void **state)
{
    write_and_execute(PUSHF);
    expect_trap_for(PUSHF);
    write_and_execute(PUSHF);
    expect_trap_for(PUSHF);
}

static void other_code_in_its_place_has_its_own_original(void **state)
{
    write_and_execute(PUSHF);
    write_and_execute(POPF);
    expect_trap_for(POPF);
    write_and_execute(PUSHF);
    expect_trap_for(PUSHF);
}

static void code_that_is_no_more_is_forgotten(void **state)
{
    write_and_execute(PUSHF);
    write_and_execute(NOP);
    assert_int_equal(code[SITE], NOP);
    assert_int_equal(vm->site_count, 0);
}

static void a_page_that_another_vcpu_had_swept_stays(void **state)
{
    write_and_execute(PUSHF);
    code[SITE] = PUSHF; /* the original, for one step of that vCPU */
    assert_int_equal(code_patch_page(vm, PAGE, PAGE), 0);
    assert_int_equal(code[SITE], PUSHF);
    assert_int_equal(vm->site_count, 1);
}

static void a_breakpoint_instruction_only_hides_a_site(void **state)
{
    vm->debugged = true;
    write_and_execute(PUSHF);
    code[SITE] = BREAKPOINT;
    assert_int_equal(code_written(vm, PAGE + SITE, 1), 0);
    write_and_execute(BREAKPOINT); /* a write elsewhere in the page, and it is swept again */
    code[SITE] = PUSHF;
    assert_int_equal(code_written(vm, PAGE + SITE, 1), 0);
    expect_trap_for(PUSHF);
}

static void a_breakpoint_moves_to_the_code_in_its_place(void **state)
{
    struct code_break *at = &vm->breaks[0];

    vm->debugged = true;
    write_and_execute(NOP);
    *at = (struct code_break){.gpa = PAGE + SITE, .users = 1, .inserted = true};
    assert_true(code_add_site(vm, at->gpa, NOP));
    code[SITE] = DIRECT_TRAP;
    write_and_execute(PUSHF); /* the trap is there for the guest's sake, whoever needs it too */
    expect_trap_for(PUSHF);
    assert_false(at->inserted);
    write_and_execute(NOP);
    expect_trap_for(NOP);
    assert_true(at->inserted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_code_written_again_traps_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_code_in_its_place_has_its_own_original, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(code_that_is_no_more_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_page_that_another_vcpu_had_swept_stays, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_breakpoint_instruction_only_hides_a_site, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_breakpoint_moves_to_the_code_in_its_place, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
