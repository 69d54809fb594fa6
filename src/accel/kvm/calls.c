/*
 * The requests to KVM from the creation of the vCPUs on, each beside what it is for. A request that
 * is added to the files of this folder needs a line here, unless it is made before that.
 */
#include <linux/kvm.h>

#include "accel/kvm/kvm.h"

/* One request, of any descriptor. */
#define REQUEST(name) SANDBOX_CALL(ioctl, SANDBOX_EQUAL(1, KVM_##name))

const struct sandbox_call kvm_calls[] = {
    REQUEST(RUN),

    REQUEST(CREATE_VCPU),
    REQUEST(CHECK_EXTENSION),
    REQUEST(SET_CPUID2),
    REQUEST(SET_MSRS),
    REQUEST(SET_MP_STATE),
    REQUEST(GET_TSC_KHZ),

    REQUEST(GET_REGS),
    REQUEST(SET_REGS),
    REQUEST(GET_SREGS),
    REQUEST(SET_SREGS),

    /* Devices. */
    REQUEST(SET_GSI_ROUTING), /* with the first line that is raised */
    REQUEST(IRQ_LINE),
    REQUEST(IOEVENTFD),

    /* Debuggers. */
    REQUEST(SET_GUEST_DEBUG),
    REQUEST(GET_XSAVE),
    REQUEST(SET_XSAVE),

    REQUEST(SET_USER_MEMORY_REGION), /* the firmware's area; the end */
    SANDBOX_END,
};

/* Other requests on a thread that only raises lines would be an attacker's. */
const struct sandbox_call kvm_line_calls[] = {
    REQUEST(IRQ_LINE),
    SANDBOX_END,
};
