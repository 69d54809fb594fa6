/*
 * Accelerators: who executes guest code. This header is all that the rest of the VMM knows about
 * them; an accelerator in turn knows nothing of hypercalls or devices.
 *
 * An accel_vm belongs to the VM that created it. accel_vcpu objects are created, run and destroyed
 * by the one host thread of that vCPU; only accel_kick may be called on them from other threads.
 */
#ifndef ACCEL_ACCEL_H
#define ACCEL_ACCEL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "arch/x86_64/state.h"
#include "memory/ram.h"
#include "sandbox/calls.h"
#include "util/log.h"

/* Interrupts a thread in guest mode or in a blocking host call. Its handler does nothing; see
 * vm/vcpu.c. Linux itself never raises this one. No real-time signal: these get lost where the
 * user's limit on pending signals is reached. */
#define ACCEL_KICK_SIGNAL SIGSTKFLT

enum accel_exit_kind {
    ACCEL_EXIT_IO,          /* port I/O: one instruction, `count` elements of `size` bytes */
    ACCEL_EXIT_MMIO,        /* access to a guest-physical address without memory */
    ACCEL_EXIT_HALT,        /* HLT that the accelerator does not wait for itself */
    ACCEL_EXIT_SHUTDOWN,    /* triple fault */
    ACCEL_EXIT_INTERRUPTED, /* a kick, nothing else */
    ACCEL_EXIT_DEBUG,       /* something that vcpu_set_debug asked for */
    ACCEL_EXIT_FAILED,      /* the vCPU cannot go on: `reason` tells why */
};

#define ACCEL_HARDWARE_BREAKPOINTS 4

enum accel_breakpoint_kind {
    ACCEL_BREAK_NONE,    /* the slot is not used */
    ACCEL_BREAK_EXECUTE, /* before the instruction at `address`; size 1 */
    ACCEL_BREAK_WRITE,   /* after data was written */
    ACCEL_BREAK_ACCESS,  /* after data was read or written */
};

struct accel_hardware_breakpoint {
    enum accel_breakpoint_kind kind;
    uint8_t size; /* 1, 2, 4 or 8 bytes; `address` is a multiple of it */
    gva_t address;
};

/* What a debugger wants to know of a vCPU. */
struct accel_debug {
    bool enabled; /* breakpoint instructions (INT3) leave the guest: ACCEL_DEBUG_BREAKPOINT */
    /* Leave after one instruction; if it raised an exception, at the start of the handler or, where
     * the accelerator cannot tell, after it. Interrupts are held back as far as it can. */
    bool step;
    struct accel_hardware_breakpoint slot[ACCEL_HARDWARE_BREAKPOINTS];
};

/* Kinds, sizes and alignment are as they should be. */
bool accel_debug_is_valid(const struct accel_debug *debug);

enum accel_debug_event {
    ACCEL_DEBUG_STEP,       /* one instruction was executed */
    ACCEL_DEBUG_BREAKPOINT, /* RIP is that of an INT3, which has not been executed */
    ACCEL_DEBUG_HARDWARE,   /* the breakpoint in `slot`; the step, if there was one, is done too */
};

struct accel_exit {
    enum accel_exit_kind kind;
    union {
        struct {
            uint16_t port;
            uint8_t size; /* 1, 2 or 4 bytes */
            bool in;      /* an IN: fill `data` before the next run */
            uint32_t count;
            uint8_t *data; /* count * size bytes, valid until the next run */
            uint64_t rdi; /* register RDI, with which generation 2 hypercalls pass their argument */
            uint64_t rip;
        } io;
        struct {
            gpa_t gpa;
            uint8_t size; /* 1 to 8 bytes */
            bool write;
            uint8_t *data;
        } mmio;
        struct {
            enum accel_debug_event event;
            unsigned slot;
            gva_t rip;
        } debug;
    };
    bool queued;     /* IO: a coalesced write, delivered without having left guest mode for it */
    bool state_lost; /* SHUTDOWN: the processor was reset, its registers tell nothing */
    char reason[160];
};

#define ACCEL_SAMPLE_DEPTH 64

/* Where a guest was. */
struct accel_sample {
    bool idle;      /* it waited in HLT: there is no stack */
    unsigned depth; /* RIP, then the return addresses along the chain of frame pointers */
    gva_t stack[ACCEL_SAMPLE_DEPTH];
};

struct accel_host;
struct accel_vm;
struct accel_vcpu;

struct accel_vm_config {
    const struct ram *ram;
    unsigned cpu_count;
    bool cpu_pm;
    bool pit;
    /* A debugger will set breakpoints and step: the accelerator does without optimisations that
     * would be in its way. Needed for vcpu_set_debug and vm_code_written. */
    bool debugged;
    /* The VMM will become this user, and so must a process of the accelerator's. */
    bool change_user;
    uid_t uid;
    gid_t gid;
    const struct log *log;
};

/* A kernel in guest memory, and the file it came from, which is read in pieces: `read` returns
 * 0 or -errno. */
struct accel_kernel {
    gpa_t start;
    uint64_t size;  /* bytes */
    uint64_t vaddr; /* of its first byte in the file's own addresses */
    int (*read)(const void *context, uint64_t offset, void *to, size_t size);
    const void *context;
    uint64_t file_size;
};

struct accel {
    const char *name;
    bool shared_ram;                       /* guest RAM must be a file (ram_options.shared) */
    const struct sandbox_call *calls;      /* system calls from the creation of the vCPUs on; also
                                            * named in vm/isolation.c */
    const struct sandbox_call *line_calls; /* those of vm_set_irq_line, but for its first call */
    /*
     * Open what this machine has for it. Returns 0 and a handle, or -errno with the reason and the
     * remedy in *error. *degraded is set, with a reason in *error too, where guests run that do
     * without SSE and XSAVE only.
     */
    int (*host_open)(struct accel_host **host, bool *degraded, struct uhyve_error *error);
    void (*host_close)(struct accel_host *host);

    /* The VM borrows the host: close it after the VM. */
    int (*vm_create)(struct accel_host *host, const struct accel_vm_config *config,
                     struct accel_vm **vm, struct uhyve_error *error);
    void (*vm_destroy)(struct accel_vm *vm);
    /* The process in which guest code runs, if it is not the VMM's. Optional service. */
    pid_t (*vm_process)(const struct accel_vm *vm);
    /* Start the accelerator's own threads: none may exist before the VMM's thread has restricted
     * itself, or they would not be bound. Returns 0 or -errno with *error filled. Optional. */
    int (*vm_start_threads)(struct accel_vm *vm, struct uhyve_error *error);
    /* Writes to these ports may be queued and delivered, in order, before the next other exit.
     * Optional service. */
    void (*vm_coalesce_io)(struct accel_vm *vm, uint16_t port, uint8_t size);
    /* Let the guest read zeros from this page-aligned range without memory. From any thread.
     * Optional service. */
    void (*vm_map_zeros)(struct accel_vm *vm, gpa_t start, uint64_t size);

    /* Writes to this port need no answer at once: they may be delivered later, some together, in
     * the order in which the guest made all its accesses and before a user can notice. Optional
     * service. */
    void (*vm_delay_io)(struct accel_vm *vm, uint16_t port);
    /* Nothing is behind the ports first ... last: writes may be dropped and reads answer ones
     * without an exit. Optional service. */
    void (*vm_ignore_io)(struct accel_vm *vm, uint16_t first, uint16_t last);
    /*
     * PCI configuration space (mechanism #1) has nothing at addresses for which (address & mask) !=
     * value: while the address port holds such a one, reads of the data port may answer ones and
     * writes be dropped without an exit, and so may be the write that stored it there. What selects
     * something exits, first the write of its address. Optional service.
     */
    void (*vm_ignore_pci)(struct accel_vm *vm, uint32_t mask, uint32_t value);
    /*
     * The kernel is in memory, and no vCPU runs yet; the accelerator may change its code where the
     * guest cannot notice. Optional: an accelerator that runs code as it is has none.
     */
    int (*vm_kernel_loaded)(struct accel_vm *vm, const struct accel_kernel *kernel,
                            struct uhyve_error *error);

    int (*vcpu_create)(struct accel_vm *vm, unsigned index, struct accel_vcpu **vcpu,
                       struct uhyve_error *error);
    void (*vcpu_destroy)(struct accel_vcpu *vcpu);
    /* Run until the next exit. */
    void (*vcpu_run)(struct accel_vcpu *vcpu, struct accel_exit *exit);
    /* From any thread: make the current or next vcpu_run return soon. Signal the thread afterwards.
     */
    void (*vcpu_kick)(struct accel_vcpu *vcpu);
    /*
     * From any thread, but from one at a time: *sample becomes what the guest did when this was
     * called last, and it is asked again, which disturbs it less than a kick. False: nothing has
     * come since. Optional; without it a kick and vcpu_get_state do.
     */
    bool (*vcpu_sample)(struct accel_vcpu *vcpu, struct accel_sample *sample);
    int (*vcpu_get_state)(struct accel_vcpu *vcpu, struct x86_state *state);
    int (*vcpu_set_state)(struct accel_vcpu *vcpu, const struct x86_state *state);
    uint32_t (*vcpu_tsc_khz)(struct accel_vcpu *vcpu); /* 0: unknown */

    /*
     * Devices. Set the level of an input of the guest's interrupt controller (I/O APIC), 0 to 23.
     * From any thread. Returns 0 or -errno.
     */
    int (*vm_set_irq_line)(struct accel_vm *vm, unsigned line, bool level);
    /* Count writes to [gpa, gpa + 2) on the eventfd instead of leaving the guest; optional service.
     */
    int (*vm_notify_write)(struct accel_vm *vm, gpa_t gpa, int event_fd);

    /*
     * Debugging; by the vCPU's thread between two runs, unless told otherwise.
     *
     * vcpu_set_debug holds for all further runs, until it is changed; -EINVAL for slots that cannot
     * be. A breakpoint on the instruction at RIP stops the vCPU again at once: take it out to pass.
     * vcpu_inject_breakpoint: the INT3 that ACCEL_DEBUG_BREAKPOINT reported is the guest's own,
     * whose handler is to get it with the next run.
     */
    int (*vcpu_set_debug)(struct accel_vcpu *vcpu, const struct accel_debug *debug);
    int (*vcpu_inject_breakpoint)(struct accel_vcpu *vcpu);
    /* The FPU and vector registers as XSAVE stores them (Intel SDM volume 1, section 13.4), at most
     * 4096 bytes. Get returns how many bytes it has stored, at most `size`, or -errno; set leaves
     * what is beyond `size`, which is at least 576, as it is. */
    int (*vcpu_get_xsave)(struct accel_vcpu *vcpu, void *area, size_t size);
    int (*vcpu_set_xsave)(struct accel_vcpu *vcpu, const void *area, size_t size);
    /*
     * Guest code as the guest sees it, for accelerators that patch it; all vCPUs are out of the
     * guest. vm_original_code undoes the patches in `copy`, which was read from guest memory at
     * `gpa`. vm_code_written: [gpa, gpa + size) was changed by a debugger, and may hold or have
     * lost an INT3. Optional services.
     */
    void (*vm_original_code)(struct accel_vm *vm, gpa_t gpa, void *copy, size_t size);
    int (*vm_code_written)(struct accel_vm *vm, gpa_t gpa, size_t size);
};

extern const struct accel accel_direct;
extern const struct accel accel_kvm;
extern const struct sandbox_call direct_calls[], kvm_calls[];
extern const struct sandbox_call direct_line_calls[], kvm_line_calls[];

/* An accelerator that was found to work, and its handle. */
struct accel_choice {
    const struct accel *accel; /* NULL: none chosen */
    struct accel_host *host;
};

/*
 * The accelerator for a VM: the one asked for, or with UHYVE_ACCEL_AUTO the first that works here.
 * Returns 0 or -errno with *error filled. accel_release closes the handle and may be called on a
 * zeroed structure.
 */
int accel_select(enum uhyve_accel wanted, const struct log *log, struct accel_choice *choice,
                 struct uhyve_error *error);
void accel_release(struct accel_choice *choice);

#endif
