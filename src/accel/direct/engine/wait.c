#include "accel/direct/engine/wait.h"

#include <linux/futex.h>
#include <linux/time_types.h>

#include "accel/direct/engine/syscalls.h"

struct interval_timer {
    struct __kernel_timespec interval, value;
};

void wait_notify(struct direct_vcpu *target)
{
    __atomic_fetch_add(&target->sequence, 1, __ATOMIC_SEQ_CST);
    uint32_t mode = __atomic_load_n(&target->mode, __ATOMIC_SEQ_CST);
    if (mode == DIRECT_MODE_GUEST)
        sys_tgkill(engine.header->pid, target->tid, DIRECT_KICK_SIGNAL);
    else if (mode == DIRECT_MODE_HALTED)
        sys_futex(&target->sequence, FUTEX_WAKE, 1, (void *)0);
}

static struct __kernel_timespec time_until(uint64_t deadline)
{
    uint64_t now = rdtsc();
    uint64_t ticks = deadline > now ? deadline - now : 0, khz = engine.header->tsc_khz;
    /* Seconds first: the product with a million stays below 64 bits. One nanosecond more, so that
     * the deadline has passed when the time is over. */
    uint64_t seconds = ticks / (khz * 1000), rest = ticks % (khz * 1000);
    return (struct __kernel_timespec){(int64_t)seconds, (int64_t)(rest * 1000000 / khz + 1)};
}

void wait_for_event(struct cpu *cpu, uint32_t sequence, uint64_t deadline)
{
    struct __kernel_timespec timeout = time_until(deadline);
    sys_futex(&cpu->shared->sequence, FUTEX_WAIT, sequence, deadline ? &timeout : (void *)0);
}

void wait_arm_timer(struct cpu *cpu)
{
    uint64_t deadline = cpu->shared->apic.deadline;

    /* An earlier alarm may stay: it does no harm, and arming costs a system call. */
    if (!deadline || (cpu->timer_armed && cpu->timer_armed <= deadline))
        return;
    struct interval_timer timer = {.value = time_until(deadline)};
    sys_timer_settime(cpu->timer, &timer);
    cpu->timer_armed = deadline;
}
