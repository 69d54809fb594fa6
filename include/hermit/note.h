/*
 * ELF notes by which a Hermit kernel describes itself to whoever boots it (spec/boot.md
 * section 1.3). Shared by the VMM, the in-tree guests and the tests.
 */
#ifndef HERMIT_NOTE_H
#define HERMIT_NOTE_H

/* Name "HERMIT": version of the boot protocol, one byte. */
#define HERMIT_NOTE_ENTRY_NAME "HERMIT"
#define HERMIT_NOTE_ENTRY_TYPE 0x5a00
#define HERMIT_ENTRY_VERSION   4

/* Name "GNU": ABI tag, four 32-bit words: operating system, major, minor, patch. Hermit's number
 * is 6. */
#define HERMIT_NOTE_ABI_NAME "GNU"
#define HERMIT_NOTE_ABI_TYPE 1
#define HERMIT_ABI_OS        6

/* Name "UHYVEIF": hypercall interface version, one big-endian 32-bit word. Absent means 1. */
#define HERMIT_NOTE_INTERFACE_NAME "UHYVEIF"
#define HERMIT_NOTE_INTERFACE_TYPE 0x5b00
#define HERMIT_INTERFACE_MIN       1
#define HERMIT_INTERFACE_MAX       3

#endif
