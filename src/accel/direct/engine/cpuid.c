/*
 * CPUID: the host's leaves, without what the guest cannot have here and with the changes of
 * spec/boot.md section 5.1.
 */
#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/msr.h"
#include "accel/direct/engine/xstate.h"

#define LEAF_HYPERVISOR     0x40000000
#define LEAF_HYPERVISOR_MAX 0x40000010 /* frequencies */
#define LEAF_EXTENDED       0x80000000
#define LEAF_EXTENDED_MAX   0x80000008 /* nothing behind it matters to a guest */

#define BIT(n) (1u << (n))

/* Leaf 1: MONITOR, VMX, SMX, EST, TM2, performance counters, PCID, DCA. */
#define LEAF1_ECX_HIDDEN                                                                           \
    (BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(15) | BIT(17) | BIT(18) | BIT(27))
#define LEAF1_ECX_SET      (BIT(21) | BIT(24) | BIT(31)) /* x2APIC, TSC deadline, hypervisor */
#define LEAF1_ECX_OSXSAVE  BIT(27)
#define LEAF1_EDX_MSR_APIC (BIT(5) | BIT(9))
#define LEAF1_EDX_HIDDEN                                                                           \
    (BIT(7) | BIT(12) | BIT(14) | BIT(21) | BIT(22)) /* MCE MTRR MCA DS ACPI                       \
                                                      */
/* Leaf 7: SGX, SMAP, Intel PT, RTM and HLE stay as they are. */
#define LEAF7_EBX_FSGSBASE BIT(0)
#define LEAF7_EBX_HIDDEN   (BIT(1) | BIT(2) | BIT(20) | BIT(25)) /* TSC_ADJUST SGX SMAP PT */
/* UMIP, PKU, WAITPKG, CET-SS, LA57, RDPID, key locker, ENQCMD, SGX_LC, PKS */
#define LEAF7_ECX_HIDDEN                                                                           \
    (BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(16) | BIT(22) | BIT(23) | BIT(29) |          \
     BIT(30) | BIT(31))
/* UINTR, PCONFIG, LBR, CET-IBT, AMX, and the speculation controls, which are MSRs */
#define LEAF7_EDX_HIDDEN                                                                           \
    (BIT(5) | BIT(18) | BIT(19) | BIT(20) | BIT(22) | BIT(24) | BIT(25) | BIT(26) | BIT(27) |      \
     BIT(28) | BIT(29) | BIT(30) | BIT(31))
#define LEAF_D1_EAX_KEPT BIT(0) /* XSAVEOPT */
/* SVM, OSVW, IBS, SKINIT, watchdog, performance counters, MWAITX */
#define EXTENDED1_ECX_HIDDEN                                                                       \
    (BIT(2) | BIT(9) | BIT(10) | BIT(12) | BIT(13) | BIT(15) | BIT(23) | BIT(24) | BIT(27) |       \
     BIT(28) | BIT(29))
#define EXTENDED1_EDX_SYSCALL BIT(11)

#define CR4_OSXSAVE (UINT64_C(1) << 18)

struct leaf {
    uint32_t eax, ebx, ecx, edx;
};

/*
 * In a virtual machine CPUID itself leaves the machine, and kernels ask for the same leaves again
 * and again. What differs from CPU to CPU or from time to time in them is replaced anyway.
 */
static struct leaf host_leaf(struct cpu *cpu, uint32_t number, uint32_t index)
{
    struct cpuid_answer *answer = &cpu->cpuid[(number ^ number >> 28 ^ index << 2) % CPUID_ANSWERS];

    if (!answer->valid || answer->number != number || answer->index != index) {
        *answer = (struct cpuid_answer){.number = number, .index = index, .valid = true};
        __asm__ volatile("cpuid"
                         : "=a"(answer->eax), "=b"(answer->ebx), "=c"(answer->ecx),
                           "=d"(answer->edx)
                         : "a"(number), "c"(index));
    }
    return (struct leaf){answer->eax, answer->ebx, answer->ecx, answer->edx};
}

static struct leaf brand(uint32_t number)
{
    /* No frequency in it: Hermit would parse one and prefer it to a measurement. */
    static const char text[48] = "uhyve - unikernel hypervisor";
    struct leaf leaf;
    memory_copy(&leaf, text + 16 * (number - LEAF_EXTENDED - 2), sizeof leaf);
    return leaf;
}

static struct leaf hypervisor_leaf(uint32_t number)
{
    struct leaf leaf = {0};

    if (number == LEAF_HYPERVISOR) {
        leaf.eax = LEAF_HYPERVISOR_MAX;
        memory_copy(&leaf.ebx, "uhyvedirect", 12);
    } else if (number == LEAF_HYPERVISOR_MAX) {
        leaf.eax = engine.header->tsc_khz;
        leaf.ebx = 1000000; /* bus clock of the local APIC, kHz */
    }
    return leaf;
}

static void adapt_features(const struct cpu *cpu, struct leaf *leaf)
{
    leaf->ebx = (leaf->ebx & 0x00ffffff) | cpu->index << 24;
    leaf->ecx = (leaf->ecx & ~LEAF1_ECX_HIDDEN) | LEAF1_ECX_SET;
    if (cpu->state->cr4 & CR4_OSXSAVE)
        leaf->ecx |= LEAF1_ECX_OSXSAVE;
    leaf->edx = (leaf->edx & ~LEAF1_EDX_HIDDEN) | LEAF1_EDX_MSR_APIC;
}

static void adapt_leaf7(struct leaf *leaf)
{
    leaf->ebx &= ~LEAF7_EBX_HIDDEN;
    if (!engine.fsgsbase)
        leaf->ebx &= ~LEAF7_EBX_FSGSBASE;
    leaf->ecx &= ~LEAF7_ECX_HIDDEN;
    leaf->edx &= ~LEAF7_EDX_HIDDEN;
}

static void adapt_xsave(const struct cpu *cpu, uint32_t index, struct leaf *leaf)
{
    uint64_t allowed = xstate_allowed();

    if (index == 0)
        *leaf = (struct leaf){(uint32_t)allowed, xstate_size(cpu->shared->msrs.xcr0),
                              xstate_size(allowed), 0};
    else if (index == 1)
        *leaf = (struct leaf){.eax = leaf->eax & LEAF_D1_EAX_KEPT};
    else if (index >= 32 || !(allowed >> index & 1))
        *leaf = (struct leaf){0};
}

static struct leaf guest_leaf(struct cpu *cpu, uint32_t number, uint32_t index)
{
    struct leaf leaf;

    if (number >= LEAF_HYPERVISOR && number < LEAF_HYPERVISOR + 0x10000)
        return hypervisor_leaf(number);
    if (number >= LEAF_EXTENDED + 2 && number <= LEAF_EXTENDED + 4)
        return brand(number);
    leaf = host_leaf(cpu, number, index);
    switch (number) {
    case 0x1:
        adapt_features(cpu, &leaf);
        break;
    case 0x5: /* MONITOR */
    case 0x6: /* power */
    case 0xa: /* performance counters */
    case 0x12:
    case 0x14:
        leaf = (struct leaf){0};
        break;
    case 0x7:
        if (index == 0)
            adapt_leaf7(&leaf);
        else
            leaf.edx &= ~BIT(18); /* CET */
        break;
    case 0xb:
    case 0x1f:
        leaf.edx = cpu->index;
        break;
    case 0xd:
        adapt_xsave(cpu, index, &leaf);
        break;
    case LEAF_EXTENDED:
        leaf.eax = leaf.eax < LEAF_EXTENDED_MAX ? leaf.eax : LEAF_EXTENDED_MAX;
        break;
    case LEAF_EXTENDED + 1:
        leaf.ecx &= ~EXTENDED1_ECX_HIDDEN;
        leaf.edx &= ~EXTENDED1_EDX_SYSCALL;
        break;
    default:
        if (number > LEAF_EXTENDED_MAX)
            leaf = (struct leaf){0};
    }
    return leaf;
}

void cpuid_run(struct cpu *cpu)
{
    uint64_t *gpr = cpu->state->gpr;
    struct leaf leaf = guest_leaf(cpu, (uint32_t)gpr[X86_RAX], (uint32_t)gpr[X86_RCX]);

    gpr[X86_RAX] = leaf.eax;
    gpr[X86_RBX] = leaf.ebx;
    gpr[X86_RCX] = leaf.ecx;
    gpr[X86_RDX] = leaf.edx;
}
