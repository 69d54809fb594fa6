#include "unit.h"

#include "patch_guest.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct patch_guest guest;

struct machine machine; /* entered and left by machine_run, which is assembler */
uint64_t machine_host_rsp;
void machine_run(void);
void machine_exit(void);

/* The host's flags are put back by machine_exit: DF and TF may be set. */
__asm__(".pushsection .text\n"
        ".globl machine_run\n"
        "machine_run:\n"
        "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; pushfq\n"
        "  mov %rsp, machine_host_rsp(%rip)\n"
        "  lea machine(%rip), %r15\n"
        "  mov 0(%r15), %rax; mov 8(%r15), %rbx; mov 16(%r15), %rcx; mov 24(%r15), %rdx\n"
        "  mov 32(%r15), %rsi; mov 40(%r15), %rdi; mov 48(%r15), %rbp; mov 64(%r15), %r8\n"
        "  mov 72(%r15), %r9; mov 80(%r15), %r10; mov 88(%r15), %r11; mov 96(%r15), %r12\n"
        "  mov 104(%r15), %r13; mov 112(%r15), %r14; pushq 128(%r15); mov 120(%r15), %r15\n"
        "  popfq\n"
        "  mov machine+56(%rip), %rsp\n"
        "  jmp *machine+136(%rip)\n"
        ".globl machine_exit\n"
        "machine_exit:\n"
        "  mov %rsp, machine+56(%rip)\n"
        "  mov machine_host_rsp(%rip), %rsp\n"
        "  pushfq\n"
        "  popq machine+128(%rip)\n"
        "  mov %r15, machine+120(%rip)\n"
        "  lea machine(%rip), %r15\n"
        "  mov %rax, 0(%r15); mov %rbx, 8(%r15); mov %rcx, 16(%r15); mov %rdx, 24(%r15)\n"
        "  mov %rsi, 32(%r15); mov %rdi, 40(%r15); mov %rbp, 48(%r15); mov %r8, 64(%r15)\n"
        "  mov %r9, 72(%r15); mov %r10, 80(%r15); mov %r11, 88(%r15); mov %r12, 96(%r15)\n"
        "  mov %r13, 104(%r15); mov %r14, 112(%r15)\n"
        "  popfq; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "  ret\n"
        ".popsection\n");

static bool in_code(uint64_t rip)
{
    return rip - (uint64_t)guest.code < CODE_SIZE;
}

bool guest_read(void *context, uint64_t address, uint64_t *value)
{
    memcpy(value, (const void *)address, sizeof *value);
    return true;
}

static struct machine guest_state(const greg_t *regs)
{
    return (struct machine){
        .rax = regs[REG_RAX],
        .rbx = regs[REG_RBX],
        .rcx = regs[REG_RCX],
        .rdx = regs[REG_RDX],
        .rsi = regs[REG_RSI],
        .rdi = regs[REG_RDI],
        .rbp = regs[REG_RBP],
        .rsp = regs[REG_RSP],
        .r8 = regs[REG_R8],
        .r9 = regs[REG_R9],
        .r10 = regs[REG_R10],
        .r11 = regs[REG_R11],
        .r12 = regs[REG_R12],
        .r13 = regs[REG_R13],
        .r14 = regs[REG_R14],
        .r15 = regs[REG_R15],
        .rflags = (uint64_t)regs[REG_EFL] & ~RF,
        .rip = regs[REG_RIP],
    };
}

/* Returns whether the guest's instruction has been executed. */
static bool settle(greg_t *regs)
{
    struct trampoline_registers registers = {regs[REG_RIP], regs[REG_RSP], regs[REG_RAX],
                                             regs[REG_RCX]};
    if (!trampoline_settle(guest.table, &registers, guest_read, NULL))
        guest.failed = true;
    regs[REG_RIP] = (greg_t)registers.rip;
    regs[REG_RSP] = (greg_t)registers.rsp;
    regs[REG_RAX] = (greg_t)registers.rax;
    regs[REG_RCX] = (greg_t)registers.rcx;
    return registers.completed;
}

static void take_interrupt(uint64_t rip)
{
    struct record *record = guest.record;
    if (!guest.state->interrupt_flag || !guest.state->pending)
        return;
    guest.state->pending = 0;
    if (record->interrupt_count < 4)
        record->interrupts[record->interrupt_count++] = rip - (uint64_t)guest.code;
}

/* What pushfq stores: the processor clears RF, which it sets when it reports a fault. */
static uint64_t pushed_flags(uint64_t rflags)
{
    return (rflags & ~(IF | RF)) | guest.state->interrupt_flag;
}

static void port_out(uint16_t port, uint32_t data, uint8_t size)
{
    struct record *record = guest.record;
    struct trampoline_state *state = guest.state;

    if (guest.ports[port] == TRAMPOLINE_PORT_QUEUE && state->free_write) {
        struct trampoline_write *write = (struct trampoline_write *)state->free_write;
        write->data = data;
        write->port = port;
        write->size = size;
        state->free_write = write->next;
    } else if (guest.ports[port] != TRAMPOLINE_PORT_IDLE && record->out_count < 4) {
        data &= size == 1 ? 0xff : UINT32_MAX;
        record->outs[record->out_count++] = data | (uint64_t)port << 32 | (uint64_t)size << 48;
    }
}

static uint64_t port_in(uint16_t port)
{
    return guest.ports[port] == TRAMPOLINE_PORT_IDLE ? UINT32_MAX : ANSWER;
}

/* The model: what the instruction does according to the manual. */
static bool emulate(greg_t *regs)
{
    uint8_t bytes[15];
    struct decode_insn insn;
    uint64_t *stack = (uint64_t *)regs[REG_RSP];
    memcpy(bytes, (const void *)regs[REG_RIP], sizeof bytes);
    patch_original(guest.table, (uint64_t)regs[REG_RIP], bytes, sizeof bytes);
    if (!decode(bytes, sizeof bytes, &insn))
        return false;
    switch (sweep_classify(&insn)) {
    case SWEEP_CLI:
        guest.state->interrupt_flag = 0;
        break;
    case SWEEP_STI:
        guest.state->interrupt_flag = IF;
        break;
    case SWEEP_PUSHF:
        stack[-1] = pushed_flags((uint64_t)regs[REG_EFL]);
        regs[REG_RSP] -= 8;
        break;
    case SWEEP_POPF:
        guest.state->interrupt_flag = stack[0] & IF;
        regs[REG_EFL] = (greg_t)((stack[0] & (ARITHMETIC | TF | 0x400)) | 0x202);
        regs[REG_RSP] += 8;
        break;
    case SWEEP_RDTSCP:
        regs[REG_RAX] = regs[REG_RDX] = 0;
        regs[REG_RCX] = guest.state->tsc_aux;
        break;
    case SWEEP_IN:
        if (insn.opcode & 1)
            regs[REG_RAX] = (greg_t)port_in((uint16_t)regs[REG_RDX]);
        else
            regs[REG_RAX] = (regs[REG_RAX] & ~0xffLL) |
                            (greg_t)(port_in((uint16_t)regs[REG_RDX]) & 0xff);
        break;
    case SWEEP_OUT:
        port_out((uint16_t)regs[REG_RDX], (uint32_t)regs[REG_RAX], insn.opcode & 1 ? 4 : 1);
        break;
    default:
        return false;
    }
    regs[REG_RIP] += insn.length;
    take_interrupt((uint64_t)regs[REG_RIP]);
    return true;
}

static void note_state(const greg_t *regs)
{
    if (guest.model && in_code((uint64_t)regs[REG_RIP]) && guest.seen_count < STATES_MAX)
        guest.seen[guest.seen_count++] = guest_state(regs);
}

/* A settled state must be one that the model went through. */
static void check_settled(const greg_t *regs)
{
    struct machine now = guest_state(regs);
    struct decode_insn insn;
    uint8_t bytes[15];
    memcpy(bytes, (const void *)now.rip, sizeof bytes);
    patch_original(guest.table, now.rip, bytes, sizeof bytes);
    bool popf = decode(bytes, sizeof bytes, &insn) && sweep_classify(&insn) == SWEEP_POPF;
    for (size_t i = 0; i < guest.seen_count; i++) {
        struct machine seen = guest.seen[i];
        if (popf) /* it will replace them all */
            seen.rflags = now.rflags;
        if (memcmp(&seen, &now, sizeof now) == 0)
            return;
    }
    guest.failed = true;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (guest.table && trampoline_contains(guest.table, (uint64_t)regs[REG_RIP])) {
        if (settle(regs))
            take_interrupt((uint64_t)regs[REG_RIP]);
        else if (!emulate(regs)) /* the sequence has faulted, or asks the engine */
            guest.failed = true;
        regs[REG_RIP] = (greg_t)patch_host_address(guest.table, (uint64_t)regs[REG_RIP]);
    } else if (in_code((uint64_t)regs[REG_RIP]) && emulate(regs)) {
        note_state(regs);
    } else {
        signal(number, SIG_DFL); /* a bug: let it crash */
    }
}

static void on_step(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)regs[REG_RIP];
    if (guest.table && trampoline_contains(guest.table, rip)) {
        if (guest.steps++ == guest.interrupt_at) {
            settle(regs);
            check_settled(regs);
            take_interrupt((uint64_t)regs[REG_RIP]);
            regs[REG_RIP] = (greg_t)patch_host_address(guest.table, (uint64_t)regs[REG_RIP]);
        }
    } else if (in_code(rip)) {
        note_state(regs);
    } else if (rip == (uint64_t)machine_exit) {
        regs[REG_EFL] &= ~(greg_t)TF;
    }
}

void guest_catch_traps(void)
{
    static uint8_t signal_stack[1 << 16];
    sigaltstack(&(stack_t){.ss_sp = signal_stack, .ss_size = sizeof signal_stack}, NULL);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    action.sa_sigaction = on_step;
    sigaction(SIGTRAP, &action, NULL);
}

int guest_set_up(void **state)
{
    size_t size = CODE_SIZE + AREA_SIZE + 0x1000 + 2 * STACK_SIZE + 0x2000 + TRAMPOLINE_PORTS;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    guest.code = memory;
    guest.area = memory + CODE_SIZE;
    guest.stack = guest.area + AREA_SIZE + 0x1000;
    assert_int_equal(mprotect(guest.area + AREA_SIZE, 0x1000, PROT_NONE), 0);
    guest.state = (struct trampoline_state *)(guest.stack + 2 * STACK_SIZE);
    guest.states = (uint64_t *)(guest.stack + 2 * STACK_SIZE + 0x1000);
    guest.ports = guest.stack + 2 * STACK_SIZE + 0x2000;
    guest.ports[PORT_IDLE] = TRAMPOLINE_PORT_IDLE;
    guest.ports[PORT_QUEUE] = TRAMPOLINE_PORT_QUEUE;
    return 0;
}

/* The guest code between an entry and the way out. */
void guest_load(const uint8_t *code, size_t size, enum trampoline_mode mode)
{
    static const uint8_t leave[] = {0xFF, 0x25, 0, 0, 0, 0};
    uint64_t exit = (uint64_t)machine_exit, base = (uint64_t)guest.code;
    memset(guest.code, 0x90, CODE_SIZE);
    memcpy(guest.code, code, size);
    memcpy(guest.code + size, leave, sizeof leave);
    memcpy(guest.code + size + sizeof leave, &exit, sizeof exit);
    struct plan_range range = {0, size + sizeof leave};
    struct plan_image image = {guest.code, CODE_SIZE, base, &range, 1, {NULL, 0}};
    struct plan_area area = {{mode, (uint64_t)guest.state, (uint64_t)guest.ports},
                             guest.area,
                             AREA_SIZE,
                             (uint64_t)guest.area};
    if (mode == TRAMPOLINE_SHARED)
        area.target.state = (uint64_t)guest.states;
    struct uhyve_error error;
    free(guest.table);
    assert_int_equal(plan_make(&image, &area, &guest.table, NULL, &error), 0);
    guest.model = mode == TRAMPOLINE_NONE;
}

void guest_run(const struct guest_start *start, struct record *record)
{
    memset(record, 0, sizeof *record);
    guest.record = record;
    guest.steps = 0;
    *guest.state = (struct trampoline_state){
        .interrupt_flag = start->interrupt_flag, .pending = start->pending, .tsc_aux = 0x1234567};
    trampoline_link_writes(guest.state, (uint64_t)guest.state);
    if (start->room)
        guest.state->free_write = (uint64_t)&guest.state->writes[TRAMPOLINE_WRITES - start->room];
    memset(guest.stack, 0xA5, 2 * STACK_SIZE);
    uint64_t *top = (uint64_t *)(guest.stack + (start->low_stack ? 64 : STACK_SIZE));
    for (size_t i = 0; i < 16; i++)
        top[i] = start->pushed;
    for (size_t i = 0; i < 16; i++)
        (&machine.rax)[i] = 0x1111111111111111U * i + (uint64_t)rand();
    machine.rsp = (uint64_t)top;
    machine.rflags = start->flags;
    machine.rip = (uint64_t)guest.code;
    machine_run();
    record->end = machine;
    record->interrupt_flag = guest.state->interrupt_flag;
    record->free_write = guest.state->free_write;
    memcpy(record->writes, guest.state->writes, sizeof record->writes);
    /* The red zone and what lies above. */
    memcpy(record->stack, top - (start->low_stack ? 8 : 16), STACK_SIZE);
}

void guest_select_vcpu(unsigned vcpu)
{
    __asm__ volatile("mov %0, %%es" : : "r"((uint32_t)trampoline_selector(vcpu)));
}
