#include "lib/apic.h"

#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"

#define CPUID_1_ECX_X2APIC       (1u << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)

#define MSR_APIC_BASE        0x1b
#define APIC_BASE_X2APIC     (1u << 10)
#define MSR_TSC_DEADLINE     0x6e0
#define MSR_X2APIC_ID        0x802
#define MSR_X2APIC_EOI       0x80b
#define MSR_X2APIC_SPURIOUS  0x80f
#define SPURIOUS_ENABLE      (1u << 8)
#define SPURIOUS_VECTOR      0x2f /* the last of trap.h */
#define MSR_X2APIC_COMMAND   0x830
#define MSR_X2APIC_LVT_TIMER 0x832
#define LVT_TIMER_DEADLINE   (2u << 17)

void apic_init(void)
{
    uint32_t features = cpu_id(1, 0).ecx;
    if ((features & CPUID_1_ECX_X2APIC) == 0 || (features & CPUID_1_ECX_TSC_DEADLINE) == 0) {
        print("guest: the CPU has no x2APIC with TSC deadline (CPUID 1 ECX %x)\n", features);
        guest_exit(1);
    }
    cpu_write_msr(MSR_APIC_BASE, cpu_read_msr(MSR_APIC_BASE) | APIC_BASE_X2APIC);
    cpu_write_msr(MSR_X2APIC_SPURIOUS, SPURIOUS_ENABLE | SPURIOUS_VECTOR);
}

uint32_t apic_id(void)
{
    return (uint32_t)cpu_read_msr(MSR_X2APIC_ID);
}

void apic_timer_at(unsigned vector, uint64_t tsc)
{
    cpu_write_msr(MSR_X2APIC_LVT_TIMER, LVT_TIMER_DEADLINE | vector);
    __asm__ volatile("mfence" : : : "memory"); /* orders the two writes, SDM section 11.5.4.1 */
    cpu_write_msr(MSR_TSC_DEADLINE, tsc);
}

void apic_send(uint32_t id, unsigned vector)
{
    cpu_write_msr(MSR_X2APIC_COMMAND, (uint64_t)id << 32 | vector);
}

void apic_end_of_interrupt(void)
{
    cpu_write_msr(MSR_X2APIC_EOI, 0);
}
