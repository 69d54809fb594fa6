/*
 * What the engine emulates although a guest could execute it natively: every instruction is
 * executed here and now by the processor as well, with the same random registers, flags and memory,
 * and must come to the same.
 */
#include "unit.h"

#include <sys/mman.h>

#include "accel/direct/engine/device.h"
#include "accel/direct/engine/execute.h"
#include "accel/direct/engine/mmu.h"

#define DATA_SIZE 4096
#define ROUNDS    200

/* Both sides see the memory at the same address: the page tables below map it to itself. */
#define DATA UINT64_C(0x40000000)
#define CODE UINT64_C(0x50000000)
#define RAM  (DATA - 0x200000) /* page tables, then the data */

struct engine engine;

static struct direct_header header;
static struct direct_vcpu shared;
static struct cpu cpu;
static uint8_t page_kinds[(DATA + DATA_SIZE - RAM) / DIRECT_PAGE];
static const struct patch_table no_patches;

/* RSP is not among the registers of the native side: it has a stack of its own. */
struct registers {
    uint64_t gpr[16];
    uint64_t flags;
};

static struct registers *registers_at; /* where the code below finds them */

void device_access(struct cpu *who, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
    fail();
}

static int set_up(void **state)
{
    uint64_t size = DATA + DATA_SIZE - RAM;
    uint8_t *ram = mmap((void *)RAM, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    void *code = mmap((void *)CODE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (ram != (void *)RAM || code != (void *)CODE)
        return -1;
    uint64_t *pml4 = (uint64_t *)RAM, *pdpt = pml4 + 512;
    pml4[0] = (RAM + 0x1000) | PTE_PRESENT | PTE_WRITABLE;
    pdpt[0] = PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
    pdpt[1] = UINT64_C(0x40000000) | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
    engine = (struct engine){.header = &header,
                             .ram = ram,
                             .ram_base = RAM,
                             .ram_size = size,
                             .table = &no_patches,
                             .page_kinds = page_kinds,
                             .fsgsbase = true};
    cpu = (struct cpu){.shared = &shared, .state = &shared.state};
    shared.state.cr3 = RAM;
    shared.state.cr0 = X86_CR0_PG | X86_CR0_PE;
    registers_at = (struct registers *)(CODE + 2048);
    return 0;
}

static int tear_down(void **state)
{
    munmap((void *)RAM, DATA + DATA_SIZE - RAM);
    munmap((void *)CODE, 4096);
    return 0;
}

/* Code: exchange all registers but RSP with those in memory, flags too, around the instruction. */
static uint8_t *emit(uint8_t *to, const void *bytes, size_t size)
{
    memcpy(to, bytes, size);
    return to + size;
}

static uint8_t *exchange_registers(uint8_t *to)
{
    for (unsigned number = 0; number < 16; number++) {
        /* xchg %reg, registers_at->gpr[number] by its absolute address */
        uint8_t insn[8] = {(uint8_t)(0x48 | (number & 8) >> 1), 0x87,
                           (uint8_t)(0x04 | (number & 7) << 3), 0x25};
        uint32_t address = (uint32_t)(uint64_t)&registers_at->gpr[number];
        memcpy(insn + 4, &address, 4);
        if (number != X86_RSP)
            to = emit(to, insn, sizeof insn);
    }
    return to;
}

static uint8_t *exchange_flags(uint8_t *to, bool in)
{
    /* pushq flags; popfq -- pushfq; popq flags */
    uint8_t load[] = {0xff, 0x34, 0x25, 0, 0, 0, 0, 0x9d};
    uint8_t store[] = {0x9c, 0x8f, 0x04, 0x25, 0, 0, 0, 0};
    uint32_t address = (uint32_t)(uint64_t)&registers_at->flags;
    memcpy(load + 3, &address, 4);
    memcpy(store + 4, &address, 4);
    return in ? emit(to, load, sizeof load) : emit(to, store, sizeof store);
}

static void run_natively(const uint8_t *insn, size_t size)
{
    uint8_t *to = (uint8_t *)CODE;
    const uint8_t cld_ret[] = {0xfc, 0xc3};

    to = exchange_registers(to);
    to = exchange_flags(to, true);
    to = emit(to, insn, size);
    to = exchange_flags(to, false);
    to = exchange_registers(to);
    emit(to, cld_ret, sizeof cld_ret);
    __asm__ volatile("sub $256, %%rsp; call *%0; add $256, %%rsp"
                     :
                     : "r"(CODE)
                     : "memory", "cc", "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
}

struct instruction {
    const char *what;
    uint8_t code[10];
    uint8_t size;
    uint64_t undefined; /* flags the manual leaves undefined and processors may differ in */
};

#define INSN(what, ...)                                                                            \
    {                                                                                              \
        what, {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}), 0                                   \
    }

/* Memory operands are at RBX, which points into the data; RCX is a small number. */
static const struct instruction instructions[] = {
    INSN("add %ecx, %edx", 0x01, 0xca),
    INSN("adc %rcx, %rdx", 0x48, 0x11, 0xca),
    INSN("sbb %r9, %r10", 0x4d, 0x19, 0xca),
    INSN("and (%rbx), %rdx", 0x48, 0x23, 0x13),
    INSN("xor %dx, 2(%rbx)", 0x66, 0x31, 0x53, 0x02),
    INSN("cmp $5, %al", 0x3c, 0x05),
    INSN("sub $0x12345678, %rax", 0x48, 0x2d, 0x78, 0x56, 0x34, 0x12),
    INSN("or $-1, %r12d", 0x41, 0x83, 0xcc, 0xff),
    INSN("add $0x80, %ch", 0x80, 0xc5, 0x80),
    INSN("cmp $0x7f, 1(%rbx)", 0x80, 0x7b, 0x01, 0x7f),
    INSN("test %r8b, %sil", 0x44, 0x84, 0xc6),
    INSN("test $0x10, %eax", 0xa9, 0x10, 0, 0, 0),
    INSN("test $1, %dil", 0x40, 0xf6, 0xc7, 0x01),
    INSN("xchg %ax, %dx", 0x66, 0x92),
    INSN("xchg %r11, %rsi", 0x4c, 0x87, 0xde),
    INSN("mov %ah, %dl", 0x88, 0xe2),
    INSN("mov %r13d, %eax", 0x44, 0x89, 0xe8),
    INSN("mov (%rbx,%rcx,4), %r14", 0x4c, 0x8b, 0x34, 0x8b),
    INSN("movb $7, 3(%rbx)", 0xc6, 0x43, 0x03, 0x07),
    INSN("mov $0x1122334455667788, %r15", 0x49, 0xbf, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22,
         0x11),
    INSN("mov $-2, %rdx", 0x48, 0xc7, 0xc2, 0xfe, 0xff, 0xff, 0xff),
    INSN("mov $9, %dh", 0xb6, 0x09),
    INSN("lea 4(%rbx,%rcx,8), %edx", 0x8d, 0x54, 0xcb, 0x04),
    INSN("movslq %edx, %rax", 0x48, 0x63, 0xc2),
    INSN("movzbl %ah, %edx", 0x0f, 0xb6, 0xd4),
    INSN("movsbq %cl, %r9", 0x4c, 0x0f, 0xbe, 0xc9),
    INSN("movzwl 5(%rbx), %esi", 0x0f, 0xb7, 0x73, 0x05),
    INSN("cwtl", 0x98),
    INSN("cltq", 0x48, 0x98),
    INSN("cbtw", 0x66, 0x98),
    INSN("cltd", 0x99),
    INSN("cqto", 0x48, 0x99),
    INSN("inc %r8w", 0x66, 0x41, 0xff, 0xc0),
    INSN("dec %edi", 0xff, 0xcf),
    INSN("neg %rsi", 0x48, 0xf7, 0xde),
    INSN("not %r10", 0x49, 0xf7, 0xd2),
    INSN("shl $3, %rdx", 0x48, 0xc1, 0xe2, 0x03),
    INSN("shr %cl, %eax", 0xd3, 0xe8),
    INSN("sar $1, %r11", 0x49, 0xd1, 0xfb),
    INSN("rol %cl, %dx", 0x66, 0xd3, 0xc2),
    INSN("rcr $1, %edx", 0xd1, 0xda),
    INSN("shr $12, 8(%rbx)", 0x48, 0xc1, 0x6b, 0x08, 0x0c),
    INSN("imul %rdx, %rax", 0x48, 0x0f, 0xaf, 0xc2),
    INSN("imul $100, %esi, %edx", 0x6b, 0xd6, 0x64),
    INSN("imul $0x10001, (%rbx), %rdx", 0x48, 0x69, 0x13, 0x01, 0x00, 0x01, 0x00),
    INSN("mul %rsi", 0x48, 0xf7, 0xe6),
    INSN("mul %esi", 0xf7, 0xe6),
    INSN("imul %r9", 0x49, 0xf7, 0xe9),
    INSN("bt $5, %rdx", 0x48, 0x0f, 0xba, 0xe2, 0x05),
    INSN("bts %rsi, %rdx", 0x48, 0x0f, 0xab, 0xf2),
    INSN("btr %ecx, %edx", 0x0f, 0xb3, 0xca),
    INSN("btc $63, %r8", 0x49, 0x0f, 0xba, 0xf8, 0x3f),
    INSN("bsf %rdx, %rax", 0x48, 0x0f, 0xbc, 0xc2),
    INSN("bsr %esi, %eax", 0x0f, 0xbd, 0xc6),
    INSN("tzcnt %rdx, %rax", 0xf3, 0x48, 0x0f, 0xbc, 0xc2),
    INSN("lzcnt (%rbx), %rax", 0xf3, 0x48, 0x0f, 0xbd, 0x03),
    INSN("popcnt %rdx, %rax", 0xf3, 0x48, 0x0f, 0xb8, 0xc2),
    INSN("bswap %rdx", 0x48, 0x0f, 0xca),
    INSN("bswap %r9d", 0x41, 0x0f, 0xc9),
    INSN("cmova %rdx, %rax", 0x48, 0x0f, 0x47, 0xc2),
    INSN("cmovl %edx, %eax", 0x0f, 0x4c, 0xc2),
    INSN("cmovs (%rbx), %rsi", 0x48, 0x0f, 0x48, 0x33),
    INSN("setb %dl", 0x0f, 0x92, 0xc2),
    INSN("setle %r8b", 0x41, 0x0f, 0x9e, 0xc0),
    INSN("cmpxchg %rdx, %rsi", 0x48, 0x0f, 0xb1, 0xd6),
    INSN("lock cmpxchg %rdx, (%rbx)", 0xf0, 0x48, 0x0f, 0xb1, 0x13),
    INSN("xadd %edx, %esi", 0x0f, 0xc1, 0xd6),
    INSN("lock xadd %rdx, 16(%rbx)", 0xf0, 0x48, 0x0f, 0xc1, 0x53, 0x10),
    INSN("clc", 0xf8),
    INSN("stc", 0xf9),
    INSN("endbr64", 0xf3, 0x0f, 0x1e, 0xfa),
    INSN("nopw (%rax,%rax)", 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00),
    INSN("mfence", 0x0f, 0xae, 0xf0),
};

static uint64_t random64(void)
{
    uint64_t value = (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
    /* Interesting values are more likely than by chance. */
    switch (rand() % 8) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX;
    case 2:
        return UINT64_C(1) << (rand() % 64);
    case 3:
        return value & 0xff;
    default:
        return value;
    }
}

static void check(const struct instruction *insn)
{
    static uint8_t before[DATA_SIZE], after[DATA_SIZE];
    uint8_t *data = (uint8_t *)DATA;
    struct registers start = {.flags = 2 | ((uint64_t)rand() & RFLAGS_STATUS)};
    struct insn decoded;

    for (unsigned i = 0; i < 16; i++)
        start.gpr[i] = random64();
    start.gpr[X86_RBX] = DATA + 64;
    start.gpr[X86_RCX] %= 40;
    for (unsigned i = 0; i < 128; i++)
        data[i] = (uint8_t)rand();

    memcpy(before, data, DATA_SIZE);
    *registers_at = start;
    run_natively(insn->code, insn->size);
    struct registers expected = *registers_at;
    memcpy(after, data, DATA_SIZE);
    memcpy(data, before, DATA_SIZE);

    memcpy(shared.state.gpr, start.gpr, sizeof start.gpr);
    shared.state.rflags = start.flags;
    shared.state.rip = CODE;
    assert_true(insn_decode(insn->code, insn->size, &decoded));
    assert_int_equal(decoded.length, insn->size);
    if (execute_run(&cpu, &decoded) != RESULT_OK)
        fail_msg("%s is not emulated", insn->what);
    assert_int_equal(shared.state.rip, CODE + insn->size);
    assert_int_equal(shared.state.rflags & RFLAGS_STATUS, expected.flags & RFLAGS_STATUS);
    for (unsigned i = 0; i < 16; i++)
        if (i != X86_RSP && shared.state.gpr[i] != expected.gpr[i])
            fail_msg("%s: register %u is %#lx, not %#lx", insn->what, i, shared.state.gpr[i],
                     expected.gpr[i]);
    assert_memory_equal(data, after, DATA_SIZE);
}

static void instructions_do_what_the_processor_does(void **state)
{
    srand(1);
    for (unsigned i = 0; i < sizeof instructions / sizeof *instructions; i++)
        for (unsigned round = 0; round < ROUNDS; round++)
            check(&instructions[i]);
}

/* Run one instruction at RIP and say what came of it. */
static enum result run(const uint8_t *code, size_t size)
{
    struct insn insn;
    shared.state.rip = CODE;
    assert_true(insn_decode(code, size, &insn));
    return execute_run(&cpu, &insn);
}

#define RUN(...) run((uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void divisions_are_exact_or_left_alone(void **state)
{
    uint64_t *gpr = shared.state.gpr;

    memset(gpr, 0, sizeof shared.state.gpr);
    gpr[X86_RAX] = 1000000007;
    gpr[X86_RDX] = 5;
    gpr[X86_RSI] = 10;
    assert_int_equal(RUN(0x48, 0xf7, 0xf6), RESULT_OK); /* div %rsi */
    assert_true(gpr[X86_RAX] == (uint64_t)((((unsigned __int128)5 << 64) + 1000000007) / 10));
    assert_true(gpr[X86_RDX] == (uint64_t)((((unsigned __int128)5 << 64) + 1000000007) % 10));
    gpr[X86_RDX] = 10; /* the quotient would not fit */
    assert_int_equal(RUN(0x48, 0xf7, 0xf6), RESULT_UNKNOWN);
    gpr[X86_RSI] = gpr[X86_RDX] = 0;
    assert_int_equal(RUN(0xf7, 0xf6), RESULT_UNKNOWN);
    gpr[X86_RAX] = (uint64_t)-7;
    gpr[X86_RDX] = UINT64_MAX;
    gpr[X86_RSI] = 2;
    assert_int_equal(RUN(0x48, 0xf7, 0xfe), RESULT_OK); /* idiv %rsi */
    assert_true((int64_t)gpr[X86_RAX] == -3 && (int64_t)gpr[X86_RDX] == -1);
    gpr[X86_RAX] = UINT64_C(1) << 63;
    gpr[X86_RDX] = UINT64_MAX;
    gpr[X86_RSI] = UINT64_MAX;
    assert_int_equal(RUN(0x48, 0xf7, 0xfe), RESULT_UNKNOWN);
}

static void control_goes_where_it_should(void **state)
{
    uint64_t *gpr = shared.state.gpr, *stack = (uint64_t *)(DATA + 0x800);

    gpr[X86_RSP] = (uint64_t)stack;
    shared.state.rflags = 2;
    assert_int_equal(RUN(0xe8, 0x00, 0x01, 0, 0), RESULT_OK); /* call */
    assert_int_equal(shared.state.rip, CODE + 0x105);
    assert_int_equal(stack[-1], CODE + 5);
    assert_int_equal(RUN(0xc2, 0x10, 0x00), RESULT_OK); /* ret $16 */
    assert_int_equal(shared.state.rip, CODE + 5);
    assert_int_equal(gpr[X86_RSP], (uint64_t)(stack + 2));
    assert_int_equal(RUN(0x74, 0x10), RESULT_OK); /* je, not taken */
    assert_int_equal(shared.state.rip, CODE + 2);
    assert_int_equal(RUN(0x0f, 0x85, 0xf0, 0xff, 0xff, 0xff), RESULT_OK); /* jne */
    assert_int_equal(shared.state.rip, CODE + 6 - 16);
    gpr[X86_RCX] = 0;
    assert_int_equal(RUN(0xe3, 0x05), RESULT_OK); /* jrcxz */
    assert_int_equal(shared.state.rip, CODE + 7);
    gpr[X86_RAX] = 0x12345678;
    assert_int_equal(RUN(0xff, 0xe0), RESULT_OK); /* jmp *%rax */
    assert_int_equal(shared.state.rip, 0x12345678);
    gpr[X86_RAX] = UINT64_C(1) << 60;
    assert_int_equal(RUN(0xff, 0xd0), RESULT_UNKNOWN); /* call *%rax */
    gpr[X86_R9] = 77;
    assert_int_equal(RUN(0x41, 0x51), RESULT_OK); /* push %r9 */
    assert_int_equal(RUN(0x5e), RESULT_OK);       /* pop %rsi */
    assert_int_equal(gpr[X86_RSI], 77);
    gpr[X86_RBP] = (uint64_t)(stack - 4);
    stack[-4] = 0x4444;
    assert_int_equal(RUN(0xc9), RESULT_OK); /* leave */
    assert_int_equal(gpr[X86_RBP], 0x4444);
    assert_int_equal(gpr[X86_RSP], (uint64_t)(stack - 3));
}

static void what_must_trap_is_left_to_the_guest(void **state)
{
    shared.state.gpr[X86_RBX] = DATA;
    assert_int_equal(RUN(0xf3, 0x90), RESULT_UNKNOWN);             /* pause */
    assert_int_equal(RUN(0xcc), RESULT_UNKNOWN);                   /* int3 */
    assert_int_equal(RUN(0xf0, 0x01, 0xca), RESULT_UNKNOWN);       /* lock add %ecx, %edx */
    assert_int_equal(RUN(0xf0, 0x8b, 0x13), RESULT_UNKNOWN);       /* lock mov (%rbx), %edx */
    assert_int_equal(RUN(0xf0, 0x0f, 0xa3, 0x13), RESULT_UNKNOWN); /* lock bt */
    assert_int_equal(RUN(0x0f, 0x0b), RESULT_UNKNOWN);             /* ud2 */
    shared.state.gpr[X86_RBX] = 0x1000000000;                      /* not mapped */
    uint64_t rdx = shared.state.gpr[X86_RDX], rsp = shared.state.gpr[X86_RSP];
    assert_int_equal(RUN(0x48, 0x8b, 0x13), RESULT_FAULT);
    assert_int_equal(RUN(0xff, 0x33), RESULT_FAULT); /* push (%rbx) */
    shared.state.gpr[X86_RSP] = 0x1000000000;
    assert_int_equal(RUN(0xe8, 0, 0, 0, 0), RESULT_FAULT);
    assert_int_equal(shared.state.gpr[X86_RSP], 0x1000000000);
    assert_int_equal(shared.state.rip, CODE);
    assert_int_equal(shared.state.gpr[X86_RDX], rdx);
    shared.state.gpr[X86_RSP] = rsp;
}

/* Swept code that is written to becomes data again: by the guest's own page fault. */
static void swept_code_is_not_written_while_running_ahead(void **state)
{
    static struct mmu_cache cache;
    uint8_t *kind = &page_kinds[(DATA - RAM) / DIRECT_PAGE];

    mmu_cache_flush(&cache);
    cpu.mmu_cache = &cache;
    shared.state.gpr[X86_RBX] = DATA;
    *kind = DIRECT_PAGE_CODE;
    assert_int_equal(RUN(0xc6, 0x03, 0x01), RESULT_FAULT);       /* movb $1, (%rbx) */
    assert_int_equal(RUN(0xf0, 0x48, 0x01, 0x13), RESULT_FAULT); /* lock add */
    *kind = DIRECT_PAGE_DATA;
    assert_int_equal(RUN(0xc6, 0x03, 0x01), RESULT_OK);
    cpu.mmu_cache = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instructions_do_what_the_processor_does),
        cmocka_unit_test(divisions_are_exact_or_left_alone),
        cmocka_unit_test(control_goes_where_it_should),
        cmocka_unit_test(what_must_trap_is_left_to_the_guest),
        cmocka_unit_test(swept_code_is_not_written_while_running_ahead),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
