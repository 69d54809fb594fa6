#include "accel/direct/engine/wait.h"

#include <linux/futex.h>
#include <linux/time_types.h>

#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/syscalls.h"

/* How often a vCPU is looked at whether it waits for a lock, how near to its RIP the PAUSE of such
 * a loop is, and how long it then sleeps. */
#define SPIN_CHECK_US 300
#define SPIN_LOOP     16
#define SPIN_SLEEP_US 50

/* A vCPU that waits actively lets others have its host CPU now and then, microseconds apart. If
 * somebody has it for longer than this, it is not free to be waited on. */
#define PAUSES_TO_YIELD 64
#define OTHERS_US       10

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

static uint64_t microseconds(uint32_t count)
{
    return (uint64_t)count * engine.header->tsc_khz / 1000;
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

/* Sleep until an event after `sequence` was read, or until the TSC reaches `deadline` (0: no
 * limit). May return early. */
static void wait_for_event(struct cpu *cpu, uint32_t sequence, uint64_t deadline)
{
    struct __kernel_timespec timeout = time_until(deadline);
    sys_futex(&cpu->shared->sequence, FUTEX_WAIT, sequence, deadline ? &timeout : (void *)0);
}

/* False: it took too long, or somebody else wants the host CPU. */
static bool wait_actively(struct cpu *cpu, uint32_t sequence, uint64_t deadline)
{
    const uint32_t *current = &cpu->shared->sequence;
    uint64_t end = rdtsc() + cpu->halt_spin;
    bool others = false;

    if (!cpu->halt_spin || !attempts_due(&cpu->halt_attempts))
        return false;
    end = deadline && deadline < end ? deadline : end;
    for (unsigned i = 1; __atomic_load_n(current, __ATOMIC_SEQ_CST) == sequence && !others; i++) {
        uint64_t now = rdtsc();
        if (now >= end)
            return end == deadline;
        __asm__ volatile("pause");
        if (i % PAUSES_TO_YIELD == 0) {
            sys_sched_yield();
            others = rdtsc() - now > microseconds(OTHERS_US);
        }
    }
    /* Those who had the CPU in between may have been the ones waited for. */
    bool worked = __atomic_load_n(current, __ATOMIC_SEQ_CST) != sequence;
    if (worked)
        attempts_worked(&cpu->halt_attempts);
    else
        attempts_failed(&cpu->halt_attempts);
    return worked;
}

void wait_in_halt(struct cpu *cpu, uint32_t sequence, uint64_t deadline)
{
    uint64_t start = rdtsc(), most = engine.header->halt_spin;

    if (!wait_actively(cpu, sequence, deadline)) {
        wait_set_mode(cpu, DIRECT_MODE_HALTED);
        /* Also if there has been an event since: the sequence tells. */
        wait_for_event(cpu, sequence, deadline);
        wait_set_mode(cpu, DIRECT_MODE_ENGINE);
    }
    cpu->halt_spin = rdtsc() - start < most ? most : 0;
}

/* Is there a PAUSE instruction within some bytes of RIP? */
static bool is_spinning(struct cpu *cpu)
{
    uint8_t code[2 * SPIN_LOOP];
    unsigned size = mmu_fetch(cpu, cpu->state->rip - SPIN_LOOP, code, sizeof code);

    for (unsigned i = 1; i < size; i++)
        if (code[i - 1] == 0xf3 && code[i] == 0x90)
            return true;
    return false;
}

void wait_for_others(struct cpu *cpu)
{
    if (!engine.header->shares_cpus || !is_spinning(cpu))
        return;
    uint32_t sequence = __atomic_load_n(&cpu->shared->sequence, __ATOMIC_SEQ_CST);
    wait_for_event(cpu, sequence, rdtsc() + microseconds(SPIN_SLEEP_US));
}

void wait_arm_timer(struct cpu *cpu)
{
    uint64_t deadline = cpu->shared->apic.deadline;

    if (cpu->queued && (!deadline || cpu->queue_deadline < deadline))
        deadline = cpu->queue_deadline;
    if (engine.header->shares_cpus && !cpu->timer_armed) {
        uint64_t check = rdtsc() + microseconds(SPIN_CHECK_US);
        deadline = deadline && deadline < check ? deadline : check;
    }
    /* An earlier alarm may stay: it does no harm, and arming costs a system call. */
    if (!deadline || (cpu->timer_armed && cpu->timer_armed <= deadline))
        return;
    struct interval_timer timer = {.value = time_until(deadline)};
    sys_timer_settime(cpu->timer, &timer);
    cpu->timer_armed = deadline;
}
