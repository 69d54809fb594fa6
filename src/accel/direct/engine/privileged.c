#include "accel/direct/engine/privileged.h"

#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/interrupt.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/msr.h"
#include "accel/direct/engine/operand.h"
#include "accel/direct/engine/pci.h"
#include "accel/direct/engine/queue.h"
#include "accel/direct/engine/trap.h"

static bool pop(struct cpu *cpu, unsigned index, unsigned size, uint64_t *value)
{
    *value = 0;
    return mmu_read(cpu, cpu->state->gpr[X86_RSP] + index * size, value, size);
}

static void set_flags(struct cpu *cpu, uint64_t value, uint64_t writable)
{
    cpu->state->rflags = (cpu->state->rflags & ~writable) | (value & writable) | X86_RFLAGS_FIXED;
}

static enum result push_flags(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->operand16 ? 2 : 8;
    uint64_t value = cpu->state->rflags & ~(RFLAGS_RF | RFLAGS_VM);

    if (!mmu_write(cpu, cpu->state->gpr[X86_RSP] - size, &value, size))
        return RESULT_FAULT;
    cpu->state->gpr[X86_RSP] -= size;
    return RESULT_OK;
}

static enum result pop_flags(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->operand16 ? 2 : 8;
    uint64_t value;

    if (!pop(cpu, 0, size, &value))
        return RESULT_FAULT;
    cpu->state->gpr[X86_RSP] += size;
    set_flags(cpu, value, RFLAGS_WRITABLE & operand_mask(size));
    cpu->state->rflags &= ~RFLAGS_RF;
    cpu->flags_restored = cpu->state->rflags & X86_RFLAGS_IF;
    return RESULT_OK;
}

/* STI holds interrupts off for one more instruction if they were disabled. */
static void enable_interrupts(struct cpu *cpu, uint64_t next)
{
    if (!(cpu->state->rflags & X86_RFLAGS_IF))
        cpu->shadow_rip = next;
    cpu->state->rflags |= X86_RFLAGS_IF;
}

static enum result interrupt_return(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn_rex_w(insn) ? 8 : insn->operand16 ? 2 : 4;
    uint64_t frame[5]; /* RIP CS RFLAGS RSP SS */

    for (unsigned i = 0; i < 5; i++)
        if (!pop(cpu, i, size, &frame[i]))
            return RESULT_FAULT;
    if (!system_check_code(cpu, frame[1]))
        return RESULT_FAULT;
    if (!is_canonical(frame[0]))
        return general_protection(cpu);
    cpu->state->rip = frame[0];
    cpu->state->cs.selector = (uint16_t)frame[1];
    set_flags(cpu, frame[2], RFLAGS_WRITABLE & operand_mask(size));
    cpu->state->gpr[X86_RSP] = frame[3];
    cpu->state->ss.selector = (uint16_t)frame[4];
    cpu->in_nmi = false;
    cpu->flags_restored = cpu->state->rflags & X86_RFLAGS_IF;
    return RESULT_OK;
}

static enum result far_return(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn_rex_w(insn) ? 8 : insn->operand16 ? 2 : 4;
    uint64_t rip, selector;

    if (!pop(cpu, 0, size, &rip) || !pop(cpu, 1, size, &selector) ||
        !system_check_code(cpu, selector))
        return RESULT_FAULT;
    if (!is_canonical(rip))
        return general_protection(cpu);
    cpu->state->gpr[X86_RSP] += 2 * size;
    if (insn->opcode == 0xca)
        cpu->state->gpr[X86_RSP] += (uint16_t)insn->immediate;
    cpu->state->rip = rip;
    cpu->state->cs.selector = (uint16_t)selector;
    return RESULT_OK;
}

/* JMP and CALL through a far pointer in memory. */
static enum result far_transfer(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn_rex_w(insn) ? 8 : insn->operand16 ? 2 : 4;
    uint64_t gva = operand_address(cpu, insn), rip = 0, selector = 0;
    uint64_t frame[2] = {cpu->state->rip + insn->length, cpu->state->cs.selector};
    bool call = insn_extension(insn) == 3;

    if (!mmu_read(cpu, gva, &rip, size) || !mmu_read(cpu, gva + size, &selector, 2) ||
        !system_check_code(cpu, selector))
        return RESULT_FAULT;
    if (!is_canonical(rip))
        return general_protection(cpu);
    if (call) {
        uint64_t rsp = cpu->state->gpr[X86_RSP] - 2 * size;
        if (!mmu_write(cpu, rsp, &frame[0], size) || !mmu_write(cpu, rsp + size, &frame[1], size))
            return RESULT_FAULT;
        cpu->state->gpr[X86_RSP] = rsp;
    }
    cpu->state->rip = rip;
    cpu->state->cs.selector = (uint16_t)selector;
    return RESULT_OK;
}

/* INT n: RIP in the frame is behind the instruction. */
static enum result software_interrupt(struct cpu *cpu, const struct insn *insn)
{
    struct fault fault = {.vector = (uint8_t)insn->immediate};

    cpu->state->rip += insn->length;
    trap_deliver(cpu, &fault, INTERRUPT_SOFTWARE);
    return RESULT_OK;
}

static void access_port(struct cpu *cpu, uint16_t port, bool write, uint32_t *data, unsigned size)
{
    enum trampoline_port kind = queue_port_kind(port);

    if (kind == TRAMPOLINE_PORT_QUEUE && write && size != 2)
        queue_add(cpu, port, *data, size);
    else if (kind == TRAMPOLINE_PORT_IDLE && !write)
        *data = UINT32_MAX;
    else if (kind != TRAMPOLINE_PORT_IDLE &&
             !(kind == TRAMPOLINE_PORT_PCI && pci_answer(port, write, data, size)))
        exit_io(cpu, port, write, data, size);
}

static enum result port_io(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->opcode & 1 ? (insn->operand16 ? 2 : 4) : 1;
    bool write = insn->opcode & 2;
    uint16_t port = insn->opcode & 8 ? (uint16_t)cpu->state->gpr[X86_RDX]
                                     : (uint8_t)insn->immediate;
    uint32_t data = (uint32_t)operand_get_register(cpu, insn, X86_RAX, size);

    access_port(cpu, port, write, &data, size);
    if (!write)
        operand_set_register(cpu, insn, X86_RAX, size, data);
    cpu->state->rip += insn->length;
    return RESULT_OK;
}

/* INS and OUTS: one element at a time; RIP stays until the count is used up. */
static enum result string_io(struct cpu *cpu, const struct insn *insn)
{
    unsigned size = insn->opcode & 1 ? (insn->operand16 ? 2 : 4) : 1;
    bool write = insn->opcode & 2, repeats = insn->rep || insn->repne;
    uint64_t *gpr = cpu->state->gpr, mask = insn->address32 ? UINT32_MAX : UINT64_MAX;
    uint64_t *pointer = &gpr[write ? X86_RSI : X86_RDI];
    uint64_t gva = (*pointer & mask) + (write ? operand_segment_base(insn->segment) : 0);
    struct translation t;
    uint32_t data = 0;

    if (repeats && !(gpr[X86_RCX] & mask)) {
        cpu->state->rip += insn->length;
        return RESULT_OK;
    }
    if (write ? !mmu_read(cpu, gva, &data, size) : !mmu_translate(cpu, gva, ACCESS_WRITE, &t))
        return RESULT_FAULT;
    access_port(cpu, (uint16_t)gpr[X86_RDX], write, &data, size);
    if (!write && !mmu_write(cpu, gva, &data, size))
        return RESULT_FAULT;
    *pointer = (*pointer + (cpu->state->rflags & RFLAGS_DF ? -(uint64_t)size : size)) & mask;
    if (repeats)
        gpr[X86_RCX] = (gpr[X86_RCX] - 1) & mask;
    if (!repeats || !(gpr[X86_RCX] & mask))
        cpu->state->rip += insn->length;
    return RESULT_OK;
}

static enum result one_byte(struct cpu *cpu, const struct insn *insn)
{
    uint64_t next = cpu->state->rip + insn->length;
    enum result result = RESULT_OK;

    switch (insn->opcode) {
    case 0x6c:
    case 0x6d:
    case 0x6e:
    case 0x6f:
        return string_io(cpu, insn);
    case 0x9c:
        result = push_flags(cpu, insn);
        break;
    case 0x9d:
        result = pop_flags(cpu, insn);
        break;
    case 0xca:
    case 0xcb:
        return far_return(cpu, insn);
    case 0xcd:
        return software_interrupt(cpu, insn);
    case 0xcf:
        return interrupt_return(cpu, insn);
    case 0xe4:
    case 0xe5:
    case 0xe6:
    case 0xe7:
    case 0xec:
    case 0xed:
    case 0xee:
    case 0xef:
        return port_io(cpu, insn);
    case 0xf4:
        cpu->shared->halted = true;
        break;
    case 0xfa:
        cpu->state->rflags &= ~X86_RFLAGS_IF;
        break;
    case 0xfb:
        enable_interrupts(cpu, next);
        break;
    case 0xff:
        if (insn->memory && (insn_extension(insn) == 3 || insn_extension(insn) == 5))
            return far_transfer(cpu, insn);
        return RESULT_UNKNOWN;
    default:
        result = system_run(cpu, insn);
    }
    if (result == RESULT_OK)
        cpu->state->rip = next;
    return result;
}

static enum result read_msr(struct cpu *cpu)
{
    uint64_t value, *gpr = cpu->state->gpr;

    if (!msr_read(cpu, (uint32_t)gpr[X86_RCX], &value))
        return general_protection(cpu);
    gpr[X86_RAX] = (uint32_t)value;
    gpr[X86_RDX] = value >> 32;
    return RESULT_OK;
}

static enum result write_msr(struct cpu *cpu)
{
    const uint64_t *gpr = cpu->state->gpr;
    uint64_t value = gpr[X86_RDX] << 32 | (uint32_t)gpr[X86_RAX];

    return msr_write(cpu, (uint32_t)gpr[X86_RCX], value) ? RESULT_OK : general_protection(cpu);
}

static enum result two_byte(struct cpu *cpu, const struct insn *insn)
{
    enum result result = RESULT_OK;

    switch (insn->map == MAP_0F ? insn->opcode : 0) {
    case 0x05: /* SYSCALL */
    case 0x07: /* SYSRET */
        return undefined_opcode(cpu);
    case 0x08: /* INVD */
    case 0x09: /* WBINVD, WBNOINVD */
        break;
    case 0x30:
        result = write_msr(cpu);
        break;
    case 0x32:
        result = read_msr(cpu);
        break;
    case 0x33: /* RDPMC: no counters */
    case 0x34: /* SYSENTER: its selector register is zero */
    case 0x35:
        return general_protection(cpu);
    case 0xa2:
        cpuid_run(cpu);
        break;
    default:
        result = system_run(cpu, insn);
    }
    if (result == RESULT_OK)
        cpu->state->rip += insn->length;
    return result;
}

enum result privileged_run(struct cpu *cpu, const struct insn *insn)
{
    if (insn->vex)
        return RESULT_UNKNOWN;
    if (insn->map == MAP_ONE)
        return one_byte(cpu, insn);
    return two_byte(cpu, insn);
}
