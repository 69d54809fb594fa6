#include "accel/direct/engine/apic.h"

#include "accel/direct/engine/ioapic.h"
#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/wait.h"

/* Register numbers (table 11-6). */
enum {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_PPR = 0x0a,
    REG_EOI = 0x0b,
    REG_LDR = 0x0d,
    REG_DFR = 0x0e,
    REG_SVR = 0x0f,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_LVT_CMCI = 0x2f,
    REG_ICR = 0x30,
    REG_ICR_HIGH = 0x31,
    REG_LVT_TIMER = 0x32,
    REG_LVT_THERMAL = 0x33,
    REG_LVT_PERF = 0x34,
    REG_LVT_LINT0 = 0x35,
    REG_LVT_LINT1 = 0x36,
    REG_LVT_ERROR = 0x37,
    REG_TIMER_INITIAL = 0x38,
    REG_TIMER_CURRENT = 0x39,
    REG_TIMER_DIVIDE = 0x3e,
    REG_SELF_IPI = 0x3f,
};

#define VERSION          0x00050014 /* integrated, six LVT entries */
#define SVR_ENABLED      (1u << 8)
#define LVT_MASKED       (1u << 16)
#define LVT_WRITABLE     0x000107ffu
#define TIMER_MODE       (3u << 17)
#define TIMER_PERIODIC   (1u << 17)
#define TIMER_DEADLINE   (2u << 17)
#define BROADCAST_X2APIC UINT32_MAX
#define BROADCAST_XAPIC  0xff

/* The timer counts a bus clock of 1 GHz, as under KVM. */
#define BUS_KHZ       1000000
#define PERIOD_MIN_US 20

enum delivery {
    DELIVERY_FIXED = 0,
    DELIVERY_LOWEST = 1,
    DELIVERY_NMI = 4,
};

static bool is_x2apic(const struct cpu *cpu)
{
    return cpu->state->apic_base & APIC_BASE_X2APIC;
}

void apic_reset(struct cpu *cpu)
{
    struct direct_apic *apic = &cpu->shared->apic;

    memory_zero(apic, sizeof *apic);
    apic->svr = 0xff;
    apic->dfr = UINT32_MAX;
    apic->lvt_timer = apic->lvt_thermal = apic->lvt_perf = apic->lvt_lint0 = apic->lvt_lint1 =
        apic->lvt_error = apic->lvt_cmci = LVT_MASKED;
    cpu->state->apic_base = UINT64_C(0xfee00000) | APIC_BASE_ENABLED |
                            (cpu->index ? 0 : APIC_BASE_BSP);
}

static int highest(const uint32_t *bits)
{
    for (int word = 7; word >= 0; word--) {
        uint32_t value = __atomic_load_n(&bits[word], __ATOMIC_ACQUIRE);
        if (value)
            return 32 * word + 31 - __builtin_clz(value);
    }
    return -1;
}

static uint32_t processor_priority(const struct direct_apic *apic)
{
    int in_service = highest(apic->isr);
    uint32_t class = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
    return class > (apic->tpr & 0xf0) ? class : apic->tpr;
}

int apic_pending(const struct cpu *cpu)
{
    const struct direct_apic *apic = &cpu->shared->apic;
    int vector = highest(apic->irr);

    if (vector < 0 || !(apic->svr & SVR_ENABLED))
        return -1;
    return (uint32_t)vector >> 4 > processor_priority(apic) >> 4 ? vector : -1;
}

void apic_accept(struct cpu *cpu, unsigned vector)
{
    struct direct_apic *apic = &cpu->shared->apic;
    uint32_t bit = 1u << vector % 32;

    __atomic_fetch_and(&apic->irr[vector / 32], ~bit, __ATOMIC_ACQ_REL);
    apic->isr[vector / 32] |= bit;
}

static void end_of_interrupt(struct direct_apic *apic)
{
    int vector = highest(apic->isr);

    if (vector < 0)
        return;
    uint32_t bit = 1u << vector % 32;
    apic->isr[vector / 32] &= ~bit;
    if (__atomic_fetch_and(&apic->tmr[vector / 32], ~bit, __ATOMIC_ACQ_REL) & bit)
        ioapic_end_of_interrupt((uint8_t)vector);
}

void apic_post(unsigned index, uint8_t vector, bool level)
{
    struct direct_vcpu *target = engine_vcpu(index);
    uint32_t bit = 1u << vector % 32;

    if (vector < 16)
        return; /* illegal, and dropped by processors too */
    if (level)
        __atomic_fetch_or(&target->apic.tmr[vector / 32], bit, __ATOMIC_ACQ_REL);
    __atomic_fetch_or(&target->apic.irr[vector / 32], bit, __ATOMIC_SEQ_CST);
    wait_notify(target);
}

void apic_post_nmi(unsigned index)
{
    struct direct_vcpu *target = engine_vcpu(index);
    __atomic_fetch_or(&target->pending, DIRECT_PENDING_NMI, __ATOMIC_SEQ_CST);
    wait_notify(target);
}

/* Is vCPU `index` addressed? Logical addresses of an x2APIC name a cluster of 16 and a mask; those
 * of an xAPIC are compared with its LDR (flat model). */
static bool is_addressed(unsigned index, unsigned destination, bool logical)
{
    const struct direct_vcpu *target = engine_vcpu(index);
    bool x2apic = target->state.apic_base & APIC_BASE_X2APIC;

    if (destination == BROADCAST_X2APIC || (!x2apic && destination == BROADCAST_XAPIC))
        return true;
    if (!logical)
        return destination == index;
    if (x2apic)
        return destination >> 16 == index >> 4 && (destination >> (index & 15) & 1);
    return (target->apic.ldr >> 24 & destination) != 0;
}

static void deliver(unsigned index, unsigned mode, uint8_t vector, bool level)
{
    if (mode == DELIVERY_NMI)
        apic_post_nmi(index);
    else if (mode == DELIVERY_FIXED || mode == DELIVERY_LOWEST)
        apic_post(index, vector, level);
    /* INIT and SIPI have no effect: all vCPUs run from the start (spec/boot.md section 7). */
}

void apic_send(unsigned destination, bool logical, unsigned mode, uint8_t vector, bool level)
{
    for (unsigned i = 0; i < engine.header->cpu_count; i++) {
        if (!is_addressed(i, destination, logical))
            continue;
        deliver(i, mode, vector, level);
        if (mode == DELIVERY_LOWEST)
            return;
    }
}

static void send_command(struct cpu *cpu, uint32_t command, uint32_t destination)
{
    unsigned shorthand = command >> 18 & 3, mode = command >> 8 & 7;
    uint8_t vector = (uint8_t)command;

    if (shorthand == 0) {
        apic_send(is_x2apic(cpu) ? destination : destination >> 24, command >> 11 & 1, mode, vector,
                  false);
        return;
    }
    for (unsigned i = 0; i < engine.header->cpu_count; i++)
        if (shorthand == 1 ? i == cpu->index : shorthand == 2 || i != cpu->index)
            deliver(i, mode, vector, false);
}

static uint64_t to_tsc(const struct direct_apic *apic, uint64_t count)
{
    static const uint8_t shifts[8] = {1, 2, 3, 4, 5, 6, 7, 0};
    unsigned setting = (apic->timer_divide & 3) | (apic->timer_divide >> 1 & 4);
    return (count << shifts[setting]) * engine.header->tsc_khz / BUS_KHZ;
}

/* A guest that asks for more interrupts than it can handle would do nothing else. */
static uint64_t timer_period(const struct direct_apic *apic)
{
    uint64_t period = to_tsc(apic, apic->timer_initial);
    uint64_t least = (uint64_t)PERIOD_MIN_US * engine.header->tsc_khz / 1000;

    if ((apic->lvt_timer & TIMER_MODE) != TIMER_PERIODIC || !apic->timer_initial)
        return 0;
    return period > least ? period : least;
}

static void start_timer(struct direct_apic *apic)
{
    apic->deadline = apic->timer_initial ? rdtsc() + to_tsc(apic, apic->timer_initial) : 0;
    apic->period = timer_period(apic);
}

static uint32_t current_count(const struct direct_apic *apic)
{
    uint64_t now = rdtsc(), unit = to_tsc(apic, 1 << 10);

    if (!apic->deadline || apic->deadline <= now || !unit ||
        (apic->lvt_timer & TIMER_MODE) == TIMER_DEADLINE)
        return 0;
    return (uint32_t)(((apic->deadline - now) << 10) / unit);
}

uint64_t apic_get_deadline(const struct cpu *cpu)
{
    const struct direct_apic *apic = &cpu->shared->apic;
    return (apic->lvt_timer & TIMER_MODE) == TIMER_DEADLINE ? apic->deadline : 0;
}

void apic_set_deadline(struct cpu *cpu, uint64_t deadline)
{
    struct direct_apic *apic = &cpu->shared->apic;

    if ((apic->lvt_timer & TIMER_MODE) != TIMER_DEADLINE)
        return;
    apic->deadline = deadline;
    apic->period = 0;
}

void apic_poll_timer(struct cpu *cpu)
{
    struct direct_apic *apic = &cpu->shared->apic;

    if (!apic->deadline)
        return;
    uint64_t now = rdtsc();
    if (now < apic->deadline)
        return;
    /* Periods that were missed altogether are one interrupt, as on a processor that had interrupts
     * disabled for so long. */
    if (apic->period)
        apic->deadline += (1 + (now - apic->deadline) / apic->period) * apic->period;
    else
        apic->deadline = 0;
    uint8_t vector = (uint8_t)apic->lvt_timer;
    if (!(apic->lvt_timer & LVT_MASKED) && vector >= 16)
        __atomic_fetch_or(&apic->irr[vector / 32], 1u << vector % 32, __ATOMIC_SEQ_CST);
}

static uint32_t *lvt_register(struct direct_apic *apic, unsigned number)
{
    switch (number) {
    case REG_LVT_CMCI:
        return &apic->lvt_cmci;
    case REG_LVT_TIMER:
        return &apic->lvt_timer;
    case REG_LVT_THERMAL:
        return &apic->lvt_thermal;
    case REG_LVT_PERF:
        return &apic->lvt_perf;
    case REG_LVT_LINT0:
        return &apic->lvt_lint0;
    case REG_LVT_LINT1:
        return &apic->lvt_lint1;
    case REG_LVT_ERROR:
        return &apic->lvt_error;
    default:
        return (void *)0;
    }
}

bool apic_read(struct cpu *cpu, unsigned number, uint64_t *value)
{
    struct direct_apic *apic = &cpu->shared->apic;
    const uint32_t *lvt = lvt_register(apic, number);

    *value = 0;
    if (lvt)
        *value = *lvt;
    else if (number >= REG_ISR && number < REG_ISR + 8)
        *value = apic->isr[number - REG_ISR];
    else if (number >= REG_TMR && number < REG_TMR + 8)
        *value = apic->tmr[number - REG_TMR];
    else if (number >= REG_IRR && number < REG_IRR + 8)
        *value = apic->irr[number - REG_IRR];
    else
        switch (number) {
        case REG_ID:
            *value = is_x2apic(cpu) ? cpu->index : cpu->index << 24;
            break;
        case REG_VERSION:
            *value = VERSION;
            break;
        case REG_TPR:
            *value = apic->tpr;
            break;
        case REG_PPR:
            *value = processor_priority(apic);
            break;
        case REG_LDR:
            *value = is_x2apic(cpu) ? cpu->index >> 4 << 16 | 1u << (cpu->index & 15) : apic->ldr;
            break;
        case REG_DFR:
            *value = apic->dfr;
            return !is_x2apic(cpu);
        case REG_SVR:
            *value = apic->svr;
            break;
        case REG_ESR:
            *value = apic->esr;
            break;
        case REG_ICR:
            *value = apic->icr_low |
                     (is_x2apic(cpu) ? (uint64_t)apic->icr_high << 32 : UINT64_C(0));
            break;
        case REG_ICR_HIGH:
            *value = apic->icr_high;
            return !is_x2apic(cpu);
        case REG_TIMER_INITIAL:
            *value = apic->timer_initial;
            break;
        case REG_TIMER_CURRENT:
            *value = current_count(apic);
            break;
        case REG_TIMER_DIVIDE:
            *value = apic->timer_divide;
            break;
        default:
            return false;
        }
    return true;
}

static void write_lvt_timer(struct direct_apic *apic, uint32_t value)
{
    uint32_t old = apic->lvt_timer;

    apic->lvt_timer = value & (LVT_WRITABLE | TIMER_MODE);
    /* Changing between deadline and counting modes disarms the timer (section 11.5.4.1). */
    if ((old ^ apic->lvt_timer) & TIMER_DEADLINE) {
        apic->deadline = apic->period = 0;
        apic->timer_initial = 0;
    } else if ((old ^ apic->lvt_timer) & TIMER_PERIODIC) {
        apic->period = timer_period(apic);
    }
}

bool apic_write(struct cpu *cpu, unsigned number, uint64_t value)
{
    struct direct_apic *apic = &cpu->shared->apic;
    uint32_t low = (uint32_t)value;
    uint32_t *lvt = lvt_register(apic, number);

    switch (number) {
    case REG_TPR:
        apic->tpr = low & 0xff;
        return true;
    case REG_EOI:
        end_of_interrupt(apic);
        return true;
    case REG_LDR:
        apic->ldr = low & 0xff000000;
        return !is_x2apic(cpu);
    case REG_DFR:
        apic->dfr = low | 0x0fffffff;
        return !is_x2apic(cpu);
    case REG_SVR:
        apic->svr = low & 0x1ff;
        return true;
    case REG_ESR:
        apic->esr = 0;
        return !is_x2apic(cpu) || low == 0;
    case REG_ICR:
        apic->icr_low = low & ~(1u << 12);
        if (is_x2apic(cpu))
            apic->icr_high = (uint32_t)(value >> 32);
        send_command(cpu, apic->icr_low, apic->icr_high);
        return true;
    case REG_ICR_HIGH:
        apic->icr_high = low;
        return !is_x2apic(cpu);
    case REG_LVT_TIMER:
        write_lvt_timer(apic, low);
        return true;
    case REG_TIMER_INITIAL:
        if ((apic->lvt_timer & TIMER_MODE) != TIMER_DEADLINE) {
            apic->timer_initial = low;
            start_timer(apic);
        }
        return true;
    case REG_TIMER_DIVIDE:
        apic->timer_divide = low & 0xb;
        return true;
    case REG_SELF_IPI:
        apic_post(cpu->index, (uint8_t)low, false);
        return is_x2apic(cpu);
    default:
        if (lvt)
            *lvt = low & (LVT_WRITABLE | 0xa000);
        return lvt;
    }
}
