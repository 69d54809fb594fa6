/*
 * What an x86_64 vCPU consists of as far as the VMM ever looks: registers an accelerator can read
 * and write. Plain data; who holds it owns it.
 */
#ifndef ARCH_X86_64_STATE_H
#define ARCH_X86_64_STATE_H

#include <stdint.h>

/* General registers in the order of their encoding in instructions. */
enum x86_gpr {
    X86_RAX,
    X86_RCX,
    X86_RDX,
    X86_RBX,
    X86_RSP,
    X86_RBP,
    X86_RSI,
    X86_RDI,
    X86_R8,
    X86_R9,
    X86_R10,
    X86_R11,
    X86_R12,
    X86_R13,
    X86_R14,
    X86_R15,
    X86_GPR_COUNT,
};

struct x86_segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector;
    uint16_t
        attributes; /* as in a descriptor: type 0-3, S 4, DPL 5-6, P 7, AVL 8, L 9, D/B 10, G 11 */
};

struct x86_table {
    uint64_t base;
    uint16_t limit;
};

struct x86_state {
    uint64_t gpr[X86_GPR_COUNT];
    uint64_t rip;
    uint64_t rflags;
    struct x86_segment cs, ds, es, fs, gs, ss, tr, ldt;
    struct x86_table gdt, idt;
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t efer;
    uint64_t apic_base;
};

#define X86_CR0_PE       (UINT64_C(1) << 0)
#define X86_CR0_ET       (UINT64_C(1) << 4)
#define X86_CR0_NE       (UINT64_C(1) << 5)
#define X86_CR0_WP       (UINT64_C(1) << 16)
#define X86_CR0_PG       (UINT64_C(1) << 31)
#define X86_CR4_PAE      (UINT64_C(1) << 5)
#define X86_EFER_LME     (UINT64_C(1) << 8)
#define X86_EFER_LMA     (UINT64_C(1) << 10)
#define X86_EFER_NXE     (UINT64_C(1) << 11)
#define X86_RFLAGS_FIXED (UINT64_C(1) << 1)
#define X86_RFLAGS_IF    (UINT64_C(1) << 9)

#endif
