#include "accel/direct/engine/xstate.h"

#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"

/* Components. */
#define XCR0_X87    UINT64_C(1)
#define XCR0_SSE    UINT64_C(2)
#define XCR0_AVX    UINT64_C(4)
#define XCR0_AVX512 UINT64_C(0xe0)

#define CR4_OSXSAVE (UINT64_C(1) << 18)

/* The legacy region. MXCSR and its mask belong to SSE and AVX, the rest up to the XMM registers to
 * the x87. */
#define X87_SIZE       160
#define X87_CONTROL    0x37f /* FCW after initialisation */
#define MXCSR_OFFSET   24
#define MXCSR_SIZE     8
#define MXCSR_VALID    0xffbfu /* where the processor does not tell */
#define XMM_OFFSET     160
#define XMM_SIZE       256
#define HEADER_OFFSET  512
#define HEADER_SIZE    64
#define LEGACY_SIZE    (HEADER_OFFSET + HEADER_SIZE)
#define COMPONENTS_MAX 8

/* The processor's layout: constants after xstate_init. */
static struct {
    uint32_t offset, size;
} components[COMPONENTS_MAX];
static uint64_t allowed;

static void read_layout(unsigned component)
{
    uint32_t size, offset, c = component, d;
    __asm__ volatile("cpuid" : "=a"(size), "=b"(offset), "+c"(c), "=d"(d) : "a"(0xd));
    components[component].offset = offset;
    components[component].size = size;
}

void xstate_init(void)
{
    uint32_t a = 1, b, c = 0, d;

    allowed = XCR0_X87 | XCR0_SSE;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(c >> 27 & 1)) /* OSXSAVE */
        return;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    allowed |= a & XCR0_AVX;
    if ((a & XCR0_AVX512) == XCR0_AVX512)
        allowed |= XCR0_AVX512;
    for (unsigned i = 2; i < COMPONENTS_MAX; i++)
        if (allowed >> i & 1)
            read_layout(i);
}

uint64_t xstate_allowed(void)
{
    return allowed;
}

uint32_t xstate_size(uint64_t mask)
{
    uint32_t size = LEGACY_SIZE;

    for (unsigned i = 2; i < COMPONENTS_MAX; i++)
        if ((mask >> i & 1) && components[i].offset + components[i].size > size)
            size = components[i].offset + components[i].size;
    return size;
}

enum result xstate_get_register(struct cpu *cpu)
{
    uint64_t *gpr = cpu->state->gpr, value = cpu->shared->msrs.xcr0;

    if (!(cpu->state->cr4 & CR4_OSXSAVE))
        return undefined_opcode(cpu);
    if ((uint32_t)gpr[X86_RCX] != 0)
        return general_protection(cpu);
    gpr[X86_RAX] = (uint32_t)value;
    gpr[X86_RDX] = value >> 32;
    return RESULT_OK;
}

enum result xstate_set_register(struct cpu *cpu)
{
    const uint64_t *gpr = cpu->state->gpr;
    uint64_t value = gpr[X86_RDX] << 32 | (uint32_t)gpr[X86_RAX];
    uint64_t avx512 = value & XCR0_AVX512;

    if (!(cpu->state->cr4 & CR4_OSXSAVE))
        return undefined_opcode(cpu);
    if ((uint32_t)gpr[X86_RCX] != 0 || !(value & XCR0_X87) || (value & ~allowed) ||
        ((value & XCR0_AVX) && !(value & XCR0_SSE)) ||
        (avx512 && (avx512 != XCR0_AVX512 || !(value & XCR0_AVX))))
        return general_protection(cpu);
    cpu->shared->msrs.xcr0 = value;
    return RESULT_OK;
}

static uint64_t requested(const struct cpu *cpu)
{
    const uint64_t *gpr = cpu->state->gpr;
    return (gpr[X86_RDX] << 32 | (uint32_t)gpr[X86_RAX]) & cpu->shared->msrs.xcr0;
}

static uint64_t *frame_header(const struct cpu *cpu)
{
    return (uint64_t *)(void *)(cpu->fpu + HEADER_OFFSET);
}

/* Components without a bit in the frame's header have their initial values, whatever is in the
 * area: put those there. */
static void materialise(struct cpu *cpu, uint64_t mask)
{
    uint64_t *in_use = frame_header(cpu), missing = mask & ~*in_use;

    if (missing & XCR0_X87) {
        memory_zero(cpu->fpu, MXCSR_OFFSET);
        memory_zero(cpu->fpu + MXCSR_OFFSET + MXCSR_SIZE, X87_SIZE - MXCSR_OFFSET - MXCSR_SIZE);
        memory_copy(cpu->fpu, &(uint16_t){X87_CONTROL}, 2);
    }
    if (missing & XCR0_SSE)
        memory_zero(cpu->fpu + XMM_OFFSET, XMM_SIZE);
    for (unsigned i = 2; i < COMPONENTS_MAX; i++)
        if (missing >> i & 1)
            memory_zero(cpu->fpu + components[i].offset, components[i].size);
}

struct piece {
    uint32_t offset, size;
};

/* The parts of an area that the components in `mask` occupy; returns how many. */
static unsigned list_pieces(uint64_t mask, struct piece *pieces)
{
    unsigned count = 0;

    if (mask & XCR0_X87) {
        pieces[count++] = (struct piece){0, MXCSR_OFFSET};
        pieces[count++] = (struct piece){MXCSR_OFFSET + MXCSR_SIZE,
                                         X87_SIZE - MXCSR_OFFSET - MXCSR_SIZE};
    }
    if (mask & (XCR0_SSE | XCR0_AVX))
        pieces[count++] = (struct piece){MXCSR_OFFSET, MXCSR_SIZE};
    if (mask & XCR0_SSE)
        pieces[count++] = (struct piece){XMM_OFFSET, XMM_SIZE};
    for (unsigned i = 2; i < COMPONENTS_MAX; i++)
        if (mask >> i & 1)
            pieces[count++] = (struct piece){components[i].offset, components[i].size};
    return count;
}

#define PIECES_MAX (4 + COMPONENTS_MAX)

enum result xstate_save(struct cpu *cpu, const struct insn *insn, bool optimised)
{
    uint64_t gva = operand_address(cpu, insn), mask = requested(cpu), header;
    uint64_t in_use = *frame_header(cpu);
    struct piece pieces[PIECES_MAX];

    if (!(cpu->state->cr4 & CR4_OSXSAVE))
        return undefined_opcode(cpu);
    if (gva % 64)
        return general_protection(cpu);
    materialise(cpu, mask);
    unsigned count = list_pieces(optimised ? mask & in_use : mask, pieces);
    for (unsigned i = 0; i < count; i++)
        if (!mmu_write(cpu, gva + pieces[i].offset, cpu->fpu + pieces[i].offset, pieces[i].size))
            return RESULT_FAULT;
    if (!mmu_read(cpu, gva + HEADER_OFFSET, &header, 8))
        return RESULT_FAULT;
    header = (header & ~mask) | (in_use & mask);
    return mmu_write(cpu, gva + HEADER_OFFSET, &header, 8) ? RESULT_OK : RESULT_FAULT;
}

enum result xstate_restore(struct cpu *cpu, const struct insn *insn)
{
    uint64_t gva = operand_address(cpu, insn), mask = requested(cpu), header[3];
    uint64_t *in_use = frame_header(cpu);
    uint32_t mxcsr;
    struct piece pieces[PIECES_MAX];

    if (!(cpu->state->cr4 & CR4_OSXSAVE))
        return undefined_opcode(cpu);
    if (gva % 64)
        return general_protection(cpu);
    if (!mmu_read(cpu, gva + HEADER_OFFSET, header, sizeof header) ||
        !mmu_read(cpu, gva + MXCSR_OFFSET, &mxcsr, 4))
        return RESULT_FAULT;
    /* The compacted format has not been announced, the rest of the header is reserved. */
    if ((header[0] & ~cpu->shared->msrs.xcr0) || header[1] || header[2] || mxcsr >> 16)
        return general_protection(cpu);
    unsigned count = list_pieces(mask & header[0], pieces);
    for (unsigned i = 0; i < count; i++)
        if (!mmu_read(cpu, gva + pieces[i].offset, cpu->fpu + pieces[i].offset, pieces[i].size))
            return RESULT_FAULT;
    /* MXCSR is loaded even if the registers become zero. */
    if (mask & (XCR0_SSE | XCR0_AVX))
        memory_copy(cpu->fpu + MXCSR_OFFSET, &mxcsr, 4);
    *in_use = (*in_use & ~mask) | (header[0] & mask);
    return RESULT_OK;
}

uint32_t xstate_get_area(struct cpu *cpu, uint8_t *area)
{
    struct piece pieces[PIECES_MAX];
    uint64_t in_use = *frame_header(cpu) & allowed;
    uint32_t size = xstate_size(allowed);

    memory_zero(area, size);
    materialise(cpu, allowed);
    unsigned count = list_pieces(allowed, pieces);
    for (unsigned i = 0; i < count; i++)
        memory_copy(area + pieces[i].offset, cpu->fpu + pieces[i].offset, pieces[i].size);
    memory_copy(area + HEADER_OFFSET, &in_use, 8);
    return size;
}

/* Of the components in the area those that lie in its first `size` bytes. */
static uint64_t complete(uint32_t size)
{
    uint64_t mask = allowed & (XCR0_X87 | XCR0_SSE);

    for (unsigned i = 2; i < COMPONENTS_MAX; i++)
        if ((allowed >> i & 1) && components[i].offset + components[i].size <= size)
            mask |= UINT64_C(1) << i;
    return mask;
}

void xstate_set_area(struct cpu *cpu, const uint8_t *area, uint32_t size)
{
    struct piece pieces[PIECES_MAX];
    uint64_t mask = complete(size), given, *in_use = frame_header(cpu);
    uint32_t mxcsr, valid;

    memory_copy(&given, area + HEADER_OFFSET, 8);
    memory_copy(&mxcsr, area + MXCSR_OFFSET, 4);
    memory_copy(&valid, cpu->fpu + MXCSR_OFFSET + 4, 4);
    given &= mask;
    unsigned count = list_pieces(given, pieces);
    for (unsigned i = 0; i < count; i++)
        memory_copy(cpu->fpu + pieces[i].offset, area + pieces[i].offset, pieces[i].size);
    /* Bits that the processor does not know would end the process. */
    mxcsr &= valid ? valid : MXCSR_VALID;
    memory_copy(cpu->fpu + MXCSR_OFFSET, &mxcsr, 4);
    memory_copy(cpu->fpu + MXCSR_OFFSET + 4, &valid, 4);
    *in_use = (*in_use & ~mask) | given;
}
