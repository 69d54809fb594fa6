/*
 * Instructions that neither trap nor do at CPL 3 what they do at CPL 0 are replaced by a trap
 * before they run. They are found by a linear sweep; their places and first bytes are kept in the
 * site table of the control memory, where the engine looks them up when the trap comes.
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <string.h>

#include "accel/direct/direct.h"
#include "util/error.h"

static bool is_segment(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

static bool is_sensitive(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
    case ZYDIS_MNEMONIC_RDTSCP:
        return true;
    case ZYDIS_MNEMONIC_MOV:
        return is_segment(&operands[0]) || is_segment(&operands[1]);
    default:
        return false;
    }
}

/* Insert in order. Vcpus search the table meanwhile: it stays sorted and complete at every step. */
static bool add_site(struct accel_vm *vm, gpa_t gpa, uint8_t byte)
{
    uint64_t *sites = (uint64_t *)(void *)(vm->control + DIRECT_SITES);
    uint64_t site = gpa << 8 | byte;
    uint32_t count = vm->site_count, at = count;

    if (count >= DIRECT_SITES_MAX)
        return false;
    if (count && sites[count - 1] >= site) {
        __atomic_store_n(&sites[count], UINT64_MAX, __ATOMIC_RELAXED);
        __atomic_store_n(&vm->header->site_count, count + 1, __ATOMIC_RELEASE);
        for (; at > 0 && sites[at - 1] > site; at--)
            __atomic_store_n(&sites[at], sites[at - 1], __ATOMIC_RELEASE);
    }
    __atomic_store_n(&sites[at], site, __ATOMIC_RELEASE);
    __atomic_store_n(&vm->header->site_count, ++vm->site_count, __ATOMIC_RELEASE);
    return true;
}

static bool sweep(struct accel_vm *vm, gpa_t start, uint8_t *code, uint64_t size)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];

    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (uint64_t at = 0; at < size;) {
        if (!ZYAN_SUCCESS(
                ZydisDecoderDecodeFull(&decoder, code + at, size - at, &insn, operands))) {
            at++;
            continue;
        }
        if (is_sensitive(&insn, operands)) {
            if (!add_site(vm, start + at, code[at]))
                return false;
            __atomic_store_n(&code[at], DIRECT_TRAP, __ATOMIC_RELEASE);
        }
        at += insn.length;
    }
    return true;
}

int code_sweep(struct accel_vm *vm, gpa_t start, uint64_t size, enum direct_page_kind kind,
               struct uhyve_error *error)
{
    uint8_t *code = ram_at(vm->ram, start, size);
    if (!size)
        return 0;
    if (!code)
        return error_set(error, UHYVE_STATUS_FAILED, EFAULT, "code outside guest memory");
    pthread_mutex_lock(&vm->lock);
    bool done = sweep(vm, start, code, size);
    uint64_t first = (start - vm->ram->base) / DIRECT_PAGE;
    uint64_t last = (start + size - 1 - vm->ram->base) / DIRECT_PAGE;
    memset(vm->control + DIRECT_PAGE_KINDS + first, kind, last - first + 1);
    pthread_mutex_unlock(&vm->lock);
    if (done)
        return 0;
    return error_set(error, UHYVE_STATUS_FAILED, ENOSPC,
                     "the guest has more sensitive instructions than the accelerator 'direct' can "
                     "patch, which is %llu",
                     (unsigned long long)DIRECT_SITES_MAX);
}
