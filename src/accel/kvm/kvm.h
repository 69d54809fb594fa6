/*
 * The KVM accelerator: what its files share. Everything is straight ioctls on /dev/kvm; section
 * numbers in the comments refer to the kernel's Documentation/virt/kvm/api.rst.
 */
#ifndef ACCEL_KVM_KVM_H
#define ACCEL_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "accel/accel.h"

#define KVM_CPUID_MAX 256

/* What struct kvm_cpuid2 describes, with room for the entries that it has as a flexible array. */
struct kvm_cpuid_table {
    uint32_t nent;
    uint32_t padding;
    struct kvm_cpuid_entry2 entries[KVM_CPUID_MAX];
};

_Static_assert(offsetof(struct kvm_cpuid_table, entries) == sizeof(struct kvm_cpuid2),
               "the table is laid out as the kernel wants it");

struct accel_host {
    int fd; /* /dev/kvm */
    bool emulates_ring0;
    struct kvm_cpuid_table cpuid; /* supported; adapted for each vCPU */
};

struct accel_vm {
    const struct accel_host *host;
    int fd;
    int run_size; /* bytes of a vCPU's shared area */
    bool coalesces_io;
    bool tsc_deadline;
    uint32_t block_interrupts; /* flag of KVM_SET_GUEST_DEBUG; 0: not supported, or not asked yet */
    void *zeros;               /* memory behind the range of vm_map_zeros */
    uint64_t zeros_size;
    const struct log *log;
    pthread_mutex_t ring_lock; /* consumers of the ring below */
    pthread_mutex_t lines_lock;
    bool lines_routed; /* to the I/O APIC only */
};

struct accel_vcpu {
    struct accel_vm *vm;
    int fd;
    unsigned index;
    struct kvm_run *run;
    /* Queued port writes of all vCPUs (4.116): every vCPU's area maps the same page. NULL: not
     * supported. */
    struct kvm_coalesced_mmio_ring *ring;
    bool exit_pending; /* run holds an exit that queued writes are delivered ahead of */
    struct kvm_coalesced_mmio queued;
    struct accel_debug debug;
};

/* host.c */
int kvm_host_open(struct accel_host **host, bool *degraded, struct uhyve_error *error);
void kvm_host_close(struct accel_host *host);

/* A KVM whose guests have no XSAVE emulates ring 0 instead of running it: nested without VMX or SVM
 * beneath. */
bool kvm_cpuid_emulates_ring0(const struct kvm_cpuid_table *cpuid);

/* Adapt for the vCPU with this index (spec/boot.md section 5.1). */
void kvm_cpuid_adapt(struct kvm_cpuid_table *cpuid, unsigned index, bool tsc_deadline);

int kvm_vcpu_create(struct accel_vm *vm, unsigned index, struct accel_vcpu **vcpu,
                    struct uhyve_error *error);
void kvm_vcpu_destroy(struct accel_vcpu *vcpu);
void kvm_vcpu_run(struct accel_vcpu *vcpu, struct accel_exit *exit);
void kvm_vcpu_kick(struct accel_vcpu *vcpu);
int kvm_vcpu_get_state(struct accel_vcpu *vcpu, struct x86_state *state);
int kvm_vcpu_set_state(struct accel_vcpu *vcpu, const struct x86_state *state);
uint32_t kvm_vcpu_tsc_khz(struct accel_vcpu *vcpu);

/* debug.c */
int kvm_vcpu_set_debug(struct accel_vcpu *vcpu, const struct accel_debug *debug);
int kvm_vcpu_inject_breakpoint(struct accel_vcpu *vcpu);
int kvm_vcpu_get_xsave(struct accel_vcpu *vcpu, void *area, size_t size);
int kvm_vcpu_set_xsave(struct accel_vcpu *vcpu, const void *area, size_t size);
/* Before each run that is to be a step: POPF and IRET take away the flag that makes it one. */
int kvm_debug_step(struct accel_vcpu *vcpu);
/* Decode KVM_EXIT_DEBUG. False: it was the guest's own, which gets it with the next run. */
bool kvm_debug_exit(struct accel_vcpu *vcpu, struct accel_exit *exit);

#endif
