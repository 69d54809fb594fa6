/*
 * What cannot be written in C: the program's first instructions, the frame around the signal
 * handler, and the start of a thread.
 */
#include <asm/unistd.h>

    .section .note.GNU-stack, "", @progbits
    .text

    .globl _start
_start:
    xor %ebp, %ebp
    mov %rsp, %rdi
    lea first_stack_end(%rip), %rsp
    call start
    ud2

/* The kernel has cleared DF and set up the arguments: signal, siginfo, ucontext. The return address
 * on the stack is entry_signal_return. */
    .globl entry_signal
entry_signal:
    pushfq                  /* The guest may have set AC: not every access here is aligned. */
    andl $~(1 << 18), (%rsp)
    popfq
    jmp trap_handle

    .globl entry_signal_return
entry_signal_return:
    mov $__NR_rt_sigreturn, %eax
    syscall
    ud2

/* long entry_clone(flags, stack, parent_tid): the child starts in start_thread. */
    .globl entry_clone
entry_clone:
    xor %r10d, %r10d
    xor %r8d, %r8d
    mov $__NR_clone, %eax
    syscall
    test %rax, %rax
    jz 1f
    ret
1:  xor %ebp, %ebp
    call start_thread
    ud2

    .bss
    .balign 16
    .skip 16384
first_stack_end:
