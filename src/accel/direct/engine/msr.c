#include "accel/direct/engine/msr.h"

#include "accel/direct/engine/apic.h"
#include "accel/direct/engine/map.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"

/* Numbers from the Intel SDM volume 4 and the AMD APM volume 2, appendix A. */
enum {
    MSR_TSC = 0x10,
    MSR_APIC_BASE = 0x1b,
    MSR_MTRR_CAP = 0xfe,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_PAT = 0x277,
    MSR_MTRR_DEF_TYPE = 0x2ff,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_EFER = 0xc0000080,
    MSR_STAR = 0xc0000081,
    MSR_LSTAR = 0xc0000082,
    MSR_CSTAR = 0xc0000083,
    MSR_FMASK = 0xc0000084,
    MSR_FS_BASE = 0xc0000100,
    MSR_GS_BASE = 0xc0000101,
    MSR_KERNEL_GS_BASE = 0xc0000102,
    MSR_TSC_AUX = 0xc0000103,
};

#define EFER_SCE         UINT64_C(1)
#define PAT_RESET        UINT64_C(0x0007040600070406)
#define MISC_ENABLE_FAST 1

void msr_reset(struct cpu *cpu)
{
    cpu->shared->msrs = (struct direct_msrs){
        .pat = PAT_RESET,
        .misc_enable = MISC_ENABLE_FAST,
        .xcr0 = 1,
        .dr = {[6] = 0xffff0ff0, [7] = 0x400},
    };
}

/* Registers that are no more than storage here. */
static uint64_t *plain(struct cpu *cpu, uint32_t number)
{
    struct direct_msrs *msrs = &cpu->shared->msrs;

    switch (number) {
    case MSR_SYSENTER_CS:
        return &msrs->sysenter_cs;
    case MSR_SYSENTER_ESP:
        return &msrs->sysenter_esp;
    case MSR_SYSENTER_EIP:
        return &msrs->sysenter_eip;
    case MSR_MISC_ENABLE:
        return &msrs->misc_enable;
    case MSR_PAT:
        return &msrs->pat;
    case MSR_MTRR_DEF_TYPE:
        return &msrs->mtrr_def_type;
    case MSR_STAR:
        return &msrs->star;
    case MSR_LSTAR:
        return &msrs->lstar;
    case MSR_CSTAR:
        return &msrs->cstar;
    case MSR_FMASK:
        return &msrs->fmask;
    case MSR_KERNEL_GS_BASE:
        return &msrs->kernel_gs_base;
    case MSR_TSC_AUX:
        return &msrs->tsc_aux;
    default:
        return (void *)0;
    }
}

/* Registers whose value must be a canonical address. */
static bool holds_address(uint32_t number)
{
    return number == MSR_FS_BASE || number == MSR_GS_BASE || number == MSR_KERNEL_GS_BASE ||
           number == MSR_LSTAR || number == MSR_CSTAR || number == MSR_SYSENTER_ESP ||
           number == MSR_SYSENTER_EIP;
}

static bool is_x2apic_register(const struct cpu *cpu, uint32_t number)
{
    return number >= MSR_X2APIC_FIRST && number <= MSR_X2APIC_LAST &&
           (cpu->state->apic_base & APIC_BASE_X2APIC);
}

bool msr_read(struct cpu *cpu, uint32_t number, uint64_t *value)
{
    const uint64_t *storage = plain(cpu, number);

    if (storage) {
        *value = *storage;
        return true;
    }
    if (is_x2apic_register(cpu, number))
        return apic_read(cpu, number - MSR_X2APIC_FIRST, value);
    switch (number) {
    case MSR_TSC:
        *value = rdtsc();
        return true;
    case MSR_APIC_BASE:
        *value = cpu->state->apic_base;
        return true;
    case MSR_MTRR_CAP:
        *value = 0;
        return true;
    case MSR_TSC_DEADLINE:
        *value = apic_get_deadline(cpu);
        return true;
    case MSR_EFER:
        *value = cpu->state->efer;
        return true;
    case MSR_FS_BASE:
        *value = operand_segment_base(SEGMENT_FS);
        return true;
    case MSR_GS_BASE:
        *value = operand_segment_base(SEGMENT_GS);
        return true;
    default:
        return false;
    }
}

static bool write_apic_base(struct cpu *cpu, uint64_t value)
{
    uint64_t mode = value & (APIC_BASE_X2APIC | APIC_BASE_ENABLED);
    uint64_t allowed = APIC_BASE_BSP | APIC_BASE_X2APIC | APIC_BASE_ENABLED | PTE_FRAME;

    if ((value & ~allowed) || mode == APIC_BASE_X2APIC)
        return false;
    /* From x2APIC mode the way back to xAPIC leads through disabled. */
    if ((cpu->state->apic_base & APIC_BASE_X2APIC) && mode == APIC_BASE_ENABLED)
        return false;
    cpu->state->apic_base = value;
    return true;
}

static bool write_efer(struct cpu *cpu, uint64_t value)
{
    uint64_t changed = value ^ cpu->state->efer;

    if (changed & ~(EFER_SCE | X86_EFER_NXE))
        return false; /* leaving long mode is not possible here, and there are no other features */
    cpu->state->efer = value;
    if (changed & X86_EFER_NXE)
        map_flush_all();
    return true;
}

bool msr_write(struct cpu *cpu, uint32_t number, uint64_t value)
{
    uint64_t *storage = plain(cpu, number);

    if (holds_address(number) && !is_canonical(value))
        return false;
    if (storage) {
        *storage = value;
        return true;
    }
    if (is_x2apic_register(cpu, number))
        return apic_write(cpu, number - MSR_X2APIC_FIRST, value);
    switch (number) {
    case MSR_TSC:
        return true; /* the guest runs on the host's time stamp counter */
    case MSR_APIC_BASE:
        return write_apic_base(cpu, value);
    case MSR_TSC_DEADLINE:
        apic_set_deadline(cpu, value);
        return true;
    case MSR_EFER:
        return write_efer(cpu, value);
    case MSR_FS_BASE:
        operand_set_segment_base(SEGMENT_FS, value);
        return true;
    case MSR_GS_BASE:
        operand_set_segment_base(SEGMENT_GS, value);
        return true;
    default:
        return false;
    }
}
