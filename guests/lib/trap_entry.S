/*
 * From the interrupt descriptor table to trap_dispatch in trap.c, and back; and waiting for that.
 */
#define TRAP_VECTORS    48
#define TRAP_ENTRY_SIZE 16

    .section .text.trap, "ax", @progbits
    .globl trap_entries
    .hidden trap_entries
    .balign TRAP_ENTRY_SIZE
trap_entries:
    .set vector, 0
    .rept TRAP_VECTORS
    .balign TRAP_ENTRY_SIZE
    /* 8, 10 to 14, 17, 21, 29 and 30 come with an error code; give the others one too. */
    .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
    push $0
    .endif
    push $vector
    jmp trap_common
    .set vector, vector + 1
    .endr

    /* Push the rest of struct trap_frame. */
trap_common:
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rdi
    mov %rsp, %rbp /* keeps the frame's address over the call */
#ifdef __SSE__
    sub $512, %rsp
    and $-16, %rsp
    fxsave64 (%rsp)
    cld
    call trap_dispatch
    fxrstor64 (%rsp)
#else
    and $-16, %rsp
    cld
    call trap_dispatch
#endif
    mov %rbp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    add $16, %rsp /* vector and error code */
    iretq

    .section .text.wait, "ax", @progbits
    .globl cpu_wait_for_interrupt, trap_wait_halt, trap_wait_end
    .hidden cpu_wait_for_interrupt, trap_wait_halt, trap_wait_end
    .type cpu_wait_for_interrupt, @function
cpu_wait_for_interrupt:
    push %rbp
    mov %rsp, %rbp
    sti
trap_wait_halt:
    hlt
trap_wait_end:
    cli
    pop %rbp
    ret
    .size cpu_wait_for_interrupt, . - cpu_wait_for_interrupt

    .section .note.GNU-stack, "", @progbits
