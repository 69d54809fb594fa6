#include "arch/x86_64/boot.h"

#include <string.h>

#include "arch/x86_64/paging.h"

#define SELECTOR_CODE 0x08
#define SELECTOR_DATA 0x10
#define GDT_CODE      UINT64_C(0x00af9b000000ffff) /* 64-bit code, present, accessed */
#define GDT_DATA      UINT64_C(0x00cf93000000ffff) /* data, present, writable, accessed */
#define SEGMENT_CODE  0xa9b /* the same as attributes: G, L, present, S, type 11 */
#define SEGMENT_DATA  0x893 /* G, present, S, type 3 */

#define EXCEPTIONS     32
#define STUB_SIZE      8
#define GATE_INTERRUPT UINT64_C(0x8e00) /* present, DPL 0, 64-bit interrupt gate */
/* Vectors whose frame starts with an error code (Intel SDM volume 3, table 6-1; AMD APM volume 2,
 * section 8.2). */
#define WITH_ERROR_CODE                                                                            \
    (1u << 8 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17 | 1u << 21 |        \
     1u << 29 | 1u << 30)

static void write_gdt(const struct ram *ram, const struct layout *layout)
{
    static const uint64_t gdt[] = {0, GDT_CODE, GDT_DATA};
    ram_write(ram, layout->gdt, gdt, sizeof gdt);
}

static void write_idt(const struct ram *ram, const struct layout *layout)
{
    /* out PORT, al; hlt; jmp back to hlt */
    static const uint8_t stub[STUB_SIZE] = {0xe6, X86_EXCEPTION_PORT, 0xf4, 0xeb, 0xfd};

    for (unsigned vector = 0; vector < EXCEPTIONS; vector++) {
        gpa_t handler = layout->exception_stubs + vector * STUB_SIZE;
        uint64_t gate[2] = {
            (handler & 0xffff) | SELECTOR_CODE << 16 | GATE_INTERRUPT << 32 |
                (handler >> 16 & 0xffff) << 48,
            handler >> 32,
        };
        ram_write(ram, handler, stub, sizeof stub);
        ram_write(ram, layout->idt + vector * sizeof gate, gate, sizeof gate);
    }
}

/*
 * Last address to map. Kernels before 0.10 unmap everything from the 2 MiB boundary after the
 * kernel to the end of that GiB and fail if a page of it was not mapped (spec/boot.md section 4.3
 * SAFE).
 */
static gpa_t last_mapped(const struct layout *layout, bool legacy)
{
    gpa_t last = layout->archive_size ? layout->archive + layout->archive_size : layout->kernel_end;
    if (legacy) {
        gpa_t after_kernel = (layout->kernel_end + 0x1fffff) & ~UINT64_C(0x1fffff);
        gpa_t end_of_gib = after_kernel | 0x3fffffff;
        last = end_of_gib > last ? end_of_gib : last;
    }
    return last;
}

int x86_boot_prepare(const struct ram *ram, const struct layout *layout, bool legacy)
{
    write_gdt(ram, layout);
    write_idt(ram, layout);
    return paging_map_identity(ram, layout->pml4, layout->tables, layout->tables_end,
                               layout->ram_base, last_mapped(layout, legacy));
}

void x86_boot_state(struct x86_state *state, const struct layout *layout, unsigned vcpu)
{
    const struct x86_segment code = {
        .limit = UINT32_MAX, .selector = SELECTOR_CODE, .attributes = SEGMENT_CODE};
    const struct x86_segment data = {
        .limit = UINT32_MAX, .selector = SELECTOR_DATA, .attributes = SEGMENT_DATA};

    memset(state->gpr, 0, sizeof state->gpr);
    state->gpr[X86_RSP] = layout->stack;
    state->gpr[X86_RDI] = layout->boot_info;
    state->gpr[X86_RSI] = vcpu;
    state->rip = layout->entry;
    state->rflags = X86_RFLAGS_FIXED;
    state->cs = code;
    state->ds = state->es = state->ss = data;
    state->gdt = (struct x86_table){layout->gdt, 3 * 8 - 1};
    state->idt = (struct x86_table){layout->idt, EXCEPTIONS * 16 - 1};
    state->cr0 = X86_CR0_PG | X86_CR0_NE | X86_CR0_ET | X86_CR0_PE;
    state->cr3 = layout->pml4;
    state->cr4 = X86_CR4_PAE;
    state->efer = X86_EFER_NXE | X86_EFER_LMA | X86_EFER_LME;
}

bool x86_boot_exception(const struct ram *ram, const struct layout *layout, struct x86_state *state,
                        struct x86_exception *exception)
{
    struct {
        uint64_t rip, cs, rflags, rsp, ss;
    } frame;
    gva_t stack = state->gpr[X86_RSP];
    uint64_t offset = state->rip - layout->exception_stubs, size;
    gpa_t gpa;

    if (offset >= EXCEPTIONS * STUB_SIZE || state->idt.base != layout->idt)
        return false;
    *exception = (struct x86_exception){.vector = (unsigned)(offset / STUB_SIZE)};
    exception->has_error_code = WITH_ERROR_CODE >> exception->vector & 1;
    if (exception->has_error_code) {
        if (!paging_translate(ram, state->cr3, stack, &gpa, &size) ||
            !ram_read(ram, gpa, &exception->error_code, 8))
            return false;
        stack += 8;
    }
    /* The processor aligned the stack to 16 bytes before it pushed the frame: it does not cross a
     * page. */
    if (!paging_translate(ram, state->cr3, stack, &gpa, &size) || size < sizeof frame ||
        !ram_read(ram, gpa, &frame, sizeof frame))
        return false;
    state->rip = frame.rip;
    state->rflags = frame.rflags;
    state->gpr[X86_RSP] = frame.rsp;
    return true;
}

const char *x86_exception_name(unsigned vector)
{
    static const char *const names[EXCEPTIONS] = {
        [0] = "divide error",
        [1] = "debug exception",
        [2] = "non-maskable interrupt",
        [3] = "breakpoint",
        [4] = "overflow",
        [5] = "bound range exceeded",
        [6] = "invalid opcode",
        [7] = "device not available",
        [8] = "double fault",
        [10] = "invalid TSS",
        [11] = "segment not present",
        [12] = "stack fault",
        [13] = "general protection fault",
        [14] = "page fault",
        [16] = "x87 floating-point error",
        [17] = "alignment check",
        [18] = "machine check",
        [19] = "SIMD floating-point error",
        [20] = "virtualization exception",
        [21] = "control protection exception",
        [28] = "hypervisor injection exception",
        [29] = "VMM communication exception",
        [30] = "security exception",
    };
    return vector < EXCEPTIONS && names[vector] ? names[vector] : "reserved exception";
}
