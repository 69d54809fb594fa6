#include "accel/direct/engine/queue.h"

#include "accel/direct/engine/exit.h"

/* The guest-virtual address of an element. */
static uint64_t address_of(unsigned number)
{
    return engine.area + DIRECT_AREA_STATES + offsetof(struct trampoline_state, writes) +
           number * sizeof(struct trampoline_write);
}

void queue_add(struct cpu *cpu, uint16_t port, uint32_t data, unsigned size)
{
    struct trampoline_state *state = queue_state(0);

    if (cpu->queued == TRAMPOLINE_WRITES)
        queue_flush(cpu);
    if (!cpu->queued)
        cpu->queue_deadline = rdtsc() + QUEUE_DELAY_US * (uint64_t)engine.header->tsc_khz / 1000;
    struct trampoline_write *write = &state->writes[cpu->queued++];
    write->data = data;
    write->port = port;
    write->size = (uint8_t)size;
}

/* The guest can write any address there: it only changes its own output. */
void queue_close(struct cpu *cpu)
{
    uint64_t next;

    if (!cpu->queue_opened)
        return;
    cpu->queue_opened = false;
    next = (__atomic_load_n(&cpu->trampoline->free_write, __ATOMIC_RELAXED) - address_of(0)) /
           sizeof(struct trampoline_write);
    cpu->queued = next < TRAMPOLINE_WRITES ? (unsigned)next : TRAMPOLINE_WRITES;
    cpu->trampoline->free_write = 0;
}

void queue_open(struct cpu *cpu)
{
    if (!cpu->trampoline || !cpu->queued || cpu->queued == TRAMPOLINE_WRITES)
        return;
    cpu->queue_opened = true;
    cpu->trampoline->free_write = address_of(cpu->queued);
}

void queue_flush(struct cpu *cpu)
{
    if (cpu->queued)
        exit_writes(cpu);
}
