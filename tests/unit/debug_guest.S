/*
 * Pieces of code for tests of debugging, see debug_fixture.h. They are entered at a label, and left
 * by an OUT to PORT_DONE.
 */
#define LABEL(name) .globl name; .hidden name; name:

/* STEP INSTRUCTION notes in `steps` where the instruction is. */
.macro STEP instruction:vararg
991: \instruction
.pushsection .data.rel.ro.steps, "aw"
.quad 991b
.popsection
.endm
.macro DONE
    out %al, $0x10
    ud2
.endm
.section .data.rel.ro.steps, "aw"
LABEL(steps)

.section .rodata
LABEL(guest)
LABEL(plain)
    mov $1, %ecx
LABEL(plain_second)
    mov $2, %ecx
LABEL(plain_third)
    mov $3, %ecx
    DONE

    /* Every way an instruction can be special, one step each. */
LABEL(stepped)
    STEP nop
    STEP pushfq
    STEP pop %r10
    STEP push %r10
    STEP popfq
    STEP cli
    STEP nop
    STEP xor %eax, %eax
    STEP cpuid
    STEP mov %cs, %eax
    STEP mov $0xc0000080, %ecx
    STEP rdmsr
    STEP rdtsc
    STEP jmp 1f
    ud2
2:  STEP pushfq
    STEP pop %r8
    STEP ret
1:  STEP call 2b
    STEP mov %rsp, %rdx
    STEP push $16
    STEP push %rdx
    STEP push $2
    STEP push $8
    STEP lea 3f(%rip), %rax
    STEP push %rax
    STEP iretq
    ud2
3:  STEP nop
    STEP pushfq
    STEP pop %r9
LABEL(stepped_end)
    DONE

LABEL(shadow)
    sti
    nop
    mov %eax, %ss
    nop
LABEL(shadow_end)
    cli
    DONE
LABEL(interrupting) /* x2APIC mode, enabled, and an interrupt to itself */
    mov $0x1b, %ecx
    rdmsr
    or $0x400, %eax
    wrmsr
    mov $0x80f, %ecx
    mov $0x1ff, %eax
    xor %edx, %edx
    wrmsr
    mov $0x83f, %ecx
    mov $0x40, %eax
    wrmsr
    DONE
LABEL(halting)
    hlt
LABEL(halting_1)
    nop
LABEL(halting_2)
    DONE
LABEL(faulting)
    mov (%rax), %rbx
    nop
    DONE

    /* RDI points to data. Labels are behind the accesses that are to be noticed. */
LABEL(writes)
    movb $1, 7(%rdi)
    movb $1, 16(%rdi)
    mov 8(%rdi), %rax
    movb $1, 9(%rdi)
LABEL(write_1)
    nop
    movq $2, 4(%rdi)
LABEL(write_2)
    lock incq 8(%rdi)
LABEL(write_3)
    mov $3, %ecx
LABEL(write_string)
    rep stosq
    DONE
LABEL(scanning) /* finds what it looks for in the second of four bytes */
    mov $4, %ecx
LABEL(scanning_1)
    repne scasb
LABEL(scanning_2)
    DONE
LABEL(reads)
    movb 15(%rdi), %al
    movb 18(%rdi), %al
    movw 15(%rdi), %ax
LABEL(read_1)
    movw %ax, 16(%rdi)
LABEL(read_2)
    cmpb $0, 17(%rdi)
LABEL(read_3)
    DONE
LABEL(stack_use)
    push %rax
LABEL(stack_1)
    pop %rax
LABEL(stack_2)
    call 1f
LABEL(stack_4)
    pushq $3
LABEL(stack_5)
    popq 8(%rdi)
LABEL(stack_6)
    movq $3, -8(%rsp)
LABEL(stack_7)
    imul -8(%rsp), %rax
LABEL(stack_8)
    shlq $1, -8(%rsp)
LABEL(stack_9)
    DONE
LABEL(stack_3)
1:  ret
LABEL(own_breakpoint)
    int3
    nop
    DONE
LABEL(sensitive)
    nop
LABEL(sensitive_pushf)
    pushfq
    pop %rbx
    xor %eax, %eax
LABEL(sensitive_cpuid)
    cpuid
    DONE
LABEL(vectors)
    movups %xmm0, (%rdi)
LABEL(vectors_1)
    addps 16(%rdi), %xmm1
LABEL(vectors_2)
    cvtsi2sd 8(%rdi), %xmm2
LABEL(vectors_3)
    fldl 24(%rdi)
LABEL(vectors_4)
    fstpl (%rdi)
LABEL(vectors_5)
    DONE

LABEL(spinning)
    pause
    jmp spinning
LABEL(several)
    mov $200, %ecx
1:  lock incq (%rdi)
    call several_function
    movups %xmm0, 128(%rdi)
    loop 1b
    DONE
LABEL(several_function)
    fnstcw 80(%rdi) /* the emulator does not know it; the page may be watched as well */
LABEL(several_next)
    movq $1, 64(%rdi)
LABEL(several_watched)
    ret
    .balign 16
LABEL(guest_handlers)
    .set vector, 0
    .rept 256
    .balign 16
    push %rax
    mov $vector, %al
    out %al, $0x13
    pop %rax
    .if vector == 14
    add $8, %rsp
    .endif
    iretq
    .set vector, vector + 1
    .endr
LABEL(guest_end)
.section .data.rel.ro.steps, "aw"
LABEL(steps_end)

.section .note.GNU-stack, "", @progbits
