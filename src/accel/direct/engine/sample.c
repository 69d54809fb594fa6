#include "accel/direct/engine/sample.h"

#include "accel/direct/engine/mmu.h"

/* Device memory has no pointer, so whatever the frame pointer is, looking has no effect. */
static bool read_word(struct cpu *cpu, uint64_t address, uint64_t *word)
{
    bool fault;
    const uint64_t *at = is_canonical(address) && address % sizeof *word == 0
                             ? mmu_pointer(cpu, address, sizeof *word, ACCESS_READ, &fault)
                             : (void *)0;
    if (at)
        *word = *(const volatile uint64_t *)at;
    return at;
}

void sample_take(struct cpu *cpu)
{
    struct direct_sample *sample = &cpu->shared->sample;
    uint64_t frame = cpu->state->gpr[X86_RBP];
    uint32_t depth = 0;

    sample->stack[depth++] = cpu->state->rip;
    while (depth < DIRECT_SAMPLE_DEPTH && frame) {
        uint64_t next, back;
        if (!read_word(cpu, frame, &next) || !read_word(cpu, frame + 8, &back) || !back)
            break;
        sample->stack[depth++] = back;
        if (next <= frame)
            break;
        frame = next;
    }
    sample->depth = depth;
    __atomic_store_n(&sample->ready, 1, __ATOMIC_RELEASE);
}
