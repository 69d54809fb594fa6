/*
 * What the CPUs say about themselves (spec/boot.md section 5.1), as key=value lines: once for the
 * machine, then the APIC IDs of every CPU.
 */
#include "lib/cpu.h"
#include "lib/print.h"
#include "lib/smp.h"
#include "lib/text.h"

static struct {
    uint32_t apic_id;   /* leaf 1, 8 bits */
    uint32_t x2apic_id; /* leaf 0xb; the same as apic_id if the leaf is missing */
} ids[SMP_MAX_CPUS];

static void collect_ids(uint32_t cpu)
{
    ids[cpu].apic_id = cpu_id(1, 0).ebx >> 24;
    ids[cpu].x2apic_id = cpu_id(0, 0).eax >= 0xb ? cpu_id(0xb, 0).edx : ids[cpu].apic_id;
}

static void print_brand(void)
{
    static uint32_t brand[13];
    for (uint32_t i = 0; i < 3; i++) {
        struct cpu_leaf leaf = cpu_id(0x80000002 + i, 0);
        memcpy(&brand[4 * i], &leaf, sizeof(leaf));
    }
    print("brand=%s\n", (const char *)brand);
}

int main(void)
{
    struct cpu_leaf basic = cpu_id(0, 0);
    uint32_t vendor[4] = {basic.ebx, basic.edx, basic.ecx, 0};
    print("vendor=%s\n", (const char *)vendor);
    print_brand();

    struct cpu_leaf features = cpu_id(1, 0);
    print("hypervisor=%u\n", features.ecx >> 31 & 1);
    print("tsc_deadline=%u\n", features.ecx >> 24 & 1);
    print("x2apic=%u\n", features.ecx >> 21 & 1);
    print("xsave=%u\n", features.ecx >> 26 & 1);
    print("msr=%u\n", features.edx >> 5 & 1);
    print("pmu_version=%u\n", basic.eax >= 0xa ? cpu_id(0xa, 0).eax & 0xff : 0);
    print("max_leaf=%x\n", basic.eax);
    print("max_extended_leaf=%x\n", cpu_id(0x80000000, 0).eax);

    smp_run(collect_ids);
    for (uint32_t cpu = 0; cpu < smp_cpu_count(); cpu++)
        print("cpu=%u apic_id=%u x2apic_id=%u\n", cpu, ids[cpu].apic_id, ids[cpu].x2apic_id);
    return 0;
}
