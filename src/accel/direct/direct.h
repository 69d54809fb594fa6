/*
 * The accelerator 'direct', VMM side: runs guests natively on machines without virtualization
 * hardware. Guest code executes in the engine, a separate process that this side starts, feeds and
 * watches; engine/engine.h has the theory of operation.
 *
 *     probe.c    can this machine do it
 *     process.c  the engine's process: start, death
 *     vm.c       a VM and its control memory (shared.h)
 *     vcpu.c     entering the guest, and what comes back
 *     code.c     finding and patching instructions that do not trap by themselves
 *     debug.c    breakpoints and steps for a debugger
 *     tsc.c      frequency of the time stamp counter
 *
 * The engine can die at any moment, for instance because the host runs out of memory. A watcher
 * thread waits for that; it marks the VM as dead and wakes all vCPU threads, which then fail.
 */
#ifndef ACCEL_DIRECT_DIRECT_H
#define ACCEL_DIRECT_DIRECT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "accel/accel.h"
#include "accel/direct/shared.h"

/* The engine's process. Its end is noticed at once, but it is reaped by process_stop only, so that
 * its pid stays its own and may be signalled without a lock, from signal handlers too. */
struct direct_process {
    pid_t pid;   /* 0: none */
    int life_fd; /* the engine ends when this is closed */
    pthread_t watcher;
    bool watched;
    atomic_bool dead;
    int end_signal; /* valid when dead: what ended it; 0: it ended by itself */
};

/* Where the frequency measurement started. */
struct tsc_sample {
    uint64_t tsc;
    uint64_t ns;
};

/* A trap byte in guest code for breakpoints of the kind that hardware has. */
struct code_break {
    gpa_t gpa;
    unsigned users; /* slots of vCPUs; 0: this one is free */
    bool inserted;  /* else there is a breakpoint instruction, or a trap, for a reason of its own */
};

#define CODE_BREAKS 16

#define DIRECT_BREAKPOINT_INSTRUCTION 0xcc /* what debuggers write into code; hides a trap */

struct accel_vm {
    const struct ram *ram;
    const struct log *log;
    unsigned cpu_count;
    struct direct_process process;
    int control_fd;
    uint8_t *control; /* the control memory */
    size_t control_size;
    struct direct_header *header; /* its first page */
    struct tsc_sample tsc_start;
    pthread_mutex_t lock; /* sites, page kinds, breakpoints, start-up */
    bool ready;
    uint32_t site_count;
    struct patch_table *table; /* the kernel's patches; NULL: there is no kernel */
    bool debugged;
    struct code_break breaks[CODE_BREAKS];
    struct accel_vcpu *vcpus[DIRECT_CPUS_MAX];
    bool spins; /* the two sides of a vCPU wait actively for each other, for a while */
};

struct accel_vcpu {
    struct accel_vm *vm;
    unsigned index;
    struct direct_vcpu *shared;
    atomic_bool kicked; /* since the last exit INTERRUPTED */
    struct spin spin;
    bool reading; /* `data` answers the current exit */
    uint8_t data[8];
    struct accel_debug debug;
    struct code_break *breaks[ACCEL_HARDWARE_BREAKPOINTS]; /* of slots; NULL: not inserted */
    /* Port writes that came before the exit in `held`, which is still to be reported. */
    bool holds;
    unsigned write_count, write_next;
    struct trampoline_write writes[TRAMPOLINE_WRITES];
    uint8_t write_data[4 * TRAMPOLINE_WRITES];
    struct direct_exit held;
};

int direct_host_open(struct accel_host **host, bool *degraded, struct uhyve_error *error);
void direct_host_close(struct accel_host *host);

/*
 * Start the engine. `control_fd` and `ram_fd` are inherited; the header is filled in but for the
 * descriptors. Returns 0 or -errno with *error filled. process_stop kills and reaps it; allowed on
 * a zeroed structure.
 */
int process_start(struct accel_vm *vm, const struct accel_vm_config *config,
                  struct uhyve_error *error);
void process_stop(struct direct_process *process);

/* Start the thread that waits for the engine's death. Returns 0 or -errno with *error filled. */
int process_watch(struct accel_vm *vm, struct uhyve_error *error);

/* Send a signal to one of the engine's threads, or to the engine if `tid` is 0. No effect if it is
 * dead. Async-signal-safe. */
void process_signal(const struct direct_process *process, pid_t tid, int signal);

/* Why the engine ended, for people. */
void process_describe_death(const struct direct_process *process, char *text, size_t size);

/* Called by the watcher once process.dead is set. */
void vm_engine_died(struct accel_vm *vm);

/* Wait until the engine has started, once. Returns 0 or -errno with *error filled. */
int vm_wait_ready(struct accel_vm *vm, struct uhyve_error *error);

struct direct_vcpu *vm_shared_vcpu(const struct accel_vm *vm, unsigned index);
static inline void *vm_xsave_area(const struct accel_vm *vm, unsigned index)
{
    return vm->control + DIRECT_XSAVE + (size_t)index * DIRECT_PAGE;
}

/* Make one of DIRECT_PENDING_* pending and get the vCPU's attention. Async-signal-safe. */
void vcpu_notify(const struct accel_vm *vm, unsigned index, uint32_t pending);

int direct_vcpu_create(struct accel_vm *vm, unsigned index, struct accel_vcpu **vcpu,
                       struct uhyve_error *error);
void direct_vcpu_destroy(struct accel_vcpu *vcpu);
void direct_vcpu_run(struct accel_vcpu *vcpu, struct accel_exit *exit);
void direct_vcpu_kick(struct accel_vcpu *vcpu);
bool direct_vcpu_sample(struct accel_vcpu *vcpu, struct accel_sample *sample); /* sample.c */
int direct_vcpu_get_state(struct accel_vcpu *vcpu, struct x86_state *state);
int direct_vcpu_set_state(struct accel_vcpu *vcpu, const struct x86_state *state);
uint32_t direct_vcpu_tsc_khz(struct accel_vcpu *vcpu);

/* Where the guest is to see the area of trampolines; 0: it can have none. */
uint64_t code_choose_area(const struct ram *ram, unsigned cpu_count);

/* Patch the kernel; called once, before vCPUs run. Returns 0 or -errno with *error filled. */
int code_patch_kernel(struct accel_vm *vm, const struct accel_kernel *kernel,
                      struct uhyve_error *error);

/* Patch the page of guest RAM at `page`, which is going to be executed from `entry` on. What the
 * guest has written there since the last time counts. Returns 0 or -ENOSPC. */
int code_patch_page(struct accel_vm *vm, gpa_t page, gpa_t entry);

/* The instruction at `gpa` was `byte` before it became a trap, or is no more. Under the lock. */
bool code_add_site(struct accel_vm *vm, gpa_t gpa, uint8_t byte);
void code_remove_site(struct accel_vm *vm, gpa_t gpa);
/* Whether something else than a trap is at this site. */
bool code_is_overwritten(const struct accel_vm *vm, gpa_t gpa);
/* Index of the first site at or above `gpa`; there are vm->site_count. */
uint32_t code_find_site(const struct accel_vm *vm, gpa_t gpa);
/* A site: gpa << 8 | byte. Read it once: what the engine can write may change at any moment. */
static inline uint64_t code_site(const struct accel_vm *vm, uint32_t index)
{
    const uint64_t *sites = (const uint64_t *)(const void *)(vm->control + DIRECT_SITES);
    return __atomic_load_n(&sites[index], __ATOMIC_RELAXED);
}

/* Make traps of the sensitive instructions in [gpa, gpa + size), which lies in one page and starts
 * with an instruction. Under the lock. */
bool code_patch_range(struct accel_vm *vm, gpa_t gpa, size_t size);

void code_original(struct accel_vm *vm, gpa_t gpa, void *copy, size_t size);
int code_written(struct accel_vm *vm, gpa_t gpa, size_t size);

/* debug.c */
int direct_vcpu_set_debug(struct accel_vcpu *vcpu, const struct accel_debug *debug);
int direct_vcpu_inject_breakpoint(struct accel_vcpu *vcpu);
/* The guest has written to a page, which is going to be swept: breakpoints that it has written over
 * are not there any more. Under the lock. */
void debug_page_written(struct accel_vm *vm, gpa_t page);
/* A page has become code: there may be breakpoints for it. */
void debug_page_swept(struct accel_vm *vm, gpa_t page);
/* Code has changed: put trap bytes back. Under the lock. */
void debug_code_written(struct accel_vm *vm, gpa_t gpa, size_t size);
void debug_vcpu_gone(struct accel_vcpu *vcpu);

int direct_vcpu_get_xsave(struct accel_vcpu *vcpu, void *area, size_t size);
int direct_vcpu_set_xsave(struct accel_vcpu *vcpu, const void *area, size_t size);

struct tsc_sample tsc_sample_now(void);
/* Frequency in kHz, as the processor tells it or measured since `start`; takes up to 2 ms. */
uint32_t tsc_frequency(const struct tsc_sample *start);

#endif
