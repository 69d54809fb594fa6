/*
 * Exceptions and interrupts. trap_init loads a descriptor table on the calling CPU: exceptions
 * print one line ("guest: exception 14 ...") and end the VM with exit code -1, interrupts call the
 * function that trap_handle set for their vector.
 */
#ifndef GUESTS_LIB_TRAP_H
#define GUESTS_LIB_TRAP_H

#include <stdint.h>

#define TRAP_FIRST_INTERRUPT 32
#define TRAP_VECTORS         48

/* What the entry code in trap_entry.S and the CPU pushed. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector;
    uint64_t error_code; /* 0 where the CPU gives none */
    uint64_t rip, cs, rflags, rsp, ss;
};

/* Once on each CPU. Interrupts stay off. */
void trap_init(void);

/* `handler` runs with interrupts off, on the stack of the interrupted code. Set it before any CPU
 * can receive the vector. */
void trap_handle(unsigned vector, void (*handler)(const struct trap_frame *frame));

#endif
