#include "accel/direct/engine/lift.h"

#include <linux/futex.h>

#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/map.h"
#include "accel/direct/engine/syscalls.h"
#include "accel/direct/engine/wait.h"
#include "accel/direct/engine/watch.h"

static void wait_at_gate(uint32_t *gate, uint32_t holder)
{
    sys_futex(gate, FUTEX_WAIT, holder, (void *)0);
}

static bool close_gate(struct cpu *cpu)
{
    uint32_t *gate = &engine.header->gate, holder = 0;

    return __atomic_compare_exchange_n(gate, &holder, cpu->index + 1, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static void open_gate(void)
{
    __atomic_store_n(&engine.header->gate, 0, __ATOMIC_SEQ_CST);
    sys_futex(&engine.header->gate, FUTEX_WAKE, INT32_MAX, (void *)0);
}

/* A vCPU announces that it enters the guest, then looks at the gate; here it is the other way
 * round. */
static void drive_out(unsigned index)
{
    struct direct_vcpu *other = engine_vcpu(index);

    while (__atomic_load_n(&other->mode, __ATOMIC_SEQ_CST) == DIRECT_MODE_GUEST) {
        sys_tgkill(engine.header->pid, other->tid, DIRECT_KICK_SIGNAL);
        sys_sched_yield();
    }
}

static void be_alone(struct cpu *cpu)
{
    if (cpu->lifted_count)
        return;
    while (!close_gate(cpu)) {
        uint32_t holder = __atomic_load_n(&engine.header->gate, __ATOMIC_SEQ_CST);
        if (holder)
            wait_at_gate(&engine.header->gate, holder);
    }
    for (unsigned i = 0; i < engine.header->cpu_count; i++)
        if (i != cpu->index)
            drive_out(i);
}

bool lift_wait(struct cpu *cpu)
{
    uint32_t holder = __atomic_load_n(&engine.header->gate, __ATOMIC_SEQ_CST);

    if (!holder || holder == cpu->index + 1)
        return false;
    wait_set_mode(cpu, DIRECT_MODE_ENGINE);
    wait_at_gate(&engine.header->gate, holder);
    return true;
}

static bool is_same(const struct lifted *a, const struct lifted *b)
{
    return a->is_byte == b->is_byte && a->page == b->page && a->gpa == b->gpa;
}

/* What another vCPU has put back meanwhile is there already. */
static void add(struct cpu *cpu, struct lifted lifted)
{
    unsigned i = 0;

    while (i < cpu->lifted_count && !is_same(&cpu->lifted[i], &lifted))
        i++;
    cpu->lifted[i] = lifted;
    if (i == cpu->lifted_count)
        cpu->lifted_count++;
    cpu->lifted_rip = cpu->state->rip;
    cpu->stepping = true;
}

static bool has_room(struct cpu *cpu)
{
    if (cpu->lifted_count < LIFTED_MAX)
        return true;
    exit_failed(cpu, "an instruction of the guest meets too many breakpoints at once");
    return false;
}

/* What of the watched bytes the instruction will touch, as far as that can be told. */
static uint32_t estimate(struct cpu *cpu, uint64_t gva, enum access access)
{
    uint8_t code[INSN_MAX];
    unsigned size = mmu_fetch(cpu, cpu->state->rip, code, sizeof code);
    uint32_t others = cpu->hits, hits;

    if (access == ACCESS_EXECUTE)
        return 0;
    cpu->hits = 0;
    watch_note(cpu, gva, watch_width(code, size), access == ACCESS_WRITE);
    hits = cpu->hits;
    cpu->hits = others;
    return hits;
}

void lift_page(struct cpu *cpu, uint64_t gva, enum access access)
{
    if (!has_room(cpu))
        return;
    be_alone(cpu);
    uint32_t hits = estimate(cpu, gva, access);
    /* If the guest has changed its page tables meanwhile, the instruction will fault again. */
    map_lift(cpu, gva, access);
    add(cpu, (struct lifted){.page = gva & ~UINT64_C(0xfff), .hits = hits});
}

static uint8_t *byte_at(uint64_t gpa)
{
    return ram_view(gpa, 1);
}

/* The VMM closes the gate as well to take a breakpoint away. It may have done so just before. */
void lift_byte(struct cpu *cpu, uint64_t gpa)
{
    uint8_t original;

    if (!has_room(cpu))
        return;
    be_alone(cpu);
    if (__atomic_load_n(byte_at(gpa), __ATOMIC_SEQ_CST) != DIRECT_TRAP ||
        !mmu_find_site(gpa, &original)) {
        if (!cpu->lifted_count)
            open_gate();
        return;
    }
    __atomic_store_n(byte_at(gpa), original, __ATOMIC_SEQ_CST);
    add(cpu, (struct lifted){.is_byte = true, .gpa = gpa});
}

void lift_end(struct cpu *cpu, bool completed)
{
    for (unsigned i = 0; i < cpu->lifted_count; i++) {
        const struct lifted *lifted = &cpu->lifted[i];
        if (lifted->is_byte)
            __atomic_store_n(byte_at(lifted->gpa), DIRECT_TRAP, __ATOMIC_SEQ_CST);
        else
            map_flush_page(lifted->page);
        if (completed)
            cpu->hits |= lifted->hits;
    }
    cpu->lifted_count = 0;
    open_gate();
}
