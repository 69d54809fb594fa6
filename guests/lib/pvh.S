/*
 * A second entry, for `qemu-system-x86_64 -kernel`: benchmarks compare with the same guest under
 * QEMU. The PVH boot protocol (https://xenbits.xen.org/docs/unstable/misc/pvh.html) starts the
 * guest in 32-bit mode without paging; from there it goes on as uhyve starts a guest, with the
 * first 4 GiB mapped one to one. Nobody listens to hypercalls there, and there are no arguments.
 */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

#define CR0_PG_PE   0x80000001
#define CR4_PAE     0x20
#define MSR_EFER    0xc0000080
#define EFER_LME    0x100
#define PAGE_RW     0x3
#define PAGE_LARGE  0x83
#define STACK_SIZE  0x8000
#define MEMORY_SIZE 0x20000000 /* -m 512M */

    .section .note.xen, "a", @note
    .balign 4
    .long 4, 8, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .text.pvh, "ax", @progbits
    .code32
    .globl pvh_start
pvh_start:
    movl $(pvh_pdpt + PAGE_RW), pvh_pml4
    mov $4, %ecx
    mov $(pvh_pd + PAGE_RW), %eax
    mov $pvh_pdpt, %edi
1:  mov %eax, (%edi)
    add $4096, %eax
    add $8, %edi
    loop 1b
    mov $2048, %ecx
    mov $PAGE_LARGE, %eax
    mov $pvh_pd, %edi
2:  mov %eax, (%edi)
    add $0x200000, %eax
    add $8, %edi
    loop 2b

    mov %cr4, %eax
    or $CR4_PAE, %eax
    mov %eax, %cr4
    mov $pvh_pml4, %eax
    mov %eax, %cr3
    mov $MSR_EFER, %ecx
    rdmsr
    or $EFER_LME, %eax
    wrmsr
    mov %cr0, %eax
    or $CR0_PG_PE, %eax
    mov %eax, %cr0
    lgdt pvh_gdt_register
    ljmp $8, $pvh_start64

    .code64
pvh_start64:
    /* The firmware has left the old interrupt controllers open, with its own vectors. */
    mov $0xff, %al
    out %al, $0x21
    out %al, $0xa1
    mov $0x10, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov $pvh_stack, %esp /* _start adds the size, as of the stack that uhyve gives */
    mov $pvh_boot_info, %edi
    xor %esi, %esi
    jmp _start

    .section .data.pvh, "aw", @progbits
    .balign 8
pvh_gdt:
    .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
pvh_gdt_register:
    .word 23
    .long pvh_gdt
    .balign 16
pvh_boot_info: /* spec/boot.md section 8 */
    .quad 0, MEMORY_SIZE
    .skip 0x50
    .quad 1
    .skip 0x18

    .section .bss.pvh, "aw", @nobits
    .balign 4096
pvh_pml4:
    .skip 4096
pvh_pdpt:
    .skip 4096
pvh_pd:
    .skip 4 * 4096
pvh_stack:
    .skip STACK_SIZE

    .section .note.GNU-stack, "", @progbits
