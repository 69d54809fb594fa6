/*
 * The engine: the program that runs guest code natively in its own, locked-down process.
 *
 * Theory of operation
 *
 * The VMM (accel/direct/) starts this program once for each VM. It has one thread for each vCPU,
 * all in one address space of which [0, DIRECT_GUEST_END) belongs to the guest. A thread executes
 * guest code at CPL 3 until something faults; the fault arrives as a signal on the thread's
 * alternate stack (trap.c), with the guest's registers in the signal frame. The handler
 *
 *  - maps the page, if it is a page fault on an address that the guest's page tables allow (mmu.c
 *    walks them, map.c maps guest RAM there, with the permissions of the entry);
 *  - emulates the instruction, if it is privileged (privileged.c) or an access to an address that
 *    cannot be mapped (emulate.c, string.c); decode.c tells what it is;
 *  - or delivers the exception through the guest's own IDT (interrupt.c);
 *
 * then looks for interrupts of the virtual local APIC (apic.c), and returns from the signal into
 * the guest. What the engine cannot decide itself (port I/O, device memory, the end) goes to the
 * VMM through the vCPU's shared page and a futex (exit.c).
 *
 * Interrupts reach running guest code as DIRECT_KICK_SIGNAL, sent by the host's timer, by another
 * vCPU or by the VMM. All signals are blocked while a handler runs, so a handler needs no locks
 * against itself, and a fault in it kills the process: the VMM notices and reports it.
 *
 * There is no C library. Nothing here uses thread-local storage (FS and GS hold the guest's bases)
 * or vector registers (they hold the guest's values): a thread finds its struct cpu from the
 * address of its stack. After start.c has finished, filter.c limits the process to the system calls
 * listed in syscalls.h.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "accel/direct/shared.h"
#include "util/attempts.h"

/* Guest-visible bits of RFLAGS that the processor holds while the guest runs; all others (IF, IOPL,
 * NT, AC, ID) are virtual. */
#define RFLAGS_CF     (UINT64_C(1) << 0)
#define RFLAGS_PF     (UINT64_C(1) << 2)
#define RFLAGS_AF     (UINT64_C(1) << 4)
#define RFLAGS_ZF     (UINT64_C(1) << 6)
#define RFLAGS_SF     (UINT64_C(1) << 7)
#define RFLAGS_TF     (UINT64_C(1) << 8)
#define RFLAGS_DF     (UINT64_C(1) << 10)
#define RFLAGS_OF     (UINT64_C(1) << 11)
#define RFLAGS_IOPL   (UINT64_C(3) << 12)
#define RFLAGS_NT     (UINT64_C(1) << 14)
#define RFLAGS_RF     (UINT64_C(1) << 16)
#define RFLAGS_VM     (UINT64_C(1) << 17)
#define RFLAGS_AC     (UINT64_C(1) << 18)
#define RFLAGS_ID     (UINT64_C(1) << 21)
#define RFLAGS_STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define RFLAGS_NATIVE (RFLAGS_STATUS | RFLAGS_DF)
#define RFLAGS_WRITABLE                                                                            \
    (RFLAGS_NATIVE | RFLAGS_TF | X86_RFLAGS_IF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID)

#define CR0_TS   (UINT64_C(1) << 3)
#define CR4_TSD  (UINT64_C(1) << 2)
#define CR4_SMEP (UINT64_C(1) << 20)

enum vector {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_XM = 19,
};

/* An exception on its way to the guest. */
struct fault {
    uint8_t vector;
    bool has_error;
    uint32_t error;
    uint64_t address; /* page fault: CR2 */
};

/* Something that is out of the way for one instruction: lift.c. */
struct lifted {
    uint64_t page; /* guest-virtual, mapped in spite of a watchpoint */
    uint32_t hits; /* what of the watchpoints the instruction will have met */
    bool is_byte;  /* in place of a page */
    uint64_t gpa;  /* of the byte, which was a trap */
};

#define LIFTED_MAX 4

/* What the host's CPUID has answered. */
#define CPUID_ANSWERS 32

struct cpuid_answer {
    uint32_t number, index;
    uint32_t eax, ebx, ecx, edx;
    bool valid;
};

/* The vCPU as its thread sees it. */
struct cpu {
    struct direct_vcpu *shared;
    struct x86_state *state; /* &shared->state: current while a handler runs */
    unsigned index;
    bool started;
    struct trampoline_state *trampoline; /* NULL: none for this vCPU, or none at all */
    struct ahead *ahead;                 /* ahead.c's */
    struct mmu_cache *mmu_cache;         /* NULL: each access walks the page tables */
    uint8_t *fpu;       /* the guest's FXSAVE area in the signal frame; XMM registers at 160 */
    struct fault fault; /* filled by functions that return false or RESULT_FAULT */

    uint64_t shadow_rip; /* interrupts are held off while RIP is here: after STI and MOV SS */
    bool in_nmi;         /* no further NMI until IRET */
    bool stepping;       /* TF is set for the engine's own purposes */
    bool step_popped;    /* POPF in a trampoline has set TF */
    uint64_t left;       /* TSC when the guest was entered last */
    bool emulated;       /* the handler of this trap has emulated an instruction */
    bool device_reached; /* set by accesses to addresses without memory */
    bool flags_restored; /* POPF or IRET has enabled interrupts; see trap.c about CR0.TS */

    uint64_t halt_spin; /* TSC ticks: as long as the next HLT waits actively */
    struct attempts halt_attempts;
    int32_t timer;        /* the host's timer */
    uint64_t timer_armed; /* TSC at which it fires; 0: it does not */

    unsigned queued; /* port writes that wait, see queue.h */
    bool queue_opened;
    uint64_t queue_deadline; /* TSC */

    struct cpuid_answer cpuid[CPUID_ANSWERS];

    uint64_t retry_rip, retry_address; /* the last page fault that was answered with a mapping */
    unsigned retries;

    /* For a debugger: debug.c. */
    bool redirected;         /* the VMM has changed RIP while it answered an exit ... */
    uint64_t redirected_rip; /* ... to this */
    bool step_done;          /* since the trap began */
    bool watching;           /* there are watchpoints among `slots` */
    uint32_t hits;           /* slots to be reported */
    struct direct_breakpoint slots[DIRECT_BREAKPOINTS]; /* the VMM's, as of the last resume */
    struct lifted lifted[LIFTED_MAX];
    unsigned lifted_count;
    uint64_t lifted_rip;      /* of the instruction that they are in the way of */
    uint64_t stuck_registers; /* a digest of those with which the same fault came again and again */
    uint64_t stuck_traps;     /* direct_vcpu.traps at the last of them */
    unsigned stuck;           /* so often */
};

/* What came of emulating an instruction. */
enum result {
    RESULT_OK,      /* done; RIP is set */
    RESULT_FAULT,   /* cpu->fault tells which exception; nothing else changed */
    RESULT_UNKNOWN, /* not an instruction this part knows */
};

/* The machine. One VM to a process, so there is one; set once by start.c, before other threads. */
struct engine {
    struct direct_header *header;
    uint8_t *ram; /* guest RAM at DIRECT_RAM_VIEW */
    uint64_t ram_base, ram_size;
    const struct patch_table *table; /* the kernel's patches */
    const uint64_t *sites;           /* patches of later code */
    uint64_t area;                   /* trampolines for the guest; 0: none */
    uint64_t flush[2][2];            /* the guest's addresses but for the area: starts and sizes */
    uint8_t *page_kinds;
    uint8_t *vcpus;      /* one page each */
    int ram_fd, life_fd; /* the only descriptors of the process */
    bool fsgsbase;       /* the instructions work at CPL 3 */
    bool debugged;       /* direct_header.debugged */
};

/* Hidden, or clang reaches it through a table that the linker cannot do without. */
extern struct engine engine __attribute__((visibility("hidden")));

static inline struct direct_vcpu *engine_vcpu(unsigned index)
{
    return (struct direct_vcpu *)(void *)(engine.vcpus + (uint64_t)index * DIRECT_PAGE);
}

/* The engine's pointer to [gpa, gpa + size) if all of it is guest RAM, else NULL. */
static inline void *ram_view(uint64_t gpa, uint64_t size)
{
    uint64_t offset = gpa - engine.ram_base;
    return offset < engine.ram_size && size <= engine.ram_size - offset ? engine.ram + offset
                                                                        : (void *)0;
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline bool raise_fault(struct cpu *cpu, enum vector vector, uint32_t error)
{
    cpu->fault = (struct fault){.vector = (uint8_t)vector, .has_error = true, .error = error};
    return false;
}

static inline enum result fault_result(struct cpu *cpu, enum vector vector, bool has_error,
                                       uint32_t error)
{
    cpu->fault = (struct fault){.vector = (uint8_t)vector, .has_error = has_error, .error = error};
    return RESULT_FAULT;
}

static inline enum result general_protection(struct cpu *cpu)
{
    return fault_result(cpu, VECTOR_GP, true, 0);
}

static inline enum result undefined_opcode(struct cpu *cpu)
{
    return fault_result(cpu, VECTOR_UD, false, 0);
}

#endif
