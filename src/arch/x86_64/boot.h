/*
 * The state in which an x86_64 guest starts: descriptor tables and page tables in its memory,
 * registers of its vCPUs (spec/boot.md sections 4 and 5).
 *
 * One thing is ours: until the kernel loads its own, the interrupt descriptor table is one whose 32
 * exception handlers do nothing but an OUT to EXCEPTION_PORT. An exception that early would
 * otherwise be a triple fault, after which some processors (AMD) no longer know where it happened.
 * With the stubs the crash report can name vector, error code and instruction.
 */
#ifndef ARCH_X86_64_BOOT_H
#define ARCH_X86_64_BOOT_H

#include "arch/x86_64/state.h"
#include "boot/layout.h"

#define X86_EXCEPTION_PORT 0xee

/* Exceptions (AMD64 Architecture Programmer's Manual volume 2, section 8.2). */
#define X86_VECTOR_DIVIDE_ERROR   0
#define X86_VECTOR_DEBUG          1
#define X86_VECTOR_BREAKPOINT     3
#define X86_VECTOR_INVALID_OPCODE 6
#define X86_VECTOR_PAGE_FAULT     14
#define X86_VECTOR_X87            16
#define X86_VECTOR_ALIGNMENT      17
#define X86_VECTOR_SIMD           19

/*
 * Write descriptor tables, exception stubs and page tables. `legacy` selects the larger mapping
 * that kernels before 0.10 rely on. Returns 0, or -ENOSPC if the page tables do not fit.
 */
int x86_boot_prepare(const struct ram *ram, const struct layout *layout, bool legacy);

/* Overwrite the parts of *state (read from the accelerator before) that differ from the reset
 * state. */
void x86_boot_state(struct x86_state *state, const struct layout *layout, unsigned vcpu);

/* What an exception stub tells; see x86_boot_exception. */
struct x86_exception {
    unsigned vector;
    bool has_error_code;
    uint64_t error_code;
};

/*
 * A vCPU has written to EXCEPTION_PORT: if it did so from a stub, fill *exception, put the
 * registers the exception interrupted (RIP, RSP, RFLAGS) back into *state and return true.
 */
bool x86_boot_exception(const struct ram *ram, const struct layout *layout, struct x86_state *state,
                        struct x86_exception *exception);

const char *x86_exception_name(unsigned vector);

#endif
