/*
 * What the VMM and the engine share: one memory file ("control memory"), mapped by both.
 *
 * Neither side trusts it more than it must. For the VMM everything in it is as hostile as guest
 * memory, because a guest that took over the engine can write here: values are copied, then
 * checked, then used, and nothing in here is a pointer of the VMM. The engine trusts the VMM.
 *
 * A vCPU's page belongs to one side at a time, told by `turn`; the fields under "events" and the
 * pending interrupts are the exception and are only accessed atomically.
 */
#ifndef ACCEL_DIRECT_SHARED_H
#define ACCEL_DIRECT_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "accel/direct/patch/trampoline.h"
#include "accel/direct/spin.h"
#include "arch/x86_64/state.h"

/*
 * The engine's part of the address space. A Hermit guest uses addresses from 0 upwards; addresses
 * from here on are never mapped for it, what it does there is emulated. DIRECT_GUEST_END leaves 4
 * GiB free below the window, so that the filter on system calls can do without a 64-bit addition.
 */
#define DIRECT_GUEST_END UINT64_C(0x7dff00000000)
#define DIRECT_RAM_VIEW  UINT64_C(0x7e0000000000) /* all of guest RAM, for the engine's own use */
#define DIRECT_RAM_MAX   (UINT64_C(1) << 39)
#define DIRECT_ENGINE    UINT64_C(0x7f0000000000) /* the program; see engine/meson.build */
#define DIRECT_STACKS    UINT64_C(0x7f1000000000)
#define DIRECT_CONTROL   UINT64_C(0x7f2000000000) /* this memory */

#define DIRECT_CPUS_MAX 256
#define DIRECT_PAGE     4096

/* Offsets in the control memory. */
#define DIRECT_VCPUS      UINT64_C(0x1000)    /* one page each */
#define DIRECT_XSAVE      UINT64_C(0x110000)  /* the same, for the registers of XSAVE */
#define DIRECT_TABLE      UINT64_C(0x210000)  /* struct patch_table: the kernel's patches */
#define DIRECT_AREA       UINT64_C(0xd00000)  /* trampolines; mapped for the guest as well */
#define DIRECT_SITES      UINT64_C(0xe00000)  /* patches of code that came later */
#define DIRECT_PAGE_KINDS UINT64_C(0x1000000) /* one byte for each 4 KiB page of RAM */
#define DIRECT_TABLE_MAX  (DIRECT_AREA - DIRECT_TABLE)
#define DIRECT_SITES_MAX  ((DIRECT_PAGE_KINDS - DIRECT_SITES) / sizeof(uint64_t))

/*
 * The area of trampolines (patch/trampoline.h): code, what becomes of accesses to ports, a page
 * with the addresses of the vCPUs' states, then a page for each state. The guest sees it at
 * direct_header.area_address; code and ports read-only. The engine uses ports and states also where
 * there are no trampolines.
 */
#define DIRECT_AREA_CODE   UINT64_C(0x80000) /* bytes of code */
#define DIRECT_AREA_PORTS  DIRECT_AREA_CODE  /* offset; VMM at any time, engine/pci.h */
#define DIRECT_AREA_TABLE  (DIRECT_AREA_PORTS + TRAMPOLINE_PORTS)
#define DIRECT_AREA_STATES (DIRECT_AREA_TABLE + DIRECT_PAGE)
#define DIRECT_AREA_SIZE   (DIRECT_AREA_STATES + TRAMPOLINE_MAX_VCPUS * DIRECT_PAGE)

_Static_assert(sizeof(struct trampoline_state) <= DIRECT_PAGE, "a state has one page");

/* The signal that interrupts guest code in the engine: SIGSTKFLT, see accel.h. Several that wait
 * are one; what they are for is in shared memory. */
#define DIRECT_KICK_SIGNAL 16

/* What a page of RAM holds, as far as execution is concerned. */
enum direct_page_kind {
    DIRECT_PAGE_DATA, /* never executed: mapped without execute permission */
    DIRECT_PAGE_CODE, /* swept for sensitive instructions; loses that when it is written to */
    DIRECT_PAGE_TEXT, /* the kernel's text, swept when it was loaded */
};

/*
 * A patched instruction: guest-physical address of its first byte << 8 | that byte before it was
 * replaced by DIRECT_TRAP. Sorted ascending.
 */
#define DIRECT_TRAP 0xf4 /* HLT: one byte, a general protection fault at CPL 3 */

enum direct_turn {
    DIRECT_TURN_VMM,
    DIRECT_TURN_ENGINE,
};

enum direct_exit_kind {
    DIRECT_EXIT_NONE,
    DIRECT_EXIT_IO,
    DIRECT_EXIT_MMIO,
    DIRECT_EXIT_SHUTDOWN,
    DIRECT_EXIT_INTERRUPTED,
    DIRECT_EXIT_FAILED,
    DIRECT_EXIT_DEBUG,
    DIRECT_EXIT_SWEEP,  /* the page at `gpa` is about to be executed for the first time */
    DIRECT_EXIT_WRITES, /* nothing but the writes in the list */
};

/* As in accel.h. */
enum direct_debug_event {
    DIRECT_DEBUG_STEP,
    DIRECT_DEBUG_BREAKPOINT,
    DIRECT_DEBUG_HARDWARE,
};

struct direct_exit {
    uint32_t kind;
    uint32_t event, slot; /* DEBUG */
    uint32_t size;        /* bytes of `data` */
    uint32_t write;
    uint32_t port;
    uint64_t gpa;
    uint8_t data[8];
    char reason[128];
};

/* Where the thread of a vCPU is, for those who want its attention. */
enum direct_mode {
    DIRECT_MODE_ENGINE, /* looks at `pending` before it enters the guest: nothing to do */
    DIRECT_MODE_GUEST,  /* needs the signal */
    DIRECT_MODE_HALTED, /* sleeps on `sequence` */
};

#define DIRECT_PENDING_KICK   (1u << 0) /* the VMM wants the vCPU to stop */
#define DIRECT_PENDING_NMI    (1u << 1)
#define DIRECT_PENDING_LINES  (1u << 2) /* inputs of the I/O APIC have changed */
#define DIRECT_PENDING_SAMPLE (1u << 3) /* the profiler wants a sample */

/* Local APIC registers (Intel SDM volume 3, chapter 11); `irr` is set by other vCPUs. */
struct direct_apic {
    uint32_t irr[8];
    uint32_t isr[8];
    uint32_t tmr[8];
    uint32_t tpr, svr, esr, ldr, dfr;
    uint32_t lvt_timer, lvt_thermal, lvt_perf, lvt_lint0, lvt_lint1, lvt_error, lvt_cmci;
    uint32_t icr_high, icr_low;
    uint32_t timer_initial, timer_divide;
    uint64_t deadline; /* TSC at which the timer fires next; 0: not armed */
    uint64_t period;   /* TSC ticks; 0: the timer fires once */
};

/* Registers beyond struct x86_state. */
struct direct_msrs {
    uint64_t kernel_gs_base;
    uint64_t star, lstar, cstar, fmask;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_aux, misc_enable, mtrr_def_type;
    uint64_t dr[8];
    uint64_t xcr0;
};

#define DIRECT_BREAKPOINTS 4

/* direct_header.gate is 0 while it is open, else it tells who has closed it: the number of a vCPU
 * and 1, or the VMM. */
#define DIRECT_GATE_VMM UINT32_MAX

/* As in accel.h. */
enum direct_breakpoint_kind {
    DIRECT_BREAK_NONE,
    DIRECT_BREAK_EXECUTE,
    DIRECT_BREAK_WRITE,
    DIRECT_BREAK_ACCESS,
};

struct direct_breakpoint {
    uint64_t address;
    uint32_t kind;
    uint32_t size;
};

/* What a debugger wants of a vCPU. Written by the VMM while it is its turn. */
struct direct_debug {
    uint32_t enabled; /* INT3 is for the debugger */
    uint32_t step;
    uint32_t inject; /* an INT3 at RIP is the guest's */
    struct direct_breakpoint slot[DIRECT_BREAKPOINTS];
};

/* What else the VMM can give the turn away for, before the guest goes on. */
enum direct_request {
    DIRECT_REQUEST_RUN,
    DIRECT_REQUEST_GET_XSAVE, /* fill the vCPU's page at DIRECT_XSAVE */
    DIRECT_REQUEST_SET_XSAVE, /* take over what is there */
};

#define DIRECT_SAMPLE_DEPTH 64

/* Where the guest was: RIP, then return addresses. `ready` tells that it is complete. */
struct direct_sample {
    uint32_t ready;
    uint32_t depth;
    uint64_t stack[DIRECT_SAMPLE_DEPTH];
};

struct direct_vcpu {
    /* Whose turn it is; a futex. A side that is about to sleep says so, which saves the other a
     * system call if it does not. */
    uint32_t turn;
    uint32_t engine_sleeps;
    uint32_t vmm_sleeps;
    uint32_t engine_cpu, vmm_cpu; /* where the two threads were when they last gave the turn away */
    uint32_t selector; /* what trampolines find in ES: trampoline_selector, set by the VMM */
    struct spin spin;  /* the engine's; its limit is set by the VMM */

    /* Events. */
    _Alignas(64) uint32_t mode;
    uint32_t pending;
    uint32_t sequence; /* futex: counts up with every event */
    int32_t tid;       /* the engine's thread */
    struct direct_apic apic;

    struct x86_state state;
    struct direct_msrs msrs;
    struct direct_exit exit;
    struct direct_debug debug;
    uint32_t request;    /* enum direct_request; back to RUN when done */
    uint32_t xsave_size; /* bytes, of the page at DIRECT_XSAVE */
    uint32_t writes;     /* that come before the exit: so many of trampoline_state.writes */
    uint32_t halted;     /* HLT was executed, no interrupt has come since */
    uint64_t traps;      /* statistics */
    struct direct_sample sample;
};

_Static_assert(sizeof(struct direct_vcpu) <= DIRECT_PAGE, "a vCPU has one page");

/* An I/O APIC with 24 lines (Intel 82093AA). */
#define DIRECT_IOAPIC_LINES 24

/* Fields of a redirection entry (section 3.2.4). */
#define DIRECT_REDIRECTION_LOGICAL (UINT64_C(1) << 11)
#define DIRECT_REDIRECTION_MASKED  (UINT64_C(1) << 16)

/*
 * The lines are the VMM's, which sets them without the lock: the engine's side of it is in the
 * hands of the guest. All else is the engine's, under the lock.
 */
struct direct_ioapic {
    uint32_t lock;
    uint32_t select;
    uint64_t redirection[DIRECT_IOAPIC_LINES];
    uint32_t level; /* lines that are asserted */
    uint32_t rises; /* lines that were asserted since the engine has looked */
};

/* First page. Written by the VMM before the engine starts, unless told otherwise. */
struct direct_header {
    int32_t ram_fd;  /* descriptor numbers the engine inherits */
    int32_t life_fd; /* end of file: the VMM is gone */
    uint32_t cpu_count;
    uint32_t tsc_khz;
    uint64_t ram_base, ram_size;
    uint32_t shares_cpus;    /* there are fewer host CPUs than vCPUs */
    uint32_t halt_spin;      /* TSC ticks that HLT may wait actively */
    uint64_t lowest_mapping; /* vm.mmap_min_addr */
    uint32_t status;         /* futex, set by the engine: enum direct_status or an errno */
    uint32_t failed_step;    /* set by the engine */
    int32_t pid;             /* set by the engine */
    uint32_t threads_ready, threads_released; /* the engine's own: futexes of its start */
    uint32_t debugged;                        /* accel_vm_config.debugged */
    uint32_t gate;                            /* futex, see engine/lift.c and debug.c */

    /* Set by the VMM at any time, values before counts. */
    uint32_t site_count;
    uint32_t site_sequence;          /* odd while sites are added or removed */
    uint64_t area_address;           /* of the trampolines, as the guest sees them; 0: none */
    uint64_t zeros_start, zeros_end; /* reads as zero without memory */
    uint32_t pci_mask, pci_value;    /* see vm_ignore_pci in accel.h */

    uint32_t pci_address; /* the engine's own: what the guest last wrote to the address port */

    struct direct_ioapic ioapic;
};

_Static_assert(sizeof(struct direct_header) <= DIRECT_PAGE, "the header has one page");

#define DIRECT_STATUS_STARTING 0
#define DIRECT_STATUS_READY    UINT32_MAX

#endif
