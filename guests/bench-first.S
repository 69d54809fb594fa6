/*
 * Shows '>' as the first thing it does, then exits with code 0: the time from the start of a
 * process to its guest's first instruction.
 */
    .section .text
    .globl _start
    .type _start, @function
_start:
#if GUEST_INTERFACE == 1
    mov $0x800, %edx /* HERMIT_V1_UART */
    mov $'>', %eax
    out %al, %dx
    mov $0x540, %edx /* HERMIT_V1_EXIT */
    lea exit_block(%rip), %eax
    out %eax, %dx
#else
    mov $0x1020, %edx /* HERMIT_V2_SERIAL_WRITE_BYTE */
    mov $'>', %edi
    out %eax, %dx
    mov $0x1010, %edx /* HERMIT_V2_EXIT */
    xor %edi, %edi
    out %eax, %dx
#endif
    ud2
    .size _start, . - _start

    .section .rodata
exit_block:
    .long 0

    .section .note.GNU-stack, "", @progbits
