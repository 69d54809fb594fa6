/*
 * One virtual machine: what the files of this folder share. vm.c has the life of a VM in order,
 * params.c its parameters, vcpu.c the threads and their exits, args.c the guest's arguments,
 * files.c its files, hermit.c Hermit images, report.c the crash report, stats.c the figures,
 * devices.c the network card, pause.c and debugger.c what a debugger needs, signals.c the caller's
 * signals.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "accel/accel.h"
#include "arch/x86_64/boot.h"
#include "boot/layout.h"
#include "console/console.h"
#include "debug/disassembly.h"
#include "debug/profile.h"
#include "debug/trace.h"
#include "device/virtio_net.h"
#include "fs/files.h"
#include "hypercall/hypercall.h"
#include "image/elf.h"
#include "image/hermit_image.h"
#include "image/image.h"
#include "image/symbols.h"
#include "memory/ram.h"
#include "util/text.h"
#include "vm/hermit_input.h"
#include "vm/pause.h"

/* What is counted beside the hypercalls, which come first in struct vcpu.count. */
enum vcpu_counter {
    COUNT_IO_READ,
    COUNT_IO_WRITE,
    COUNT_IO_QUEUED,
    COUNT_MMIO_READ,
    COUNT_MMIO_WRITE,
    COUNT_HALT,
    COUNT_SHUTDOWN,
    COUNT_INTERRUPTED,
    COUNT_OTHERS,
};

#define COUNT_HYPERCALLS_MAX 48
#define COUNTERS             (COUNT_HYPERCALLS_MAX + COUNT_OTHERS)

struct vcpu {
    struct uhyve_vm *vm;
    unsigned index;
    pthread_t thread;
    bool has_thread; /* there is one to join */
    struct accel_vcpu *accel;
    atomic_int running_tid;                /* thread that may be in the guest; 0: none */
    atomic_uint_least64_t count[COUNTERS]; /* written by the vCPU's thread only */
    atomic_uint_least64_t run_ns;
    struct call_history history; /* the last hypercalls */
    struct vcpu_core *core;      /* its registers at the end, for a core file */
    atomic_bool sample_due;      /* the profiler wants to know where it is */
    atomic_bool in_guest;        /* it is to be kicked for that */
};

/* Why and where the guest cannot go on. */
struct vm_crash {
    char cause[512];
    unsigned vcpu;
    bool state_valid;
    struct x86_state state;
    enum gdb_signal signal; /* what a debugger is told */
    bool has_address;       /* the address of a page fault */
    gva_t address;
};

/* See devices.c. */
struct vm_devices {
    struct pci_bus bus;
    struct virtio_net *net; /* NULL: there is nothing on the bus */
    bool captured;          /* the capture of its frames (params.net.dump) is this VM's */
};

enum vm_phase {
    VM_PREPARING, /* vCPU threads create their vCPUs, then wait */
    VM_RUNNING,
    VM_ABORTED, /* could not be prepared: vCPU threads end */
};

struct uhyve_vm {
    struct uhyve_params params;
    struct log log;
    int stop_fd;                /* eventfd; readable: the VM is to stop */
    struct image image;         /* the kernel */
    struct hermit_image hermit; /* what the kernel came in; all zero if it was alone */
    struct hermit_input hermit_input;
    struct elf elf;
    struct layout layout;
    struct ram ram;
    struct accel_choice chosen;
    const struct accel *accel; /* the chosen one */
    struct accel_vm *machine;
    struct console *console;
    struct text bootargs;
    struct files *files;
    struct text mounts; /* for the device tree */
    struct hypercall_context hypercalls;
    struct trace *trace;        /* NULL: calls are not traced */
    struct vm_profile *profile; /* NULL: there is none */
    struct vm_devices devices;
    struct log_limit unknown_access, lost_interrupts;
    atomic_bool bios_area_mapped;
    struct vcpu *vcpus;
    bool caller_pinned; /* the thread of uhyve_run, which had these host CPUs before */
    cpu_set_t caller_cpus;

    /* Start-up: vCPU threads report, then wait for the phase to change. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum vm_phase phase;
    unsigned vcpus_ready; /* or failed */
    int vcpu_error;
    struct uhyve_error vcpu_message;

    struct debugger *debugger; /* NULL: none; debugger.h */
    struct pause *pause;       /* likewise; pause.h */

    /* The end: the first vCPU that has something to say decides, under `lock`. */
    atomic_bool stopping;
    bool ran;
    bool ended;
    enum uhyve_outcome outcome;
    int exit_code;
    struct vm_crash crash;
    struct text report;
    struct disassembler *disassembler; /* for the report; NULL: there is none */

    /* Statistics: times are CLOCK_MONOTONIC nanoseconds. */
    uint64_t created_at;
    uint64_t create_ns, load_ns;
    atomic_uint_least64_t first_at, ended_at;
    struct uhyve_exit_count rows[COUNTERS];
    uint64_t *row_counts; /* COUNTERS * cpu_count */
    uint64_t *run_ns;
};

/* vm.c */
uint64_t vm_now(void);

/* The guest's end as one vCPU sees it; only the first call counts. Makes uhyve_run stop the others.
 */
void vm_end(struct uhyve_vm *vm, enum uhyve_outcome outcome, int exit_code,
            const struct vm_crash *crash);

/* vcpu.c */
extern const struct sandbox_call vcpu_calls[];
int vcpus_start(struct uhyve_vm *vm, struct uhyve_error *error); /* threads of all but vCPU 0 */
int vcpus_create_first(struct uhyve_vm *vm, struct uhyve_error *error);
int vcpus_wait_ready(struct uhyve_vm *vm, struct uhyve_error *error);
void vcpus_abort(struct uhyve_vm *vm); /* instead of the following: end the threads */
void vcpus_run(struct uhyve_vm *vm);   /* until the VM stopped and all threads ended */
void vcpu_kick(struct vcpu *vcpu);

/* params.c: 0, or -errno with *error filled for parameters out of range. */
int vm_check_params(const struct uhyve_params *params, struct uhyve_error *error);

/* signals.c: between the two, write errors do not raise signals on the calling thread. */
struct vm_signals {
    sigset_t old;     /* mask */
    sigset_t pending; /* signals of somebody else, waiting before */
};

extern const struct sandbox_call signals_calls[];
void signals_enter(struct vm_signals *signals);
void signals_leave(const struct vm_signals *signals);

/* isolation.c: give up what is not needed any more, for ever; before there is another thread. That
 * of the network's back end is started here, since its restrictions are its own. */
int vm_isolate(struct uhyve_vm *vm, struct uhyve_error *error);
/* The threads that a filter is for. */
enum vm_threads {
    VM_THREADS,        /* all but ... */
    VM_NETWORK_THREAD, /* that of the network's back end (net/pump.h) */
};

/* Also for the generator of the filters (sandbox/generate.c): the lists of system calls that a run
 * may be permitted. `*bit` is what a run that uses it passes to the filter, 0 for a list of every
 * run. NULL: there are no more. */
const struct sandbox_call *vm_call_list(enum vm_threads threads, size_t index, uint16_t *bit);

/* exits.c */
void vcpu_run_guest(struct vcpu *vcpu);

/* calls.c: hypercall_run with what watches it. */
enum hypercall_outcome vcpu_call(struct vcpu *vcpu, const struct hypercall *call, uint16_t port,
                                 const struct hypercall_caller *caller,
                                 const struct hypercall_write *write, int *exit_code);
int vm_trace_open(struct uhyve_vm *vm, struct uhyve_error *error);
void vm_trace_finish(struct uhyve_vm *vm); /* after the vCPUs have ended */
void vm_trace_close(struct uhyve_vm *vm);

/*
 * devices.c. vm_devices_check: can the image use what was asked for? vm_devices_create opens what
 * needs privileges. vm_devices_discard: there will be no guest, remove the files made for it.
 * vm_devices_stop: when the vCPUs have ended.
 */
int vm_devices_check(struct uhyve_vm *vm, struct uhyve_error *error);
int vm_devices_create(struct uhyve_vm *vm, struct uhyve_error *error);
void vm_devices_discard(struct uhyve_vm *vm);
int vm_devices_start(struct uhyve_vm *vm, struct uhyve_error *error);
void vm_devices_stop(struct uhyve_vm *vm);
void vm_devices_destroy(struct uhyve_vm *vm);
/* An exit that may be for a device; false if it is for none. */
bool vm_device_io(struct uhyve_vm *vm, const struct accel_exit *exit);
bool vm_device_memory(struct uhyve_vm *vm, const struct accel_exit *exit);

/* core.c: registers of a vCPU that has left its loop, by its thread; and the file, after the end.
 */
void vcpu_keep_core(struct vcpu *vcpu);
void vm_dump_core(struct uhyve_vm *vm);

/* profile.c; all but vcpu_profile also when there is no profile. */
int vm_profile_open(struct uhyve_vm *vm, struct uhyve_error *error);
int vm_profile_start(struct uhyve_vm *vm, struct uhyve_error *error); /* before the vCPUs run */
void vcpu_profile(struct vcpu *vcpu, const struct accel_exit *exit);  /* after each exit */
void vm_profile_finish(struct uhyve_vm *vm); /* after the vCPUs have ended */
void vm_profile_close(struct uhyve_vm *vm);

/* stats.c: what is counted under this index; NULL: nothing */
const char *vm_counter_name(unsigned counter);

/* report.c: the text of a crash report; belongs to the VM. */
const char *vm_report_crash(struct uhyve_vm *vm);
/* Likewise of a guest that ended itself in error; NULL if its output does not say why. */
const char *vm_report_exit(struct uhyve_vm *vm);
/* The function names of the image. False, with none of them and *error filled, if it cannot be
 * read. */
bool vm_read_symbols(const struct uhyve_vm *vm, struct symbols *symbols, struct uhyve_error *error);

/* files.c */
int vm_files_init(struct uhyve_vm *vm, struct uhyve_error *error);
void vm_files_free(struct uhyve_vm *vm);

/* hermit.c */

/* If the image is a Hermit image, unpack it: vm->image becomes the kernel in it, and what it says
 * about arguments, environment and requirements goes into vm->params. */
int vm_unpack_image(struct uhyve_vm *vm, struct uhyve_error *error);
/* External mode: the files of the image become files of the guest. After vm->files exists. */
int vm_map_image_files(struct uhyve_vm *vm, struct uhyve_error *error);
uint64_t vm_archive_size(const struct uhyve_vm *vm); /* bytes of it in guest memory */
void vm_free_image(struct uhyve_vm *vm);

/* args.c */
int vm_args_init(struct uhyve_vm *vm, struct uhyve_error *error);
void vm_args_free(struct uhyve_vm *vm);

#endif
