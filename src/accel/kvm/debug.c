/*
 * What a debugger needs of KVM (spec/debug.md section 7; KVM_SET_GUEST_DEBUG is 4.87 of the
 * kernel's document).
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "accel/kvm/kvm.h"

/* DR6 and DR7 (Intel SDM volume 3, section 17.2). */
#define DR6_STEP       (1u << 14)
#define DR7_FIXED      0x700u /* the fixed bit, and exact breakpoints for processors that ask for it */
#define DR7_GLOBAL(n)  (2u << 2 * (n))
#define DR7_FIELD(n)   (16 + 4 * (n))
#define DR7_WRITE      1u
#define DR7_READ_WRITE 3u

#define VECTOR_DEBUG      1
#define VECTOR_BREAKPOINT 3

static uint32_t dr7(const struct accel_hardware_breakpoint *slots)
{
    static const uint8_t lengths[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
    uint32_t value = DR7_FIXED;

    for (unsigned i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++) {
        uint32_t field = 0; /* execution of one byte */
        if (slots[i].kind == ACCEL_BREAK_NONE)
            continue;
        if (slots[i].kind != ACCEL_BREAK_EXECUTE)
            field = (uint32_t)lengths[slots[i].size] << 2 |
                    (slots[i].kind == ACCEL_BREAK_WRITE ? DR7_WRITE : DR7_READ_WRITE);
        value |= DR7_GLOBAL(i) | field << DR7_FIELD(i);
    }
    return value;
}

static int set_guest_debug(const struct accel_vcpu *vcpu, uint32_t once)
{
    const struct accel_debug *debug = &vcpu->debug;
    struct kvm_guest_debug control = {.control = once};
    bool slots = false;

    for (unsigned i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++) {
        slots |= debug->slot[i].kind != ACCEL_BREAK_NONE;
        control.arch.debugreg[i] = debug->slot[i].address;
    }
    if (slots) {
        control.control |= KVM_GUESTDBG_USE_HW_BP;
        control.arch.debugreg[7] = dr7(debug->slot);
    }
    if (debug->enabled)
        control.control |= KVM_GUESTDBG_USE_SW_BP;
    if (debug->step)
        control.control |= KVM_GUESTDBG_SINGLESTEP | vcpu->vm->block_interrupts;
    if (control.control)
        control.control |= KVM_GUESTDBG_ENABLE;
    return ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &control) == 0 ? 0 : -errno;
}

/* Steps lead into no interrupt handler where KVM can hold interrupts back (Linux 5.16). */
static uint32_t blocking_flag(const struct accel_vm *vm)
{
    int supported = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);
    return supported > 0 ? (uint32_t)supported & KVM_GUESTDBG_BLOCKIRQ : 0;
}

int kvm_vcpu_set_debug(struct accel_vcpu *vcpu, const struct accel_debug *debug)
{
    if (!accel_debug_is_valid(debug))
        return -EINVAL;
    if (!vcpu->vm->block_interrupts)
        vcpu->vm->block_interrupts = blocking_flag(vcpu->vm);
    vcpu->debug = *debug;
    return set_guest_debug(vcpu, 0);
}

int kvm_debug_step(struct accel_vcpu *vcpu)
{
    return set_guest_debug(vcpu, 0);
}

int kvm_vcpu_inject_breakpoint(struct accel_vcpu *vcpu)
{
    int err = set_guest_debug(vcpu, KVM_GUESTDBG_INJECT_BP);
    return err ? err : set_guest_debug(vcpu, 0);
}

/* The slot of a breakpoint that DR6 tells of, or -1. */
static int find_slot(const struct accel_debug *debug, uint64_t dr6, bool step)
{
    for (int i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++) {
        enum accel_breakpoint_kind kind = debug->slot[i].kind;
        /* A step to an address that has a breakpoint is a step. */
        if (dr6 >> i & 1 && kind != ACCEL_BREAK_NONE && !(step && kind == ACCEL_BREAK_EXECUTE))
            return i;
    }
    return -1;
}

bool kvm_debug_exit(struct accel_vcpu *vcpu, struct accel_exit *exit)
{
    const struct kvm_debug_exit_arch *event = &vcpu->run->debug.arch;
    bool step = vcpu->debug.step && (event->dr6 & DR6_STEP);

    exit->kind = ACCEL_EXIT_DEBUG;
    exit->debug.rip = event->pc;
    exit->debug.slot = 0;
    if (event->exception == VECTOR_BREAKPOINT) {
        exit->debug.event = ACCEL_DEBUG_BREAKPOINT;
        return true;
    }
    int slot = event->exception == VECTOR_DEBUG ? find_slot(&vcpu->debug, event->dr6, step) : -1;
    if (slot >= 0) {
        exit->debug.event = ACCEL_DEBUG_HARDWARE;
        exit->debug.slot = (unsigned)slot;
        return true;
    }
    exit->debug.event = ACCEL_DEBUG_STEP;
    if (step)
        return true;
    /* The guest single-steps, or has executed INT1. */
    if (set_guest_debug(vcpu, KVM_GUESTDBG_INJECT_DB) == 0)
        set_guest_debug(vcpu, 0);
    return false;
}

int kvm_vcpu_get_xsave(struct accel_vcpu *vcpu, void *area, size_t size)
{
    struct kvm_xsave xsave;

    if (ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave) != 0)
        return -errno;
    size = size < sizeof xsave.region ? size : sizeof xsave.region;
    memcpy(area, xsave.region, size);
    return (int)size;
}

int kvm_vcpu_set_xsave(struct accel_vcpu *vcpu, const void *area, size_t size)
{
    struct kvm_xsave xsave;

    /* What lies beyond a short area stays as it is. */
    if (ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave) != 0)
        return -errno;
    memcpy(xsave.region, area, size < sizeof xsave.region ? size : sizeof xsave.region);
    return ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave) == 0 ? 0 : -errno;
}
