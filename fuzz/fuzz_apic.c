/*
 * Fuzz target: the interrupt controllers of the accelerator 'direct': registers of the local APICs
 * of three vCPUs, in both modes, and of the I/O APIC, timers, and lines that the VMM moves. They
 * write to their own registers and nowhere else, no vector below 16 ever becomes pending, and what
 * is pending gets handled.
 *
 * Input: steps of 11 bytes: what to do and for which vCPU (1 byte), register (2), value (8).
 */
#include "accel/direct/engine/apic.c" /* they are the engine's, which is no part of the library */
#undef VERSION
#include "accel/direct/engine/ioapic.c"

#include "fuzz.h"
#include "input.h"

#define STEPS_MAX 400
#define CPUS      3
#define PAGE      4096

struct engine engine;

static struct direct_header *header;
static struct cpu cpus[CPUS];
static unsigned notified[CPUS];
static uint32_t level; /* of the lines, as the VMM has set them */

void wait_notify(struct direct_vcpu *target)
{
    size_t index = (size_t)((uint8_t *)target - engine.vcpus) / PAGE;

    require(index < CPUS && target == engine_vcpu((unsigned)index));
    notified[index]++;
}

static void set_up(void)
{
    header = calloc(1, sizeof *header);
    engine = (struct engine){.header = header, .vcpus = aligned_alloc(PAGE, (size_t)CPUS * PAGE)};
    require(header && engine.vcpus);
    memset(engine.vcpus, 0xa5, (size_t)CPUS * PAGE);
    header->cpu_count = CPUS;
    header->tsc_khz = 2000000;
    header->status = 0x5a5a5a5a;
    level = 0;
    ioapic_reset();
    for (unsigned i = 0; i < CPUS; i++) {
        struct direct_vcpu *shared = engine_vcpu(i);
        cpus[i] = (struct cpu){.shared = shared, .state = &shared->state, .index = i};
        shared->pending = 0;
        apic_reset(&cpus[i]);
    }
}

/* Everything but the APIC, its base and the pending events is as it was. */
static void check_vcpu(unsigned index)
{
    const struct direct_vcpu *shared = engine_vcpu(index);
    const uint8_t *bytes = (const uint8_t *)shared;
    const struct direct_apic *apic = &shared->apic;
    size_t apic_start = offsetof(struct direct_vcpu, apic),
           state = offsetof(struct direct_vcpu, state);

    for (size_t i = 0; i < offsetof(struct direct_vcpu, pending); i++)
        require(bytes[i] == 0xa5);
    for (size_t i = offsetof(struct direct_vcpu, sequence); i < apic_start; i++)
        require(bytes[i] == 0xa5);
    for (size_t i = state; i < state + offsetof(struct x86_state, apic_base); i++)
        require(bytes[i] == 0xa5);
    for (size_t i = offsetof(struct direct_vcpu, msrs); i < PAGE; i++)
        require(bytes[i] == 0xa5);
    require(!(apic->irr[0] & 0xffff) && !(apic->isr[0] & 0xffff));
    require(!(shared->pending & ~DIRECT_PENDING_NMI));
    require(apic->tpr <= 0xff && apic->svr <= 0x1ff);
    require(!apic->period || apic->period >= UINT64_C(40000));
}

static void check_ioapic(void)
{
    const struct direct_ioapic *ioapic = &header->ioapic;

    require(ioapic->level == level && ioapic->lock == 0 && ioapic->select <= 0xff);
    require(header->status == 0x5a5a5a5a && header->cpu_count == CPUS);
    for (unsigned i = 0; i < DIRECT_IOAPIC_LINES; i++) {
        uint64_t entry = ioapic->redirection[i];
        require(!(entry & ENTRY_READ_ONLY & ~ENTRY_REMOTE_IRR));
        require(!(entry & ENTRY_REMOTE_IRR) || entry & ENTRY_LEVEL);
        require(!(entry >> 17 & 0x7fff));
    }
}

static void handle_interrupts(struct cpu *cpu)
{
    struct direct_apic *apic = &cpu->shared->apic;
    int previous = 256;

    for (int vector; (vector = apic_pending(cpu)) >= 0; previous = vector) {
        require(vector >= 16 && vector < 256 && vector >> 4 > (int)apic->tpr >> 4);
        require(apic->irr[vector / 32] >> vector % 32 & 1);
        apic_accept(cpu, (unsigned)vector);
        require(!(apic->irr[vector / 32] >> vector % 32 & 1));
        require(apic->isr[vector / 32] >> vector % 32 & 1);
        require(apic_write(cpu, REG_EOI, 0));
        /* A level-triggered one whose line is still up comes again. */
        if (vector == previous)
            return;
    }
}

static void move_line(unsigned line, bool up)
{
    struct direct_ioapic *ioapic = &header->ioapic;
    uint32_t bit = 1u << line;

    if (up && !(level & bit))
        ioapic->rises |= bit;
    level = up ? level | bit : level & ~bit;
    ioapic->level = level;
    ioapic_lines_changed();
}

static void step(struct input *input)
{
    uint64_t what = take(input, 1), number = take(input, 2), value = take(input, 8), read;
    struct cpu *cpu = &cpus[what / 8 % CPUS];

    switch (what % 8) {
    case 0:
    case 1:
        if (apic_write(cpu, number % 0x50, value) && apic_read(cpu, number % 0x50, &read))
            require(read <= UINT32_MAX || number % 0x50 == REG_ICR);
        break;
    case 2:
        apic_write(cpu, (unsigned)number, value); /* any of the 65536 */
        apic_read(cpu, (unsigned)number, &read);
        break;
    case 3:
        ioapic_write(OFFSET_SELECT, (uint32_t)value);
        ioapic_write(OFFSET_WINDOW, (uint32_t)(value >> 32));
        ioapic_read(OFFSET_WINDOW);
        break;
    case 4:
        ioapic_write((uint32_t)number, (uint32_t)value);
        ioapic_read((uint32_t)number);
        break;
    case 5:
        move_line((unsigned)number % DIRECT_IOAPIC_LINES, value & 1);
        break;
    case 6:
        cpu->state->apic_base ^= value & 1 ? APIC_BASE_X2APIC : 0;
        apic_set_deadline(cpu, value);
        apic_poll_timer(cpu);
        break;
    case 7:
        handle_interrupts(cpu);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {bytes, size};

    set_up();
    for (unsigned i = 0; i < STEPS_MAX && input.size; i++) {
        step(&input);
        for (unsigned k = 0; k < CPUS; k++)
            check_vcpu(k);
        check_ioapic();
    }
    free(header);
    free(engine.vcpus);
    return 0;
}
