#include "lib/apic.h"

#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/paging.h"
#include "lib/print.h"

#define CPUID_1_ECX_X2APIC       (1u << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)

#define MSR_APIC_BASE      0x1b
#define APIC_BASE_X2APIC   (1u << 10)
#define MSR_TSC_DEADLINE   0x6e0
#define MSR_X2APIC         0x800
#define XAPIC_BASE         UINT64_C(0xfee00000)
#define SPURIOUS_ENABLE    (1u << 8)
#define SPURIOUS_VECTOR    0x2f /* the last of trap.h */
#define LVT_TIMER_DEADLINE (2u << 17)

/* Registers: in x2APIC mode an MSR each, else 16 bytes of memory each. */
enum {
    APIC_ID = 0x02,
    APIC_EOI = 0x0b,
    APIC_SPURIOUS = 0x0f,
    APIC_COMMAND = 0x30,
    APIC_LVT_TIMER = 0x32,
};

static volatile uint32_t *xapic; /* NULL in x2APIC mode */

static void write(unsigned number, uint64_t value)
{
    if (xapic != NULL)
        xapic[number * 4] = (uint32_t)value;
    else
        cpu_write_msr(MSR_X2APIC + number, value);
}

void apic_init(void)
{
    uint32_t features = cpu_id(1, 0).ecx;
    if ((features & CPUID_1_ECX_X2APIC) == 0 || (features & CPUID_1_ECX_TSC_DEADLINE) == 0) {
        print("guest: the CPU has no x2APIC with TSC deadline (CPUID 1 ECX %x)\n", features);
        guest_exit(1);
    }
    cpu_write_msr(MSR_APIC_BASE, cpu_read_msr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    write(APIC_SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
}

void apic_init_for_lines(void)
{
    if (cpu_id(1, 0).ecx & CPUID_1_ECX_X2APIC)
        cpu_write_msr(MSR_APIC_BASE, cpu_read_msr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    else
        xapic = paging_map(XAPIC_BASE);
    write(APIC_SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
}

uint32_t apic_id(void)
{
    return (uint32_t)cpu_read_msr(MSR_X2APIC + APIC_ID);
}

void apic_timer_at(unsigned vector, uint64_t tsc)
{
    write(APIC_LVT_TIMER, LVT_TIMER_DEADLINE | vector);
    __asm__ volatile("mfence" : : : "memory"); /* orders the two writes, SDM section 11.5.4.1 */
    cpu_write_msr(MSR_TSC_DEADLINE, tsc);
}

void apic_send(uint32_t id, unsigned vector)
{
    write(APIC_COMMAND, (uint64_t)id << 32 | vector);
}

void apic_end_of_interrupt(void)
{
    write(APIC_EOI, 0);
}
