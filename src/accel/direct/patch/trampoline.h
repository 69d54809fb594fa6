/*
 * Code that does in some nanoseconds what a trap takes a microsecond and more for: cli, sti,
 * pushfq, popfq on a virtual interrupt flag, rdtscp, and in and out at ports that do not need an
 * answer. A jump to it replaces the instruction and
 * its neighbours.
 *
 * Theory of operation. The code needs the state of the vCPU that executes it, without a register
 * to spare and without changing flags. FS and GS belong to the guest.
 *
 *   One vCPU: the state has one address, and RIP-relative operands reach it.
 *
 *   Several vCPUs share an address space and hence the code. They differ in a register that 64-bit
 *   code has no use for: ES. Its selector does not take part in addressing, the kernel preserves it
 *   across signals, interrupts and task switches, and there are twelve different ones that user
 *   mode may load on any 64-bit Linux: the three segments user32 code (0x20), user data (0x28) and
 *   user code (0x30), each with a requested privilege level of 0 to 3. (Null selectors would give
 *   three more, but processors clear them on the way back from an interrupt.) "mov %es, %eax" takes
 *   a nanosecond or less, changes no flag, and indexes a table of pointers to the states. Guest
 *   instructions that load ES would break that: those that name a valid segment of the host trap,
 *   and the sweep patches all of them. If one escapes, the table names a state
 *   that is not mapped, the access faults, and the engine emulates (table.h, rule 3). That is also
 *   what becomes of vCPUs for which there is no selector.
 *
 * The scratch registers RAX and RCX are saved below the red zone, at fixed distances from RSP and
 * without moving it: code compiled with a red zone loses nothing, and signals use another stack.
 * What lies further down is free for interrupt frames on a real machine as well.
 *
 * Only mov, lea, jrcxz and the like are used wherever the flags must survive. Interrupts: the
 * engine writes `pending`, then signals the vCPU's thread. If it finds RIP in a sequence, settling
 * (table.h) moves it to one end of the guest's instruction, where it looks at the flag itself. If
 * the flag is set later by a sequence, that looks at `pending` after having set it, and runs into
 * HLT. A sequence has one instruction by which it takes effect, the last store or stack operation;
 * everything before can be undone, everything after only restores registers.
 *
 * Ports. A table tells for each port what becomes of an access. Where nothing is behind a port,
 * writes are dropped and reads give ones. Writes that may be delivered later (a console) go into a
 * list in the state, if there is one vCPU: with several, their order among each other would be
 * lost. All else runs into HLT before anything has happened, and the engine takes over: the
 * list starts empty and closed, so that the engine sees the first write, and is full at its end.
 */
#ifndef DIRECT_PATCH_TRAMPOLINE_H
#define DIRECT_PATCH_TRAMPOLINE_H

#include <stddef.h>
#include <stdint.h>

#include "accel/direct/patch/table.h"

/* Where scratch registers are saved: bytes below the guest's RSP. The red zone has 128. */
#define TRAMPOLINE_RAX_BELOW 136
#define TRAMPOLINE_RCX_BELOW 144

#define TRAMPOLINE_IF        0x200U /* interrupt flag, as in RFLAGS */
#define TRAMPOLINE_MAX_VCPUS 12
#define TRAMPOLINE_SELECTORS 0x80 /* entries of the table of states: all of Linux's GDT */
#define TRAMPOLINE_SIZE_MAX  512  /* bytes of one trampoline */

/* What becomes of an access to a port. */
enum trampoline_port {
    TRAMPOLINE_PORT_TRAP,
    TRAMPOLINE_PORT_IDLE,  /* nothing is there */
    TRAMPOLINE_PORT_QUEUE, /* writes go into the list; only with one vCPU */
    TRAMPOLINE_PORT_PCI,   /* as TRAP; the engine answers some itself (engine/pci.h) */
};

/* Those that may be of the last kind: PCI configuration mechanism #1. */
#define TRAMPOLINE_PCI_ADDRESS 0xcf8
#define TRAMPOLINE_PCI_DATA    0xcfc
#define TRAMPOLINE_PCI_LAST    0xcff

#define TRAMPOLINE_PORTS  0x10000
#define TRAMPOLINE_WRITES 128

/* A write to a port. */
struct trampoline_write {
    uint32_t data; /* only the first `size` bytes matter */
    uint16_t port;
    uint8_t size; /* 1 or 4 */
    uint8_t reserved;
    uint64_t next; /* guest-virtual address of the next element; 0: this is the last */
};

/*
 * What sequences and engine share of a vCPU. Only the vCPU's thread writes it, but for `pending`.
 * The guest may be able to write it too: take nothing in it on trust.
 */
struct trampoline_state {
    uint32_t interrupt_flag; /* 0 or TRAMPOLINE_IF */
    uint32_t tsc_aux;        /* what rdtscp shall tell */
    uint32_t never;          /* always 0: what popfq finds instead of `pending` with IF clear */
    uint32_t reserved[127];
    uint32_t pending; /* not 0: trap as soon as the interrupt flag is set; TRAMPOLINE_IF further */
    uint32_t reserved2;
    uint64_t free_write; /* guest-virtual address of where the next write goes; 0: trap */
    struct trampoline_write writes[TRAMPOLINE_WRITES];
};

_Static_assert(offsetof(struct trampoline_state, pending) ==
                   offsetof(struct trampoline_state, never) + TRAMPOLINE_IF,
               "popfq finds one or the other by adding the flag");

enum trampoline_mode {
    TRAMPOLINE_NONE,   /* patch traps only */
    TRAMPOLINE_SINGLE, /* `state` is the address of one struct trampoline_state */
    TRAMPOLINE_SHARED, /* `state` is the address of uint64_t[TRAMPOLINE_SELECTORS], their addresses
                        */
};

struct trampoline_target {
    enum trampoline_mode mode;
    uint64_t state; /* within 2 GiB of the trampolines */
    uint64_t ports; /* address of uint8_t[TRAMPOLINE_PORTS] of enum trampoline_port, as near */
};

/* Link the writes of a state that the guest sees at `address`. */
void trampoline_link_writes(struct trampoline_state *state, uint64_t address);

/* The selector that vCPU 0 to TRAMPOLINE_MAX_VCPUS - 1 must have in ES. */
uint16_t trampoline_selector(unsigned vcpu);

/* True if instructions of this kind can be replaced by a sequence. */
bool trampoline_replaces(const struct decode_insn *insn);

/* True if the instruction does the same elsewhere, after an adjustment of its distances. */
bool trampoline_can_move(const struct decode_insn *insn);

/*
 * Write the trampoline of `patch`, whose address, length and original bytes are set, to
 * to[TRAMPOLINE_SIZE_MAX]; it will be executed at `address`. Sets the patch's steps and size, and
 * the shapes of the kinds it uses. Returns false if something is out of the reach of 2 GiB or an
 * instruction cannot be moved.
 */
bool trampoline_emit(const struct trampoline_target *target, struct patch *patch, uint8_t *to,
                     uint64_t address, struct patch_shape *shapes);

#endif
