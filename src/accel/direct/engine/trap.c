/*
 * A trap, step by step: the guest's registers are copied from the signal frame to the vCPU's state,
 * the cause is dealt with, pending events are looked at, the registers are copied back. Everything
 * in between works on the state only.
 *
 * Two things are done with the trap flag: the guest's own single-stepping, and the "interrupt
 * shadow" of one instruction after STI and MOV SS. If an interrupt is pending there, the engine
 * lets the guest execute one instruction with TF set and delivers the interrupt after it. What a
 * trampoline would do in several instructions is emulated then.
 *
 * CR0.TS cannot be had at CPL 3: the guest's vector instructions do not trap. Kernels use it to
 * switch vector registers lazily, when the new task uses them first. Instead, #NM is delivered when
 * POPF or IRET enables interrupts while TS is set: that is the end of a switch to another task, and
 * what a task that used vector registers at once would cause. (STI does not count: kernels set TS
 * and enable interrupts with it while they start, long before they can handle #NM.)
 */
#include "accel/direct/engine/trap.h"

#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>

#include "accel/direct/engine/ahead.h"
#include "accel/direct/engine/apic.h"
#include "accel/direct/engine/debug.h"
#include "accel/direct/engine/emulate.h"
#include "accel/direct/engine/execute.h"
#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/ioapic.h"
#include "accel/direct/engine/lift.h"
#include "accel/direct/engine/map.h"
#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/mmu.h"
#include "accel/direct/engine/operand.h"
#include "accel/direct/engine/privileged.h"
#include "accel/direct/engine/queue.h"
#include "accel/direct/engine/sample.h"
#include "accel/direct/engine/settle.h"
#include "accel/direct/engine/start.h"
#include "accel/direct/engine/wait.h"

#define DR6_BS    (UINT64_C(1) << 14)
#define ERROR_IDT 2u /* #GP error code: the selector names an IDT entry */
/* How often the same access may fault again after it was mapped before it is emulated. */
#define RETRIES_MAX 4
/* Traps are dense if there is less time between two of them, their own included. */
#define DENSE_US 3

static void load_state(struct cpu *cpu, const struct sigcontext_64 *frame)
{
    struct x86_state *state = cpu->state;
    uint64_t *gpr = state->gpr;

    gpr[X86_RAX] = frame->ax;
    gpr[X86_RCX] = frame->cx;
    gpr[X86_RDX] = frame->dx;
    gpr[X86_RBX] = frame->bx;
    gpr[X86_RSP] = frame->sp;
    gpr[X86_RBP] = frame->bp;
    gpr[X86_RSI] = frame->si;
    gpr[X86_RDI] = frame->di;
    memory_copy(&gpr[X86_R8], &frame->r8, 64);
    state->rip = frame->ip;
    state->rflags = (state->rflags & ~RFLAGS_NATIVE) | (frame->flags & RFLAGS_NATIVE);
    cpu->fpu = (uint8_t *)frame->fpstate;
}

static void store_state(struct cpu *cpu, struct sigcontext_64 *frame)
{
    const struct x86_state *state = cpu->state;
    const uint64_t *gpr = state->gpr;

    frame->ax = gpr[X86_RAX];
    frame->cx = gpr[X86_RCX];
    frame->dx = gpr[X86_RDX];
    frame->bx = gpr[X86_RBX];
    frame->sp = gpr[X86_RSP];
    frame->bp = gpr[X86_RBP];
    frame->si = gpr[X86_RSI];
    frame->di = gpr[X86_RDI];
    memory_copy(&frame->r8, &gpr[X86_R8], 64);
    /* What cannot be delivered now must be when a trampoline enables interrupts: an interrupt, or
     * the switch of vector registers. */
    frame->ip = settle_leave(cpu, apic_pending(cpu) >= 0 || (state->cr0 & CR0_TS));
    frame->flags = (state->rflags & (RFLAGS_NATIVE | RFLAGS_TF)) | X86_RFLAGS_FIXED |
                   X86_RFLAGS_IF | (cpu->stepping ? RFLAGS_TF : 0);
}

void trap_deliver(struct cpu *cpu, const struct fault *fault, enum interrupt_source source)
{
    cpu->shared->halted = false;
    cpu->step_done = true;
    if (!interrupt_deliver(cpu, fault, source))
        exit_shutdown(cpu);
}

static void deliver_fault(struct cpu *cpu)
{
    struct fault fault = cpu->fault;
    cpu->hits = 0; /* the instruction has not been executed */
    trap_deliver(cpu, &fault, INTERRUPT_FAULT);
}

/* The guest single-steps: #DB after the instruction that has just been completed. */
static void deliver_step(struct cpu *cpu)
{
    const struct fault debug = {.vector = VECTOR_DB};
    cpu->shared->msrs.dr[6] |= DR6_BS;
    trap_deliver(cpu, &debug, INTERRUPT_TRAP);
}

static void finish(struct cpu *cpu, enum result result, bool single_step)
{
    if (result == RESULT_FAULT)
        deliver_fault(cpu);
    else if (result == RESULT_OK && single_step)
        deliver_step(cpu);
    cpu->emulated = result == RESULT_OK && !single_step;
    cpu->step_done = true;
}

static bool decode_here(struct cpu *cpu, struct insn *insn)
{
    uint8_t code[INSN_MAX];
    bool decoded;

    do
        decoded = insn_decode(code, mmu_fetch(cpu, cpu->state->rip, code, sizeof code), insn);
    while (decoded && engine.debugged && debug_is_stale(cpu, insn));
    return decoded;
}

/* A trap was put in place of an instruction that is not emulated: the guest's processor does not
 * have it. */
static bool is_missing(struct cpu *cpu)
{
    struct translation t;
    return mmu_translate(cpu, cpu->state->rip, ACCESS_EXECUTE, &t) && mmu_is_trap(t.gpa);
}

/* #GP (and #UD): privileged, accessing an address that is not mappable, or the guest's own. */
static void on_general_fault(struct cpu *cpu, const struct fault *fault)
{
    bool single_step = cpu->state->rflags & RFLAGS_TF;
    enum result result = RESULT_UNKNOWN;
    struct insn insn;

    if (engine.debugged && debug_stops_here(cpu))
        return;
    bool decoded = decode_here(cpu, &insn);
    if (decoded)
        result = privileged_run(cpu, &insn);
    if (result == RESULT_UNKNOWN && engine.debugged &&
        debug_passes(cpu, decoded ? &insn : (void *)0, &result)) {
        if (result == RESULT_UNKNOWN)
            return;
    } else if (result == RESULT_UNKNOWN) {
        cpu->fault = *fault;
        if (is_missing(cpu))
            undefined_opcode(cpu);
        result = RESULT_FAULT;
    }
    finish(cpu, result, single_step);
}

/* `watched`: the address could be mapped, if only for this instruction. */
static void emulate(struct cpu *cpu, uint64_t address, enum access access, bool watched)
{
    bool single_step = cpu->state->rflags & RFLAGS_TF;
    enum result result = RESULT_UNKNOWN;
    struct insn insn;

    if (watched && access == ACCESS_EXECUTE && debug_stops_here(cpu))
        return;
    if (decode_here(cpu, &insn)) {
        result = privileged_run(cpu, &insn);
        if (result == RESULT_UNKNOWN)
            result = emulate_access(cpu, &insn);
        if (result == RESULT_UNKNOWN)
            result = execute_run(cpu, &insn);
    }
    if (result == RESULT_UNKNOWN && watched) {
        lift_page(cpu, address, access);
        return;
    }
    if (result == RESULT_UNKNOWN) {
        cpu->shared->exit.gpa = address;
        exit_failed(cpu, "the guest accesses memory that is not directly reachable with an "
                         "instruction that the accelerator 'direct' cannot emulate");
    }
    finish(cpu, result, single_step);
}

static bool is_repeated(struct cpu *cpu, uint64_t address)
{
    if (cpu->retry_rip != cpu->state->rip || cpu->retry_address != address) {
        cpu->retry_rip = cpu->state->rip;
        cpu->retry_address = address;
        cpu->retries = 0;
    }
    return ++cpu->retries > RETRIES_MAX;
}

static void on_page_fault(struct cpu *cpu, uint64_t address, uint64_t error)
{
    enum access access = error & PF_FETCH   ? ACCESS_EXECUTE
                         : error & PF_WRITE ? ACCESS_WRITE
                                            : ACCESS_READ;

    enum map_result result = map_resolve(cpu, address, access);
    switch (result) {
    case MAP_FAULT:
        deliver_fault(cpu);
        return;
    case MAP_DONE:
        if (!is_repeated(cpu, address))
            return;
        cpu->retries = 0;
        break;
    default:
        break;
    }
    emulate(cpu, address, access, result == MAP_WATCHED);
}

static void on_debug(struct cpu *cpu)
{
    bool guest_steps = cpu->state->rflags & RFLAGS_TF;

    cpu->shadow_rip = 0;
    if (cpu->step_popped) /* the first step is the next instruction */
        return;
    cpu->step_done = true;
    if (cpu->stepping && !guest_steps) {
        cpu->stepping = false;
        return;
    }
    cpu->stepping = false;
    deliver_step(cpu);
}

/* Numbers of exceptions as in the processor, in the frame's trapno. */
static void on_exception(struct cpu *cpu, const struct sigcontext_64 *frame)
{
    struct fault fault = {.vector = (uint8_t)frame->trapno};

    switch (frame->trapno) {
    case VECTOR_DB:
        on_debug(cpu);
        return;
    case VECTOR_BP:
        if (engine.debugged && debug_breakpoint(cpu))
            return;
        trap_deliver(cpu, &fault, INTERRUPT_TRAP);
        return;
    case VECTOR_OF:
        trap_deliver(cpu, &fault, INTERRUPT_TRAP);
        return;
    case VECTOR_PF:
        on_page_fault(cpu, frame->cr2, frame->err);
        return;
    case VECTOR_UD:
        on_general_fault(cpu, &fault);
        return;
    case VECTOR_GP:
    case VECTOR_SS:
    case VECTOR_NP:
    case VECTOR_TS:
        /* The processor names the host's tables: of no meaning to the guest. */
        fault.has_error = true;
        on_general_fault(cpu, &fault);
        return;
    case VECTOR_AC:
        fault.has_error = true;
        break;
    default:
        break;
    }
    trap_deliver(cpu, &fault, INTERRUPT_FAULT);
}

/* SYSCALL or INT 80 in guest code: the filter stopped it behind the instruction. Neither exists
 * for the guest. */
static void on_system_call(struct cpu *cpu)
{
    const struct fault undefined = {.vector = VECTOR_UD};
    uint8_t code[2];

    if (mmu_fetch(cpu, cpu->state->rip - 2, code, 2) == 2 && code[0] == 0xcd) {
        struct fault interrupt = {.vector = code[1]};
        trap_deliver(cpu, &interrupt, INTERRUPT_SOFTWARE);
        return;
    }
    cpu->state->rip -= 2;
    trap_deliver(cpu, &undefined, INTERRUPT_FAULT);
}

static bool take_pending(struct cpu *cpu, uint32_t bit)
{
    uint32_t *pending = &cpu->shared->pending;

    if (!(__atomic_load_n(pending, __ATOMIC_SEQ_CST) & bit))
        return false;
    __atomic_fetch_and(pending, ~bit, __ATOMIC_SEQ_CST);
    return true;
}

static bool handle_pending(struct cpu *cpu, bool shadow)
{
    if (take_pending(cpu, DIRECT_PENDING_KICK)) {
        exit_interrupted(cpu);
        return true;
    }
    if (take_pending(cpu, DIRECT_PENDING_SAMPLE)) {
        sample_take(cpu);
        return true;
    }
    if (take_pending(cpu, DIRECT_PENDING_LINES)) {
        wait_set_mode(cpu, DIRECT_MODE_ENGINE); /* it needs no signal to itself */
        ioapic_lines_changed();
        return true;
    }
    if (!cpu->in_nmi && !shadow && !debug_steps(cpu) && take_pending(cpu, DIRECT_PENDING_NMI)) {
        cpu->in_nmi = true;
        trap_deliver(cpu, &(struct fault){.vector = VECTOR_NMI}, INTERRUPT_EXTERNAL);
        return true;
    }
    return false;
}

/* Deal with one pending event; false if there is none that can be dealt with now. */
static bool handle_event(struct cpu *cpu)
{
    struct x86_state *state = cpu->state;
    bool shadow = cpu->shadow_rip == state->rip && !cpu->shared->halted;

    if (__atomic_load_n(&cpu->shared->pending, __ATOMIC_SEQ_CST) && handle_pending(cpu, shadow))
        return true;
    if (queue_is_due(cpu)) {
        queue_flush(cpu);
        return true;
    }
    /* Also while interrupts are disabled: a timer that has run out must not be armed again and
     * again, each time to interrupt the guest before its next instruction. */
    apic_poll_timer(cpu);
    if (!(state->rflags & X86_RFLAGS_IF))
        return false;
    int vector = apic_pending(cpu);
    if (vector >= 0 && debug_steps(cpu)) {
        /* It is held back, but HLT ends. */
        bool halted = cpu->shared->halted;
        cpu->shared->halted = false;
        return halted;
    }
    if (vector >= 0 && shadow) {
        cpu->stepping = true;
        return false;
    }
    if (vector >= 0) {
        apic_accept(cpu, (unsigned)vector);
        trap_deliver(cpu, &(struct fault){.vector = (uint8_t)vector}, INTERRUPT_EXTERNAL);
        return true;
    }
    if (cpu->flags_restored && (state->cr0 & CR0_TS)) {
        cpu->flags_restored = false;
        trap_deliver(cpu, &(struct fault){.vector = VECTOR_NM}, INTERRUPT_FAULT);
        return true;
    }
    return false;
}

/* HLT: sleep until something happens. */
static void halt(struct cpu *cpu)
{
    queue_flush(cpu);
    wait_set_mode(cpu, DIRECT_MODE_ENGINE);
    uint32_t sequence = __atomic_load_n(&cpu->shared->sequence, __ATOMIC_SEQ_CST);
    if (handle_event(cpu))
        return;
    /* With interrupts disabled the timer cannot end the HLT. */
    wait_in_halt(cpu, sequence,
                 cpu->state->rflags & X86_RFLAGS_IF ? cpu->shared->apic.deadline : 0);
}

/* A single step that must not lead into a trampoline. */
static bool step_sequence(struct cpu *cpu)
{
    bool single_step = cpu->state->rflags & RFLAGS_TF;
    struct insn insn;

    if (!(cpu->stepping || single_step) || !settle_replaces(cpu) || !decode_here(cpu, &insn))
        return false;
    cpu->stepping = false;
    cpu->shadow_rip = 0;
    finish(cpu, privileged_run(cpu, &insn), single_step);
    return true;
}

static void prepare_return(struct cpu *cpu)
{
    for (;;) {
        wait_set_mode(cpu, DIRECT_MODE_GUEST);
        if (engine.debugged && debug_holds(cpu))
            continue;
        if (cpu->lifted_count)
            break;
        if (handle_event(cpu) || (!cpu->shared->halted && step_sequence(cpu))) {
            wait_set_mode(cpu, DIRECT_MODE_ENGINE);
            continue;
        }
        if (!cpu->shared->halted)
            break;
        halt(cpu);
    }
    cpu->flags_restored = false;
    cpu->stepping = cpu->stepping || debug_steps(cpu);
    wait_arm_timer(cpu);
}

static void on_kick(struct cpu *cpu)
{
    if (!cpu->timer_armed || rdtsc() < cpu->timer_armed)
        return;
    cpu->timer_armed = 0;
    wait_for_others(cpu);
}

/*
 * An exception inside a trampoline: of one of its own accesses, where the guest's stack is not
 * mapped, or of an instruction of the guest that was moved there. The first are emulated instead,
 * the latter are treated like anywhere else: RIP is at the instruction's own place.
 */
static void on_trampoline(struct cpu *cpu, const struct sigcontext_64 *frame, enum settled settled)
{
    bool single_step = (cpu->state->rflags & RFLAGS_TF) && !cpu->step_popped;
    struct insn insn;

    if (settled == SETTLED_BROKEN) {
        exit_failed(cpu, "the guest has jumped into code that the accelerator 'direct' generated");
        return;
    }
    if (frame->trapno == VECTOR_PF && decode_here(cpu, &insn)) {
        enum result result = privileged_run(cpu, &insn);
        if (result != RESULT_UNKNOWN) {
            finish(cpu, result, single_step);
            return;
        }
    }
    on_exception(cpu, frame);
}

/* Has a POPF in a trampoline set TF, of which the state does not know? */
static void note_trap_flag(struct cpu *cpu, const struct sigcontext_64 *frame)
{
    struct x86_state *state = cpu->state;

    cpu->step_popped = (frame->flags & RFLAGS_TF) && !cpu->stepping && !(state->rflags & RFLAGS_TF);
    if (cpu->step_popped)
        state->rflags |= RFLAGS_TF;
}

void trap_handle(int signal, struct siginfo *info, struct ucontext *context)
{
    struct cpu *cpu = start_this_cpu();
    struct sigcontext_64 *frame = (struct sigcontext_64 *)(void *)&context->uc_mcontext;
    uint64_t start = rdtsc();

    wait_set_mode(cpu, DIRECT_MODE_ENGINE);
    cpu->emulated = cpu->step_done = false;
    cpu->shared->traps++;
    if (!cpu->started) {
        cpu->started = true;
        cpu->fpu = (uint8_t *)frame->fpstate;
        exit_wait(cpu);
    } else {
        load_state(cpu, frame);
        enum settled settled = settle_enter(cpu);
        note_trap_flag(cpu, frame);
        if (cpu->lifted_count && signal == SIGTRAP && frame->trapno == VECTOR_DB)
            lift_end(cpu, true);
        if (signal == DIRECT_KICK_SIGNAL)
            on_kick(cpu);
        else if (settled == SETTLED_INSIDE || settled == SETTLED_BROKEN)
            on_trampoline(cpu, frame, settled);
        else if (settled == SETTLED_DONE && frame->trapno != VECTOR_DB)
            ; /* nothing but looking at what is pending, below */
        else if (signal == SIGSYS)
            on_system_call(cpu);
        else
            on_exception(cpu, frame);
        lift_review(cpu);
        if (cpu->emulated && !engine.debugged)
            ahead_run(cpu, start - cpu->left < DENSE_US * engine.header->tsc_khz / 1000);
    }
    prepare_return(cpu);
    store_state(cpu, frame);
    cpu->left = rdtsc();
}
