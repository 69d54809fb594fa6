/* The engine of the accelerator 'direct', as far as it can be tried outside its process: the walk
 * of page tables, delivery through an IDT, and the emulation of data accesses. The guest is a piece
 * of memory with page tables made by hand; device memory is an array. */
#include "unit.h"

#include "accel/direct/engine/alu.h"
#include "accel/direct/engine/device.h"
#include "accel/direct/engine/emulate.h"
#include "accel/direct/engine/interrupt.h"
#include "accel/direct/engine/mmu.h"

#define BASE     UINT64_C(0x100000000)
#define RAM_SIZE (UINT64_C(4) << 20)
#define PML4     (BASE + 0x1000)
#define PDPT     (BASE + 0x2000)
#define PD       (BASE + 0x3000)
#define PT       (BASE + 0x4000)
#define GDT      (BASE + 0x5000)
#define IDT      (BASE + 0x6000)
#define TSS      (BASE + 0x7000)
#define STACK    (BASE + 0x9000)
#define DATA     (BASE + 0x10000)

/* Guest-virtual: the first GiB is mapped with the tables below. */
#define VA(offset)   (UINT64_C(0x40000000) + (offset))
#define DEVICE_GPA   UINT64_C(0xe0000000)
#define DEVICE_VA    VA(0x3000)
#define READ_ONLY_VA VA(0x1000)
#define NX_VA        VA(0x2000)
#define LARGE_VA     VA(0x200000)

struct engine engine;

static uint8_t *ram;
static struct direct_header header;
static struct direct_vcpu shared;
static struct cpu cpu;
static uint8_t device[64];
static uint8_t fpu[512];
static const struct patch_table no_patches;

void device_access(struct cpu *who, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
    uint8_t *at = device + (gpa - DEVICE_GPA);
    memcpy(write ? at : data, write ? data : at, size);
}

static uint64_t *word(uint64_t gpa)
{
    return (uint64_t *)(void *)(ram + (gpa - BASE));
}

static int set_up(void **state)
{
    ram = calloc(1, RAM_SIZE);
    engine = (struct engine){.header = &header,
                             .ram = ram,
                             .ram_base = BASE,
                             .ram_size = RAM_SIZE,
                             .table = &no_patches,
                             .fsgsbase = true};
    shared = (struct direct_vcpu){0};
    cpu = (struct cpu){.shared = &shared, .state = &shared.state, .fpu = fpu};
    shared.state.cr3 = PML4;
    shared.state.cr0 = X86_CR0_PG | X86_CR0_PE;
    shared.state.efer = X86_EFER_NXE | X86_EFER_LMA | X86_EFER_LME;
    shared.state.gpr[X86_RSP] = STACK;
    shared.state.cs.selector = 8;
    shared.state.ss.selector = 16;
    shared.state.gdt = (struct x86_table){GDT, 39};
    shared.state.idt = (struct x86_table){IDT, 0xfff};
    /* 4 GiB: identity with one 1 GiB page; 1 GiB: small and large pages. */
    *word(PML4) = PDPT | PTE_PRESENT | PTE_WRITABLE;
    word(PDPT)[4] = BASE | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
    word(PDPT)[1] = PD | PTE_PRESENT | PTE_WRITABLE;
    word(PD)[0] = PT | PTE_PRESENT | PTE_WRITABLE;
    word(PD)[1] = (BASE + 0x200000) | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
    word(PT)[0] = DATA | PTE_PRESENT | PTE_WRITABLE;
    word(PT)[1] = DATA | PTE_PRESENT;
    word(PT)[2] = DATA | PTE_PRESENT | PTE_WRITABLE | PTE_NX;
    word(PT)[3] = DEVICE_GPA | PTE_PRESENT | PTE_WRITABLE;
    word(GDT)[1] = UINT64_C(0x00af9b000000ffff);
    word(GDT)[2] = UINT64_C(0x00cf93000000ffff);
    return 0;
}

static int tear_down(void **state)
{
    free(ram);
    return 0;
}

static void set_gate(unsigned vector, uint64_t handler, unsigned ist, unsigned type)
{
    uint64_t *gate = word(IDT + 16 * vector);
    gate[0] = (handler & 0xffff) | UINT64_C(8) << 16 | (uint64_t)ist << 32 |
              (uint64_t)(0x80 | type) << 40 | (handler & 0xffff0000) << 32;
    gate[1] = handler >> 32;
}

/* Page tables. */

static void translation_sets_accessed_and_dirty(void **state)
{
    struct translation t;
    assert_true(mmu_translate(&cpu, VA(0x123), ACCESS_READ, &t));
    assert_int_equal(t.gpa, DATA + 0x123);
    assert_false(t.writable); /* not before it is dirty */
    assert_int_equal(word(PT)[0] & (PTE_ACCESSED | PTE_DIRTY), PTE_ACCESSED);
    assert_int_equal(word(PD)[0] & PTE_ACCESSED, PTE_ACCESSED);
    assert_true(mmu_translate(&cpu, VA(0), ACCESS_WRITE, &t));
    assert_true(t.writable);
    assert_int_equal(word(PT)[0] & PTE_DIRTY, PTE_DIRTY);
    assert_true(mmu_translate(&cpu, LARGE_VA + 0x12345, ACCESS_READ, &t));
    assert_int_equal(t.gpa, BASE + 0x212345);
    assert_int_equal(t.level, 1);
}

static void expect_page_fault(uint64_t gva, enum access access, uint32_t error)
{
    struct translation t;
    assert_false(mmu_translate(&cpu, gva, access, &t));
    assert_int_equal(cpu.fault.vector, VECTOR_PF);
    assert_int_equal(cpu.fault.error, error);
    assert_true(cpu.fault.address == gva);
}

static void page_faults_have_the_right_error_code(void **state)
{
    struct translation t;
    expect_page_fault(VA(0x4000), ACCESS_READ, 0);
    expect_page_fault(VA(0x4000), ACCESS_WRITE, PF_WRITE);
    expect_page_fault(NX_VA, ACCESS_EXECUTE, PF_PRESENT | PF_FETCH);
    assert_true(mmu_translate(&cpu, READ_ONLY_VA, ACCESS_WRITE, &t)); /* CR0.WP is clear */
    cpu.state->cr0 |= X86_CR0_WP;
    expect_page_fault(READ_ONLY_VA, ACCESS_WRITE, PF_PRESENT | PF_WRITE);
    cpu.state->efer &= ~X86_EFER_NXE;
    expect_page_fault(NX_VA, ACCESS_READ, PF_PRESENT | PF_RESERVED);
    assert_false(mmu_translate(&cpu, UINT64_C(0x800000000000), ACCESS_READ, &t));
    assert_int_equal(cpu.fault.vector, VECTOR_GP);
}

/* Delivery. */

static void an_exception_pushes_its_frame(void **state)
{
    set_gate(VECTOR_PF, 0x1234567890, 0, 0xe);
    cpu.state->rip = 0x1111;
    cpu.state->rflags = X86_RFLAGS_FIXED | X86_RFLAGS_IF | RFLAGS_TF;
    cpu.state->gpr[X86_RSP] = STACK - 3;
    struct fault fault = {VECTOR_PF, true, 2, 0x2222};
    assert_true(interrupt_deliver(&cpu, &fault, INTERRUPT_FAULT));
    assert_int_equal(cpu.state->rip, 0x1234567890);
    assert_int_equal(cpu.state->cr2, 0x2222);
    assert_int_equal(cpu.state->rflags, X86_RFLAGS_FIXED); /* IF and TF are gone */
    uint64_t rsp = cpu.state->gpr[X86_RSP];
    assert_int_equal(rsp, ((STACK - 3) & ~UINT64_C(15)) - 48);
    const uint64_t expected[] = {
        2, 0x1111, 8, X86_RFLAGS_FIXED | X86_RFLAGS_IF | RFLAGS_TF | RFLAGS_RF, STACK - 3, 16};
    assert_memory_equal(word(rsp), expected, sizeof expected);
}

static void a_trap_gate_leaves_interrupts_on_and_ist_switches_stacks(void **state)
{
    set_gate(3, 0x9000, 2, 0xf);
    cpu.state->tr = (struct x86_segment){.base = TSS, .limit = 0x67, .selector = 0x18};
    uint64_t ist2 = BASE + 0xf008;
    memcpy(ram + (TSS - BASE) + 0x2c, &ist2, 8);
    cpu.state->rflags = X86_RFLAGS_FIXED | X86_RFLAGS_IF;
    assert_true(interrupt_deliver(&cpu, &(struct fault){.vector = 3}, INTERRUPT_TRAP));
    assert_int_equal(cpu.state->rflags, X86_RFLAGS_FIXED | X86_RFLAGS_IF);
    assert_int_equal(cpu.state->gpr[X86_RSP], BASE + 0xf000 - 40);
}

static void failures_escalate(void **state)
{
    /* No gate for #PF: its delivery raises #NP, so a double fault is due. */
    struct fault fault = {VECTOR_PF, true, 0, 0x5000};
    set_gate(VECTOR_DF, 0xdf00, 0, 0xe);
    assert_true(interrupt_deliver(&cpu, &fault, INTERRUPT_FAULT));
    assert_int_equal(cpu.state->rip, 0xdf00);
    assert_int_equal(*word(cpu.state->gpr[X86_RSP]), 0); /* its error code */
    /* A benign exception whose delivery fails: the second is delivered as itself. */
    set_gate(VECTOR_GP, 0x6500, 0, 0xe);
    assert_true(interrupt_deliver(&cpu, &(struct fault){.vector = VECTOR_UD}, INTERRUPT_FAULT));
    assert_int_equal(cpu.state->rip, 0x6500);
    assert_int_equal(*word(cpu.state->gpr[X86_RSP]), VECTOR_UD * 8 + 3);
    /* And without any gate a triple fault, with the registers as they were. */
    cpu.state->idt.limit = 0;
    cpu.state->rip = 0x7777;
    assert_false(interrupt_deliver(&cpu, &fault, INTERRUPT_FAULT));
    assert_int_equal(cpu.state->rip, 0x7777);
}

/* Emulation. */

static enum result run(const uint8_t *code, unsigned size)
{
    struct insn insn;
    assert_true(insn_decode(code, size, &insn));
    assert_int_equal(insn.length, size);
    return emulate_access(&cpu, &insn);
}

#define RUN(...)                                                                                   \
    run((const uint8_t[]){__VA_ARGS__}, (unsigned)sizeof((const uint8_t[]){__VA_ARGS__}))

static void moves_reach_device_memory(void **state)
{
    uint64_t *gpr = cpu.state->gpr;
    gpr[X86_RBX] = DEVICE_VA;
    gpr[X86_RAX] = 0x1122334455667788;
    assert_int_equal(RUN(0x48, 0x89, 0x43, 0x08), RESULT_OK); /* mov %rax, 8(%rbx) */
    assert_memory_equal(device + 8, &gpr[X86_RAX], 8);
    gpr[X86_RCX] = UINT64_MAX;
    assert_int_equal(RUN(0x8b, 0x4b, 0x08), RESULT_OK); /* mov 8(%rbx), %ecx */
    assert_int_equal(gpr[X86_RCX], 0x55667788);
    assert_int_equal(RUN(0x0f, 0xbe, 0x4b, 0x08), RESULT_OK); /* movsbl 8(%rbx), %ecx */
    assert_int_equal(gpr[X86_RCX], 0xffffff88);
    assert_int_equal(RUN(0x8a, 0x63, 0x08), RESULT_OK); /* mov 8(%rbx), %ah */
    assert_int_equal(gpr[X86_RAX], 0x1122334455668888);
    assert_int_equal(cpu.state->rip, 4 + 3 + 4 + 3);
}

static void arithmetic_sets_flags(void **state)
{
    uint64_t *gpr = cpu.state->gpr;
    gpr[X86_RBX] = VA(0);
    *word(DATA) = 1;
    gpr[X86_RAX] = 2;
    cpu.state->rflags = X86_RFLAGS_FIXED | X86_RFLAGS_IF;
    assert_int_equal(RUN(0x48, 0x29, 0x03), RESULT_OK); /* sub %rax, (%rbx) */
    assert_true(*word(DATA) == UINT64_MAX);
    assert_int_equal(cpu.state->rflags, X86_RFLAGS_FIXED | X86_RFLAGS_IF | RFLAGS_CF | RFLAGS_SF |
                                            RFLAGS_AF | RFLAGS_PF);
    gpr[X86_RAX] = UINT64_MAX;
    gpr[X86_RCX] = 5;
    assert_int_equal(RUN(0xf0, 0x48, 0x0f, 0xb1, 0x0b), RESULT_OK); /* lock cmpxchg */
    assert_int_equal(*word(DATA), 5);
    assert_true(cpu.state->rflags & RFLAGS_ZF);
    assert_int_equal(RUN(0x48, 0x0f, 0xc1, 0x0b), RESULT_OK); /* xadd %rcx, (%rbx) */
    assert_int_equal(*word(DATA), 10);
    assert_int_equal(gpr[X86_RCX], 5);
    assert_int_equal(RUN(0x48, 0x0f, 0xba, 0x2b, 0x3f), RESULT_OK); /* bts $63, (%rbx) */
    assert_true(*word(DATA) == (UINT64_C(1) << 63 | 10));
    assert_false(cpu.state->rflags & RFLAGS_CF);
}

static void strings_stop_at_a_fault_with_exact_registers(void **state)
{
    uint64_t *gpr = cpu.state->gpr;
    gpr[X86_RAX] = 0x42;
    gpr[X86_RCX] = 0x1800;
    gpr[X86_RDI] = VA(0);
    assert_int_equal(RUN(0xf3, 0xaa), RESULT_OK); /* rep stosb, a batch at a time */
    assert_int_equal(gpr[X86_RCX], 0x800);
    assert_int_equal(cpu.state->rip, 0);
    assert_int_equal(RUN(0xf3, 0xaa), RESULT_OK);
    assert_int_equal(gpr[X86_RCX], 0);
    assert_int_equal(cpu.state->rip, 2);
    gpr[X86_RCX] = 3;
    gpr[X86_RDI] = VA(0x1ffc);
    word(PT)[2] = 0;
    assert_int_equal(RUN(0xf3, 0xab), RESULT_FAULT); /* rep stosl: the second element */
    assert_int_equal(gpr[X86_RCX], 2);
    assert_true(gpr[X86_RDI] == VA(0x2000));
    assert_int_equal(cpu.fault.error, PF_WRITE);
}

static void vector_moves_use_the_frame(void **state)
{
    uint64_t *gpr = cpu.state->gpr;
    gpr[X86_RBX] = DEVICE_VA;
    for (unsigned i = 0; i < 16; i++)
        fpu[160 + 16 + i] = (uint8_t)i;
    assert_int_equal(RUN(0x0f, 0x11, 0x0b), RESULT_OK); /* movups %xmm1, (%rbx) */
    assert_memory_equal(device, fpu + 176, 16);
    assert_int_equal(RUN(0x0f, 0x10, 0x13), RESULT_OK); /* movups (%rbx), %xmm2 */
    assert_memory_equal(fpu + 192, fpu + 176, 16);
    assert_int_equal(RUN(0x0f, 0x58, 0x13), RESULT_UNKNOWN); /* addps */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(translation_sets_accessed_and_dirty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(page_faults_have_the_right_error_code, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_exception_pushes_its_frame, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_trap_gate_leaves_interrupts_on_and_ist_switches_stacks,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_escalate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(moves_reach_device_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(arithmetic_sets_flags, set_up, tear_down),
        cmocka_unit_test_setup_teardown(strings_stop_at_a_fault_with_exact_registers, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(vector_moves_use_the_frame, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
