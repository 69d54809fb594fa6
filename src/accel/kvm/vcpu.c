/*
 * One virtual CPU: creation, the way into the guest and what comes back.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "util/error.h"
#include "util/thread.h"

#define MSR_IA32_MISC_ENABLE     0x1a0
#define MISC_ENABLE_FAST_STRINGS 1

/* How often to enter again when KVM says so: some microseconds each. */
#define AGAIN_MAX 10000

static int failed(struct uhyve_error *error, unsigned index, const char *what)
{
    int err = errno;
    return error_set(error, UHYVE_STATUS_FAILED, err, "KVM could not %s virtual CPU %u: %s (%s)",
                     what, index, strerror(err), error_remedy(err, "use a smaller -c"));
}

static int set_cpuid(const struct accel_vcpu *vcpu)
{
    struct kvm_cpuid_table cpuid = vcpu->vm->host->cpuid;

    kvm_cpuid_adapt(&cpuid, vcpu->index, vcpu->vm->tsc_deadline);
    return ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid);
}

static int set_msrs(const struct accel_vcpu *vcpu)
{
    /* A struct kvm_msrs with one entry. */
    struct {
        uint32_t nmsrs, padding;
        struct kvm_msr_entry entry;
    } msrs = {
        .nmsrs = 1,
        .entry = {.index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRINGS},
    };
    int count = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
    if (count == 0)
        errno = EINVAL; /* KVM refused the register, which is no error of the call */
    return count == 1 ? 0 : -1;
}

static int set_up(struct accel_vcpu *vcpu, struct uhyve_error *error)
{
    struct accel_vm *vm = vcpu->vm;
    struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};

    vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, vcpu->index);
    if (vcpu->fd < 0)
        return failed(error, vcpu->index, "create");
    void *area = mmap(NULL, (size_t)vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
    if (area == MAP_FAILED)
        return failed(error, vcpu->index, "share memory with");
    vcpu->run = area;
    vcpu->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
    if (vm->coalesces_io) {
        int page = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);
        if (page > 0 && (page + 1) * 4096 <= vm->run_size)
            vcpu->ring = (void *)((uint8_t *)area + page * 4096);
    }
    if (set_cpuid(vcpu) != 0)
        return failed(error, vcpu->index, "set the features of");
    if (set_msrs(vcpu) != 0)
        return failed(error, vcpu->index, "set the registers of");
    /* There is no INIT/SIPI: all vCPUs start at once (spec/boot.md section 7). */
    if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable) != 0)
        return failed(error, vcpu->index, "start");
    return 0;
}

int kvm_vcpu_create(struct accel_vm *vm, unsigned index, struct accel_vcpu **result,
                    struct uhyve_error *error)
{
    struct accel_vcpu *vcpu = calloc(1, sizeof *vcpu);
    if (!vcpu)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    *vcpu = (struct accel_vcpu){.vm = vm, .index = index, .fd = -1};
    int err = set_up(vcpu, error);
    if (err)
        kvm_vcpu_destroy(vcpu);
    else
        *result = vcpu;
    return err;
}

void kvm_vcpu_destroy(struct accel_vcpu *vcpu)
{
    if (vcpu->run)
        munmap(vcpu->run, (size_t)vcpu->vm->run_size);
    if (vcpu->fd >= 0)
        close(vcpu->fd);
    free(vcpu);
}

void kvm_vcpu_kick(struct accel_vcpu *vcpu)
{
    /* Makes the next KVM_RUN return at once if the signal comes before it (see immediate_exit in
     * 5). */
    __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_RELEASE);
}

uint32_t kvm_vcpu_tsc_khz(struct accel_vcpu *vcpu)
{
    int khz = ioctl(vcpu->fd, KVM_GET_TSC_KHZ, 0);
    return khz > 0 ? (uint32_t)khz : 0;
}

/* Take the oldest queued write, if there is one. */
static bool take_queued(struct accel_vcpu *vcpu)
{
    struct kvm_coalesced_mmio_ring *ring = vcpu->ring;
    const unsigned size = (4096 - sizeof *ring) /
                          sizeof(struct kvm_coalesced_mmio); /* KVM_COALESCED_MMIO_MAX */

    if (!ring || __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) ==
                     __atomic_load_n(&ring->first, __ATOMIC_RELAXED))
        return false;
    pthread_mutex_lock(&vcpu->vm->ring_lock);
    bool found = __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) != ring->first;
    if (found) {
        vcpu->queued = ring->coalesced_mmio[ring->first % size];
        __atomic_store_n(&ring->first, (ring->first + 1) % size, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&vcpu->vm->ring_lock);
    return found;
}

static void exit_queued(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    *exit = (struct accel_exit){
        .kind = ACCEL_EXIT_IO,
        .io = {.port = (uint16_t)vcpu->queued.phys_addr,
               .size = (uint8_t)vcpu->queued.len,
               .count = 1,
               .data = vcpu->queued.data},
        .queued = true,
    };
}

static void exit_failed(struct accel_exit *exit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void exit_failed(struct accel_exit *exit, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    exit->kind = ACCEL_EXIT_FAILED;
    vsnprintf(exit->reason, sizeof exit->reason, format, args);
    va_end(args);
}

static void exit_shutdown(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    struct kvm_sregs sregs;

    exit->kind = ACCEL_EXIT_SHUTDOWN;
    /* AMD processors leave the state undefined, so KVM resets the vCPU: back in real mode. */
    exit->state_lost = ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) != 0 || !(sregs.cr0 & X86_CR0_PE);
}

static void exit_internal_error(const struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    if (vcpu->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
        exit_failed(exit, "KVM could not emulate an instruction%s",
                    vcpu->vm->host->emulates_ring0
                        ? " (on this machine it emulates all privileged code, and knows no SSE and "
                          "no XSAVE there)"
                        : "");
    else
        exit_failed(exit, "KVM internal error %u", vcpu->run->internal.suberror);
}

/* False: nothing has happened that the caller needs to know. */
static bool decode(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    struct kvm_run *run = vcpu->run;

    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        exit->kind = ACCEL_EXIT_IO;
        exit->io.port = run->io.port;
        exit->io.size = run->io.size;
        exit->io.in = run->io.direction == KVM_EXIT_IO_IN;
        exit->io.count = run->io.count;
        exit->io.data = (uint8_t *)run + run->io.data_offset;
        exit->io.rdi = run->s.regs.regs.rdi;
        exit->io.rip = run->s.regs.regs.rip;
        exit->queued = false;
        return true;
    case KVM_EXIT_MMIO:
        exit->kind = ACCEL_EXIT_MMIO;
        exit->mmio.gpa = run->mmio.phys_addr;
        exit->mmio.size = (uint8_t)run->mmio.len;
        exit->mmio.write = run->mmio.is_write;
        exit->mmio.data = run->mmio.data;
        return true;
    case KVM_EXIT_HLT:
        exit->kind = ACCEL_EXIT_HALT;
        return true;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        exit->kind = ACCEL_EXIT_INTERRUPTED;
        return true;
    case KVM_EXIT_DEBUG:
        return kvm_debug_exit(vcpu, exit);
    case KVM_EXIT_SHUTDOWN:
        exit_shutdown(vcpu, exit);
        return true;
    case KVM_EXIT_FAIL_ENTRY:
        exit_failed(exit, "the processor refused the guest's state (hardware reason 0x%llx)",
                    (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        return true;
    case KVM_EXIT_INTERNAL_ERROR:
        exit_internal_error(vcpu, exit);
        return true;
    default:
        exit_failed(exit, "KVM stopped for a reason uhyve does not know (%u)", run->exit_reason);
        return true;
    }
}

/* Enter the guest. False, with *exit filled, if it was not left for a reason of its own. */
static bool enter(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    int err = vcpu->debug.step ? kvm_debug_step(vcpu) : 0;
    if (err) {
        exit_failed(exit, "KVM cannot step the CPU: %s", strerror(-err));
        return false;
    }
    for (unsigned tries = 0; ioctl(vcpu->fd, KVM_RUN, 0) != 0; tries++) {
        /* With the first entry KVM may start a thread of its own, for which there may be a limit.
         */
        if (errno == EAGAIN && tries < AGAIN_MAX)
            continue;
        if (errno == EAGAIN) {
            exit_failed(exit, "KVM cannot run the CPU: %s (" THREAD_REMEDY ")", strerror(errno));
        } else if (errno == EINTR) {
            /* Ordered before the caller's look at why it was kicked: a kick that this overwrites is
             * not missed. */
            __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
            exit->kind = ACCEL_EXIT_INTERRUPTED;
        } else {
            exit_failed(exit, "KVM cannot run the CPU: %s", strerror(errno));
        }
        return false;
    }
    return true;
}

void kvm_vcpu_run(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    do {
        if (!vcpu->exit_pending && !enter(vcpu, exit))
            return;
        vcpu->exit_pending = take_queued(vcpu);
        if (vcpu->exit_pending) {
            exit_queued(vcpu, exit);
            return;
        }
    } while (!decode(vcpu, exit));
}

static struct x86_segment from_kvm_segment(const struct kvm_segment *s)
{
    return (struct x86_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .attributes = (uint16_t)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 8 |
                                 s->l << 9 | s->db << 10 | s->g << 11),
    };
}

static struct kvm_segment to_kvm_segment(const struct x86_segment *s)
{
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = s->attributes & 15,
        .s = s->attributes >> 4 & 1,
        .dpl = s->attributes >> 5 & 3,
        .present = s->attributes >> 7 & 1,
        .avl = s->attributes >> 8 & 1,
        .l = s->attributes >> 9 & 1,
        .db = s->attributes >> 10 & 1,
        .g = s->attributes >> 11 & 1,
        .unusable = !(s->attributes >> 7 & 1),
    };
}

/* The two structures name the general registers in different orders. */
#define FOR_EACH_GPR(X)                                                                            \
    X(RAX, rax)                                                                                    \
    X(RCX, rcx)                                                                                    \
    X(RDX, rdx)                                                                                    \
    X(RBX, rbx)                                                                                    \
    X(RSP, rsp)                                                                                    \
    X(RBP, rbp)                                                                                    \
    X(RSI, rsi)                                                                                    \
    X(RDI, rdi)                                                                                    \
    X(R8, r8)                                                                                      \
    X(R9, r9)                                                                                      \
    X(R10, r10)                                                                                    \
    X(R11, r11)                                                                                    \
    X(R12, r12)                                                                                    \
    X(R13, r13)                                                                                    \
    X(R14, r14)                                                                                    \
    X(R15, r15)

#define FOR_EACH_SEGMENT(X) X(cs) X(ds) X(es) X(fs) X(gs) X(ss) X(tr) X(ldt)

int kvm_vcpu_get_state(struct accel_vcpu *vcpu, struct x86_state *state)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;

    if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) != 0 || ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) != 0)
        return -errno;
#define GET_GPR(NAME, name) state->gpr[X86_##NAME] = regs.name;
    FOR_EACH_GPR(GET_GPR)
#define GET_SEGMENT(name) state->name = from_kvm_segment(&sregs.name);
    FOR_EACH_SEGMENT(GET_SEGMENT)
    state->rip = regs.rip;
    state->rflags = regs.rflags;
    state->gdt = (struct x86_table){sregs.gdt.base, sregs.gdt.limit};
    state->idt = (struct x86_table){sregs.idt.base, sregs.idt.limit};
    state->cr0 = sregs.cr0;
    state->cr2 = sregs.cr2;
    state->cr3 = sregs.cr3;
    state->cr4 = sregs.cr4;
    state->cr8 = sregs.cr8;
    state->efer = sregs.efer;
    state->apic_base = sregs.apic_base;
    return 0;
}

int kvm_vcpu_set_state(struct accel_vcpu *vcpu, const struct x86_state *state)
{
    struct kvm_mp_state runnable = {.mp_state = KVM_MP_STATE_RUNNABLE};
    struct kvm_regs regs, old;
    struct kvm_sregs sregs = {0};

#define SET_GPR(NAME, name) regs.name = state->gpr[X86_##NAME];
    FOR_EACH_GPR(SET_GPR)
#define SET_SEGMENT(name) sregs.name = to_kvm_segment(&state->name);
    FOR_EACH_SEGMENT(SET_SEGMENT)
    regs.rip = state->rip;
    regs.rflags = state->rflags;
    sregs.gdt = (struct kvm_dtable){.base = state->gdt.base, .limit = state->gdt.limit};
    sregs.idt = (struct kvm_dtable){.base = state->idt.base, .limit = state->idt.limit};
    sregs.cr0 = state->cr0;
    sregs.cr2 = state->cr2;
    sregs.cr3 = state->cr3;
    sregs.cr4 = state->cr4;
    sregs.cr8 = state->cr8;
    sregs.efer = state->efer;
    sregs.apic_base = state->apic_base;
    if (ioctl(vcpu->fd, KVM_GET_REGS, &old) != 0 || ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) != 0 ||
        ioctl(vcpu->fd, KVM_SET_REGS, &regs) != 0)
        return -errno;
    /* A vCPU that waits in HLT does so no longer when it is sent elsewhere. */
    if (old.rip != regs.rip && ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable) != 0)
        return -errno;
    return 0;
}
