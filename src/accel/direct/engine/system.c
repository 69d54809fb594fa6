#include "accel/direct/engine/apic.h"
#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/interrupt.h"
#include "accel/direct/engine/map.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"
#include "accel/direct/engine/privileged.h"
#include "accel/direct/engine/xstate.h"

#define CR0_WRITABLE UINT64_C(0xe005003f)
#define CR0_CD       (UINT64_C(1) << 30)
#define CR0_NW       (UINT64_C(1) << 29)
#define CR4_PCIDE    (UINT64_C(1) << 17)
#define CR4_LA57     (UINT64_C(1) << 12)
#define CR4_VMXE     (UINT64_C(1) << 13)
/* Changing one of these flushes the TLB (Intel SDM volume 3, section 4.10.4.1). */
#define CR4_FLUSHES (X86_CR4_PAE | UINT64_C(1) << 4 | UINT64_C(1) << 7 | CR4_SMEP)

#define SYSTEM_TSS_AVAILABLE 9
#define SYSTEM_TSS_BUSY      11
#define SYSTEM_LDT           2

bool system_check_code(struct cpu *cpu, uint64_t selector)
{
    uint64_t descriptor;

    if (!(selector & 0xfffc))
        return raise_fault(cpu, VECTOR_GP, 0);
    if (!interrupt_read_descriptor(cpu, (uint16_t)selector, &descriptor, 8))
        return false;
    /* S, executable, 64-bit. */
    if ((descriptor >> 43 & 3) != 3 || !(descriptor >> 53 & 1))
        return raise_fault(cpu, VECTOR_GP, selector & 0xfffc);
    if (selector & 3) {
        exit_failed(cpu,
                    "the guest enters user mode, which the accelerator 'direct' does not have");
        return raise_fault(cpu, VECTOR_GP, selector & 0xfffc);
    }
    if (!(descriptor >> 47 & 1))
        return raise_fault(cpu, VECTOR_NP, selector & 0xfffc);
    return true;
}

static struct x86_segment *segment_register(struct cpu *cpu, unsigned number)
{
    struct x86_state *state = cpu->state;
    struct x86_segment *const registers[6] = {&state->es, &state->cs, &state->ss,
                                              &state->ds, &state->fs, &state->gs};
    return number < 6 ? registers[number] : (void *)0;
}

/* Store a 16-bit value like a selector: to memory always 16 bits, to a register zero-extended. */
static enum result store_selector(struct cpu *cpu, const struct insn *insn, uint64_t value)
{
    if (!insn->memory) {
        operand_set_register(cpu, insn, insn->rm, insn->size, value);
        return RESULT_OK;
    }
    return mmu_write(cpu, operand_address(cpu, insn), &value, 2) ? RESULT_OK : RESULT_FAULT;
}

static enum result load_selector(struct cpu *cpu, const struct insn *insn, uint16_t *value)
{
    if (!insn->memory) {
        *value = (uint16_t)cpu->state->gpr[insn->rm];
        return RESULT_OK;
    }
    return mmu_read(cpu, operand_address(cpu, insn), value, 2) ? RESULT_OK : RESULT_FAULT;
}

/* Loading a data segment register. Bases matter only for FS and GS; a null selector leaves them, as
 * AMD processors do. */
static enum result set_segment(struct cpu *cpu, unsigned number, uint16_t selector)
{
    struct x86_segment *segment = segment_register(cpu, number);
    uint64_t descriptor;

    if (!segment || number == 1)
        return undefined_opcode(cpu);
    if (selector & 0xfffc) {
        if (!interrupt_read_descriptor(cpu, selector, &descriptor, 8))
            return RESULT_FAULT;
        if (!(descriptor >> 44 & 1))
            return fault_result(cpu, VECTOR_GP, true, selector & 0xfffc);
        if (!(descriptor >> 47 & 1))
            return fault_result(cpu, number == 2 ? VECTOR_SS : VECTOR_NP, true, selector & 0xfffc);
        uint64_t base = (descriptor >> 16 & 0xffffff) | (descriptor >> 32 & 0xff000000);
        segment->base = number >= 4 ? base : 0;
        segment->attributes = (uint16_t)((descriptor >> 40 & 0xff) | (descriptor >> 44 & 0xf00));
        if (number >= 4)
            operand_set_segment_base(number == 4 ? SEGMENT_FS : SEGMENT_GS, base);
    }
    segment->selector = selector;
    return RESULT_OK;
}

static enum result move_to_segment(struct cpu *cpu, const struct insn *insn)
{
    uint16_t selector;
    enum result result = load_selector(cpu, insn, &selector);

    if (result == RESULT_OK)
        result = set_segment(cpu, insn->reg & 7, selector);
    if (result == RESULT_OK && (insn->reg & 7) == 2)
        cpu->shadow_rip = cpu->state->rip + insn->length;
    return result;
}

/* PUSH and POP of FS and GS. */
static enum result stack_segment(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->operand16 ? 2 : 8, number = insn->opcode >= 0xa8 ? 5 : 4;
    uint64_t *rsp = &cpu->state->gpr[X86_RSP], value = segment_register(cpu, number)->selector;

    if (!(insn->opcode & 1)) {
        if (!mmu_write(cpu, *rsp - size, &value, size))
            return RESULT_FAULT;
        *rsp -= size;
        return RESULT_OK;
    }
    if (!mmu_read(cpu, *rsp, &value, size))
        return RESULT_FAULT;
    enum result result = set_segment(cpu, number, (uint16_t)value);
    if (result == RESULT_OK)
        *rsp += size;
    return result;
}

/* LSS, LFS and LGS: a pointer in memory, its selector last. */
static enum result load_far_pointer(struct cpu *cpu, const struct insn *insn)
{
    uint64_t gva = operand_address(cpu, insn), offset = 0;
    uint16_t selector;

    if (!insn->memory)
        return undefined_opcode(cpu);
    if (!mmu_read(cpu, gva, &offset, insn->size) ||
        !mmu_read(cpu, gva + insn->size, &selector, sizeof selector))
        return RESULT_FAULT;
    enum result result = set_segment(cpu, insn->opcode & 7, selector);
    if (result == RESULT_OK)
        operand_set_register(cpu, insn, insn->reg, insn->size, offset);
    return result;
}

/* LTR and LLDT: a system descriptor of 16 bytes. */
static enum result load_system_segment(struct cpu *cpu, const struct insn *insn, bool task)
{
    struct x86_segment *segment = task ? &cpu->state->tr : &cpu->state->ldt;
    uint64_t words[2];
    uint16_t selector;
    enum result result = load_selector(cpu, insn, &selector);

    if (result != RESULT_OK)
        return result;
    if (!(selector & 0xfffc)) {
        *segment = (struct x86_segment){.selector = selector};
        return task ? general_protection(cpu) : RESULT_OK;
    }
    if (!interrupt_read_descriptor(cpu, selector, words, sizeof words))
        return RESULT_FAULT;
    if ((words[0] >> 40 & 0x1f) != (task ? SYSTEM_TSS_AVAILABLE : SYSTEM_LDT))
        return fault_result(cpu, VECTOR_GP, true, selector & 0xfffc);
    if (!(words[0] >> 47 & 1))
        return fault_result(cpu, VECTOR_NP, true, selector & 0xfffc);
    if (task) {
        words[0] |= UINT64_C(SYSTEM_TSS_BUSY) << 40;
        if (!mmu_write(cpu, cpu->state->gdt.base + (selector & 0xfff8), words, 8))
            return RESULT_FAULT;
    }
    uint32_t limit = (words[0] & 0xffff) | (words[0] >> 32 & 0xf0000);
    *segment = (struct x86_segment){
        .base = (words[0] >> 16 & 0xffffff) | (words[0] >> 32 & 0xff000000) | words[1] << 32,
        .limit = words[0] >> 55 & 1 ? limit << 12 | 0xfff : limit,
        .selector = selector,
        .attributes = (uint16_t)((words[0] >> 40 & 0xff) | (words[0] >> 44 & 0xf00)),
    };
    return RESULT_OK;
}

static enum result store_table(struct cpu *cpu, const struct insn *insn, struct x86_table table)
{
    uint64_t gva = operand_address(cpu, insn);
    return mmu_write(cpu, gva, &table.limit, 2) && mmu_write(cpu, gva + 2, &table.base, 8)
               ? RESULT_OK
               : RESULT_FAULT;
}

static enum result load_table(struct cpu *cpu, const struct insn *insn, struct x86_table *table)
{
    uint64_t gva = operand_address(cpu, insn);
    struct x86_table value;

    if (!mmu_read(cpu, gva, &value.limit, 2) || !mmu_read(cpu, gva + 2, &value.base, 8))
        return RESULT_FAULT;
    if (!is_canonical(value.base))
        return general_protection(cpu);
    *table = value;
    return RESULT_OK;
}

static enum result set_cr0(struct cpu *cpu, uint64_t value)
{
    uint64_t old = cpu->state->cr0;

    if ((value >> 32) || ((value & X86_CR0_PG) && !(value & X86_CR0_PE)) ||
        ((value & CR0_NW) && !(value & CR0_CD)))
        return general_protection(cpu);
    if (!(value & X86_CR0_PG)) {
        exit_failed(cpu, "the guest leaves 64-bit mode, which the accelerator 'direct' cannot run");
        return general_protection(cpu);
    }
    cpu->state->cr0 = (value & CR0_WRITABLE) | X86_CR0_ET;
    if ((old ^ value) & X86_CR0_WP)
        map_flush_all();
    return RESULT_OK;
}

static enum result set_cr4(struct cpu *cpu, uint64_t value)
{
    uint64_t old = cpu->state->cr4;

    if (!(value & X86_CR4_PAE) || (value & (CR4_PCIDE | CR4_LA57 | CR4_VMXE)) || (value >> 23))
        return general_protection(cpu);
    cpu->state->cr4 = value;
    if ((old ^ value) & CR4_FLUSHES)
        map_flush_all();
    return RESULT_OK;
}

static enum result move_control(struct cpu *cpu, const struct insn *insn)
{
    struct x86_state *state = cpu->state;
    uint64_t *gpr = &state->gpr[insn->rm];
    bool write = insn->opcode == 0x22;

    switch (insn->reg) {
    case 0:
        if (write)
            return set_cr0(cpu, *gpr);
        *gpr = state->cr0;
        return RESULT_OK;
    case 2:
        *(write ? &state->cr2 : gpr) = *(write ? gpr : &state->cr2);
        return RESULT_OK;
    case 3:
        if (!write) {
            *gpr = state->cr3;
            return RESULT_OK;
        }
        if (*gpr & ~(PTE_FRAME | 0x18))
            return general_protection(cpu);
        state->cr3 = *gpr;
        map_flush_all();
        return RESULT_OK;
    case 4:
        if (write)
            return set_cr4(cpu, *gpr);
        *gpr = state->cr4;
        return RESULT_OK;
    case 8:
        if (!write)
            *gpr = cpu->shared->apic.tpr >> 4;
        else if (*gpr > 15)
            return general_protection(cpu);
        else
            cpu->shared->apic.tpr = (uint32_t)*gpr << 4;
        return RESULT_OK;
    default:
        return undefined_opcode(cpu);
    }
}

/* Debug registers are storage: breakpoints in them do not work. */
static enum result move_debug(struct cpu *cpu, const struct insn *insn)
{
    uint64_t *gpr = &cpu->state->gpr[insn->rm];
    unsigned number = insn->reg == 4 || insn->reg == 5 ? insn->reg + 2u : insn->reg;

    if (number > 7)
        return undefined_opcode(cpu);
    uint64_t *dr = &cpu->shared->msrs.dr[number];
    if (insn->opcode == 0x21)
        *gpr = *dr;
    else if (number >= 6 && *gpr >> 32)
        return general_protection(cpu);
    else
        *dr = number == 6   ? (*gpr & 0xe00f) | 0xffff0ff0
              : number == 7 ? (*gpr & 0xffff2fff) | 0x400
                            : *gpr;
    return RESULT_OK;
}

static enum result swap_gs(struct cpu *cpu)
{
    uint64_t base = operand_segment_base(SEGMENT_GS);
    operand_set_segment_base(SEGMENT_GS, cpu->shared->msrs.kernel_gs_base);
    cpu->shared->msrs.kernel_gs_base = base;
    return RESULT_OK;
}

/* 0F 01 with a register operand: the byte after the opcode tells the instruction. */
static enum result group7_register(struct cpu *cpu, const struct insn *insn)
{
    switch (insn->modrm) {
    case 0xca: /* CLAC */
        cpu->state->rflags &= ~RFLAGS_AC;
        return RESULT_OK;
    case 0xcb: /* STAC */
        cpu->state->rflags |= RFLAGS_AC;
        return RESULT_OK;
    case 0xd0:
        return xstate_get_register(cpu);
    case 0xd1:
        return xstate_set_register(cpu);
    case 0xf8:
        return swap_gs(cpu);
    case 0xf9: { /* RDTSCP */
        uint64_t now = rdtsc();
        cpu->state->gpr[X86_RAX] = (uint32_t)now;
        cpu->state->gpr[X86_RDX] = now >> 32;
        cpu->state->gpr[X86_RCX] = (uint32_t)cpu->shared->msrs.tsc_aux;
        return RESULT_OK;
    }
    default:
        return RESULT_UNKNOWN;
    }
}

static enum result group7(struct cpu *cpu, const struct insn *insn)
{
    unsigned kind = insn_extension(insn);
    uint16_t word;

    if (kind == 4) /* SMSW: to a register in full operand size */
        return store_selector(cpu, insn, cpu->state->cr0);
    if (kind == 6) {
        enum result result = load_selector(cpu, insn, &word);
        if (result != RESULT_OK)
            return result;
        /* LMSW changes the low four bits and cannot clear PE. */
        uint64_t cr0 = cpu->state->cr0;
        return set_cr0(cpu, (cr0 & ~UINT64_C(0xe)) | (word & 0xf) | (cr0 & X86_CR0_PE));
    }
    if (!insn->memory)
        return group7_register(cpu, insn);
    switch (kind) {
    case 0:
        return store_table(cpu, insn, cpu->state->gdt);
    case 1:
        return store_table(cpu, insn, cpu->state->idt);
    case 2:
        return load_table(cpu, insn, &cpu->state->gdt);
    case 3:
        return load_table(cpu, insn, &cpu->state->idt);
    case 7:
        map_flush_page(operand_address(cpu, insn));
        return RESULT_OK;
    default:
        return RESULT_UNKNOWN;
    }
}

static enum result group6(struct cpu *cpu, const struct insn *insn)
{
    switch (insn_extension(insn)) {
    case 0:
        return store_selector(cpu, insn, cpu->state->ldt.selector);
    case 1:
        return store_selector(cpu, insn, cpu->state->tr.selector);
    case 2:
        return load_system_segment(cpu, insn, false);
    case 3:
        return load_system_segment(cpu, insn, true);
    default:
        return descriptor_run(cpu, insn);
    }
}

/* 0F AE with a memory operand: XSAVE, XRSTOR, XSAVEOPT. */
static enum result group15(struct cpu *cpu, const struct insn *insn)
{
    unsigned kind = insn_extension(insn);

    if (!insn->memory || insn->prefix != PREFIX_NONE || kind < 4 || kind > 6)
        return RESULT_UNKNOWN;
    return kind == 5 ? xstate_restore(cpu, insn) : xstate_save(cpu, insn, kind == 6);
}

enum result system_run(struct cpu *cpu, const struct insn *insn)
{
    if (insn->map == MAP_ONE) {
        const struct x86_segment *segment;
        if (insn->opcode == 0x8e)
            return move_to_segment(cpu, insn);
        if (insn->opcode != 0x8c)
            return RESULT_UNKNOWN;
        segment = segment_register(cpu, insn->reg & 7);
        return segment ? store_selector(cpu, insn, segment->selector) : undefined_opcode(cpu);
    }
    if (insn->map == MAP_0F38) {
        /* INVPCID: without PCIDs every type is a flush. */
        if (insn->opcode != 0x82 || !insn->memory)
            return RESULT_UNKNOWN;
        map_flush_all();
        return RESULT_OK;
    }
    if (insn->map != MAP_0F)
        return RESULT_UNKNOWN;
    switch (insn->opcode) {
    case 0x00:
        return group6(cpu, insn);
    case 0x01:
        return group7(cpu, insn);
    case 0x06: /* CLTS */
        cpu->state->cr0 &= ~CR0_TS;
        return RESULT_OK;
    case 0x20:
    case 0x22:
        return move_control(cpu, insn);
    case 0x21:
    case 0x23:
        return move_debug(cpu, insn);
    case 0xa0:
    case 0xa1:
    case 0xa8:
    case 0xa9:
        return stack_segment(cpu, insn);
    case 0xae:
        return group15(cpu, insn);
    case 0xb2:
    case 0xb4:
    case 0xb5:
        return load_far_pointer(cpu, insn);
    default:
        return descriptor_run(cpu, insn);
    }
}
