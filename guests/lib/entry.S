/*
 * First instructions of a guest (spec/boot.md sections 5 and 7).
 *
 * Every CPU starts here at the same time: RDI = address of the boot information, RSI = CPU index,
 * RSP = LOWEST address of the boot stack, which only CPU 0 may use. The others spin until smp.c
 * calls them up one by one and hands each a stack and a function.
 */
#define BOOT_STACK_SIZE 0x8000
#define CR4_OSFXSR      0x200
#define CR4_OSXMMEXCPT  0x400

    .section .text.entry, "ax", @progbits
    .globl _start
    .type _start, @function
_start:
#ifdef __SSE__
    /* The compiler may use SSE registers anywhere, and the CPU refuses them until told. */
    mov %cr4, %rax
    or $(CR4_OSFXSR | CR4_OSXMMEXCPT), %rax
    mov %rax, %cr4
#endif
    xor %ebp, %ebp /* end of the chain of stack frames */
    test %esi, %esi
    jnz 1f
    add $(BOOT_STACK_SIZE - 0x10), %rsp
    call guest_start
    ud2

1:  pause
    cmp %esi, smp_called_cpu(%rip)
    jne 1b
    mov smp_stack_top(%rip), %rsp
    mov %esi, %edi
    call *smp_function(%rip)
    ud2
    .size _start, . - _start

    /* Mailbox for the secondaries, written by smp.c. CPU 0 never waits, so 0 means "nobody". */
    .section .data.entry, "aw", @progbits
    .balign 8
    .globl smp_stack_top, smp_function, smp_called_cpu
smp_stack_top:
    .quad 0
smp_function:
    .quad 0
smp_called_cpu:
    .long 0

    .section .note.GNU-stack, "", @progbits
