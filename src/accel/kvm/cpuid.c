/*
 * What CPUID tells the guest: the host's features as KVM supports them, with the changes of
 * spec/boot.md section 5.1.
 */
#include <string.h>

#include "accel/kvm/kvm.h"

#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_MSR          (1u << 5)

static void set_brand(struct kvm_cpuid_entry2 *entry, const char *sixteen_bytes)
{
    memcpy(&entry->eax, sixteen_bytes, 4);
    memcpy(&entry->ebx, sixteen_bytes + 4, 4);
    memcpy(&entry->ecx, sixteen_bytes + 8, 4);
    memcpy(&entry->edx, sixteen_bytes + 12, 4);
}

void kvm_cpuid_adapt(struct kvm_cpuid_table *cpuid, unsigned index, bool tsc_deadline)
{
    /* No frequency in it: Hermit would parse one and prefer it to a measurement. */
    static const char brand[48] = "uhyve - unikernel hypervisor";

    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];
        switch (entry->function) {
        case 0x1:
            entry->ecx |= LEAF1_ECX_HYPERVISOR | (tsc_deadline ? LEAF1_ECX_TSC_DEADLINE : 0);
            entry->edx |= LEAF1_EDX_MSR;
            /* Hermit takes the local APIC's id for the number of the CPU. */
            entry->ebx = (entry->ebx & 0x00ffffff) | index << 24;
            break;
        case 0xa:
            entry->eax = 0; /* no performance counters */
            break;
        case 0xb:
        case 0x1f:
            entry->edx = index; /* x2APIC id */
            break;
        case 0x8000001e:
            entry->eax = index; /* extended APIC id (AMD) */
            break;
        case 0x80000002:
        case 0x80000003:
        case 0x80000004:
            set_brand(entry, brand + 16 * (entry->function - 0x80000002));
            break;
        }
    }
}
