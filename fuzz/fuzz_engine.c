/*
 * Fuzz target: instructions that the accelerator 'direct' decodes and emulates, in a guest whose
 * page tables and memory the input has made as well. The decoder agrees with another one about
 * lengths; the emulator touches guest RAM and the vCPU's registers only, and leaves everything as
 * it was when it raises an exception before it has stored anything.
 *
 * Input: registers in short (16 bytes), flags (1 byte), page-table words to set (1 byte, then for
 * each: place (2 bytes) and value (4 bytes)), interrupt to deliver (1 byte), then instructions.
 */
#include "accel/direct/engine/alu.h"
#include "accel/direct/engine/device.h"
#include "accel/direct/engine/emulate.h"
#include "accel/direct/engine/execute.h"
#include "accel/direct/engine/interrupt.h"
#include "accel/direct/engine/mmu.h"
#include "fuzz.h"
#include "input.h"

#ifdef HAVE_ZYDIS
#include <Zydis/Zydis.h>
#endif

#define BASE      UINT64_C(0x100000000)
#define RAM_SIZE  UINT64_C(0x10000)
#define TABLES    (BASE + 0x1000) /* four of them */
#define GDT       (BASE + 0x5000)
#define IDT       (BASE + 0x6000)
#define STACK     (BASE + 0x9000)
#define VA        UINT64_C(0x40000000)
#define INSNS_MAX 32

struct engine engine;

static struct direct_header header;
static const struct patch_table no_patches;
static struct direct_vcpu shared;
static struct cpu cpu;
static uint8_t fpu[512 + 64], device[16];
static uint8_t kinds[RAM_SIZE / DIRECT_PAGE];

void device_access(struct cpu *who, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
    require(size >= 1 && size <= 64 &&
            (gpa < BASE || gpa >= BASE + RAM_SIZE || size > BASE + RAM_SIZE - gpa));
    for (unsigned i = 0; i < size; i++)
        if (write)
            device[(gpa + i) % sizeof device] = data[i];
        else
            data[i] = device[(gpa + i) % sizeof device];
    who->device_reached = true;
}

static uint64_t *word(uint64_t gpa)
{
    return (uint64_t *)(void *)(engine.ram + (gpa - BASE));
}

/* 16 pages at VA, a device behind them, the same 16 read-only at VA + 0x20000; the input changes
 * that. */
static void make_tables(void)
{
    word(TABLES)[0] = (TABLES + 0x1000) | PTE_PRESENT | PTE_WRITABLE;
    word(TABLES + 0x1000)[1] = (TABLES + 0x2000) | PTE_PRESENT | PTE_WRITABLE;
    word(TABLES + 0x2000)[0] = (TABLES + 0x3000) | PTE_PRESENT | PTE_WRITABLE;
    for (unsigned i = 0; i < 16; i++) {
        word(TABLES + 0x3000)[i] = (BASE + i * 0x1000) | PTE_PRESENT | PTE_WRITABLE;
        word(TABLES + 0x3000)[32 + i] = (BASE + i * 0x1000) | PTE_PRESENT;
    }
    word(TABLES + 0x3000)[16] = UINT64_C(0xfee00000) | PTE_PRESENT | PTE_WRITABLE;
    word(GDT)[1] = UINT64_C(0x00af9b000000ffff);
    for (unsigned i = 0; i < 32; i++)
        word(IDT)[2 * i] = (VA & 0xffff0000) << 32 | UINT64_C(0x8e0000080000) | 0x100;
}

static void set_up(struct input *input)
{
    engine = (struct engine){.header = &header,
                             .ram = aligned_alloc(4096, RAM_SIZE),
                             .ram_base = BASE,
                             .ram_size = RAM_SIZE,
                             .table = &no_patches,
                             .page_kinds = kinds};
    require(engine.ram != NULL);
    memset(engine.ram, 0, RAM_SIZE);
    memset(&shared, 0, sizeof shared);
    memset(fpu, 0x5a, sizeof fpu);
    cpu = (struct cpu){.shared = &shared, .state = &shared.state, .fpu = fpu};
    make_tables();
    struct x86_state *state = cpu.state;
    for (unsigned i = 0; i < 16; i++)
        state->gpr[i] = VA + take(input, 1) * 0x111; /* in the pages and behind them */
    state->gpr[X86_RSP] = VA + 0x9000;
    state->rip = VA + 0x2000;
    state->rflags = X86_RFLAGS_FIXED | (take(input, 1) & 0xd5) << 0;
    state->cr0 = X86_CR0_PG | X86_CR0_PE | X86_CR0_WP;
    state->cr3 = TABLES;
    state->efer = X86_EFER_NXE | X86_EFER_LMA | X86_EFER_LME;
    state->cs = (struct x86_segment){.selector = 8, .attributes = 0xa9b, .limit = UINT32_MAX};
    state->gdt = (struct x86_table){GDT - BASE + VA, 23};
    state->idt = (struct x86_table){IDT - BASE + VA, 32 * 16 - 1};
    for (uint64_t count = take(input, 1) % 16; count && input->size; count--) {
        uint64_t place = take(input, 2), value = take(input, 4);
        word(TABLES)[place % (0x6000 / 8)] ^= value << (place >> 13) * 8;
    }
}

static void check_decoder(const uint8_t *code, size_t size)
{
    uint8_t *copy = malloc(size); /* for the address sanitizer */
    struct insn insn;

    require(copy != NULL);
    memcpy(copy, code, size);
    if (insn_decode(copy, (unsigned)size, &insn)) {
        require(insn.length > 0 && insn.length <= INSN_MAX && insn.length <= size);
        require(insn.reg < 16 && (insn.memory || insn.rm < 16));
        require(insn.size == 2 || insn.size == 4 || insn.size == 8);
#ifdef HAVE_ZYDIS
        ZydisDecoder zydis;
        ZydisDecodedInstruction other;
        ZydisDecoderInit(&zydis, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zydis, NULL, copy, size, &other)))
            require(insn.length == other.length);
#endif
    }
    free(copy);
}

/* One instruction; false if this part of the engine does not know it. */
static bool emulate(const uint8_t *code, size_t size)
{
    struct insn insn;
    struct x86_state before = *cpu.state;

    if (!insn_decode(code, (unsigned)(size < INSN_MAX ? size : INSN_MAX), &insn))
        return false;
    enum result result = execute_run(&cpu, &insn);
    if (result == RESULT_UNKNOWN) {
        require(memcmp(&before, cpu.state, sizeof before) == 0);
        result = emulate_access(&cpu, &insn);
    }
    if (result == RESULT_UNKNOWN)
        require(memcmp(&before, cpu.state, sizeof before) == 0);
    if (result == RESULT_FAULT) {
        require(cpu.fault.vector < 32 && cpu.state->rip == before.rip);
        struct fault fault = cpu.fault;
        interrupt_deliver(&cpu, &fault, INTERRUPT_FAULT);
    }
    require(cpu.state->cr3 == before.cr3 && cpu.state->cr0 == before.cr0);
    require(cpu.state->efer == before.efer && cpu.state->gdt.base == before.gdt.base);
    return result != RESULT_UNKNOWN;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {bytes, size};
    uint8_t code[INSN_MAX];

    set_up(&input);
    uint8_t vector = (uint8_t)take(&input, 1);
    if (vector < 64) {
        const struct fault fault = {.vector = vector, .has_error = vector & 8};
        interrupt_deliver(&cpu, &fault, INTERRUPT_EXTERNAL);
    }
    for (unsigned i = 0; i < INSNS_MAX && input.size; i++) {
        size_t part = input.size < INSN_MAX ? input.size : INSN_MAX;
        struct insn insn;
        memcpy(code, input.bytes, part);
        check_decoder(code, part);
        size_t length = insn_decode(code, (unsigned)part, &insn) ? insn.length : 1;
        emulate(code, part);
        take_bytes(&input, length);
    }
    for (size_t i = 512; i < sizeof fpu; i++)
        require(fpu[i] == 0x5a);
    free(engine.ram);
    return 0;
}
