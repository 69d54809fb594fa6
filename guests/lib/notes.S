/*
 * What the image says about itself (spec/boot.md section 1.3). Assembled once for each variant:
 *
 *   GUEST_INTERFACE    hypercall interface version; 1 is announced by having no UHYVEIF note
 *   GUEST_ABI_VERSION  "major, minor, patch" of the kernel it poses as; undefined leaves the tag
 *                      out, as kernels before 0.10 did
 *   GUEST_ENTRY        boot protocol version, if not the current one
 */
#include "hermit/note.h"

#ifndef GUEST_ENTRY
#define GUEST_ENTRY HERMIT_ENTRY_VERSION
#endif

    .macro note name, type
    .balign 4
    .long 2f - 1f, 4f - 3f, \type
1:  .asciz "\name"
2:  .balign 4
3:
    .endm

    .section .note.hermit, "a", @note
    note HERMIT_NOTE_ENTRY_NAME, HERMIT_NOTE_ENTRY_TYPE
    .byte GUEST_ENTRY
4:
#ifdef GUEST_ABI_VERSION
    note HERMIT_NOTE_ABI_NAME, HERMIT_NOTE_ABI_TYPE
    .long HERMIT_ABI_OS, GUEST_ABI_VERSION
4:
#endif
#if GUEST_INTERFACE > 1
    note HERMIT_NOTE_INTERFACE_NAME, HERMIT_NOTE_INTERFACE_TYPE
    .byte 0, 0, 0, GUEST_INTERFACE
4:
#endif
    .balign 4

    /* For the code, which is the same in all variants: see build.h. */
    .section .rodata.notes, "a", @progbits
    .balign 4
    .globl guest_interface, guest_has_abi_tag
    .hidden guest_interface, guest_has_abi_tag
guest_interface:
    .long GUEST_INTERFACE
guest_has_abi_tag:
#ifdef GUEST_ABI_VERSION
    .byte 1
#else
    .byte 0
#endif

    .section .note.GNU-stack, "", @progbits
