/*
 * Samples for the profiler, from the VMM's side: the engine's thread fills a place in shared memory
 * on its way back to the guest (engine/sample.c), this end collects. What it finds there is copied
 * and checked: the engine's side is in the hands of the guest.
 */
#include "accel/direct/direct.h"

_Static_assert(DIRECT_SAMPLE_DEPTH == ACCEL_SAMPLE_DEPTH, "both ends have the same depth");

bool direct_vcpu_sample(struct accel_vcpu *vcpu, struct accel_sample *sample)
{
    struct direct_sample *from = &vcpu->shared->sample;
    bool ready = __atomic_exchange_n(&from->ready, 0, __ATOMIC_ACQUIRE);

    if (ready) {
        uint32_t depth = __atomic_load_n(&from->depth, __ATOMIC_RELAXED);
        sample->idle = false;
        sample->depth = depth < ACCEL_SAMPLE_DEPTH ? depth : ACCEL_SAMPLE_DEPTH;
        for (unsigned i = 0; i < sample->depth; i++)
            sample->stack[i] = __atomic_load_n(&from->stack[i], __ATOMIC_RELAXED);
    }
    if (__atomic_load_n(&vcpu->shared->mode, __ATOMIC_SEQ_CST) != DIRECT_MODE_HALTED) {
        vcpu_notify(vcpu->vm, vcpu->index, DIRECT_PENDING_SAMPLE);
    } else if (!ready) {
        /* It is known what a CPU that waits is doing: let it sleep. */
        *sample = (struct accel_sample){.idle = true};
        ready = true;
    }
    return ready;
}
