/*
 * Generated code, executed here and now. The same guest code runs twice: with every sensitive
 * instruction trapping into an emulation below, which is the model, and with trampolines. All
 * registers, flags, the stack and the interrupts taken must be the same, also if a trampoline is
 * interrupted after any of its instructions.
 */
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "accel/direct/patch/plan.h"

#define CODE_SIZE  0x1000
#define AREA_SIZE  0x4000
#define STACK_SIZE 0x1000
#define IF         UINT64_C(0x200)
#define TF         UINT64_C(0x100)
#define RF         UINT64_C(0x10000)
#define ARITHMETIC UINT64_C(0x8D5)
#define STATES_MAX 64

struct machine {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rflags, rip;
};

/* What one run of the guest did. */
struct record {
    struct machine end;
    uint64_t interrupts[4]; /* RIP at which they were taken */
    size_t interrupt_count;
    uint32_t interrupt_flag;
    uint8_t stack[STACK_SIZE];
};

static struct {
    uint8_t *code, *area;
    struct trampoline_state *state; /* of the vCPU that runs */
    uint64_t *states;
    uint8_t *stack;
    struct patch_table *table;
    struct record *record;
    struct machine seen[STATES_MAX]; /* guest states the model went through */
    size_t seen_count;
    long interrupt_at; /* trampoline instruction to interrupt at; -1: none */
    long steps;        /* trampoline instructions executed with TF set */
    bool model;
    bool failed;
} test;

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
    return rip - (uint64_t)test.code < CODE_SIZE;
}

static bool read_word(void *context, uint64_t address, uint64_t *value)
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

static void settle(greg_t *regs)
{
    struct trampoline_registers registers = {regs[REG_RIP], regs[REG_RSP], regs[REG_RAX],
                                             regs[REG_RCX]};
    if (!trampoline_settle(test.table, &registers, read_word, NULL))
        test.failed = true;
    regs[REG_RIP] = (greg_t)registers.rip;
    regs[REG_RSP] = (greg_t)registers.rsp;
    regs[REG_RAX] = (greg_t)registers.rax;
    regs[REG_RCX] = (greg_t)registers.rcx;
}

static void take_interrupt(uint64_t rip)
{
    struct record *record = test.record;
    if (!test.state->interrupt_flag || !test.state->pending)
        return;
    test.state->pending = 0;
    if (record->interrupt_count < 4)
        record->interrupts[record->interrupt_count++] = rip - (uint64_t)test.code;
}

/* What pushfq stores: the processor clears RF, which it sets when it reports a fault. */
static uint64_t pushed_flags(uint64_t rflags)
{
    return (rflags & ~(IF | RF)) | test.state->interrupt_flag;
}

/* The model: what the instruction does according to the manual. */
static bool emulate(greg_t *regs)
{
    uint8_t bytes[15];
    struct decode_insn insn;
    uint64_t *stack = (uint64_t *)regs[REG_RSP];
    memcpy(bytes, (const void *)regs[REG_RIP], sizeof bytes);
    patch_original(test.table, (uint64_t)regs[REG_RIP], bytes, sizeof bytes);
    if (!decode(bytes, sizeof bytes, &insn))
        return false;
    switch (sweep_classify(&insn)) {
    case SWEEP_CLI:
        test.state->interrupt_flag = 0;
        break;
    case SWEEP_STI:
        test.state->interrupt_flag = IF;
        break;
    case SWEEP_PUSHF:
        stack[-1] = pushed_flags((uint64_t)regs[REG_EFL]);
        regs[REG_RSP] -= 8;
        break;
    case SWEEP_POPF:
        test.state->interrupt_flag = stack[0] & IF;
        regs[REG_EFL] = (greg_t)((stack[0] & (ARITHMETIC | TF | 0x400)) | 0x202);
        regs[REG_RSP] += 8;
        break;
    case SWEEP_RDTSCP:
        regs[REG_RAX] = regs[REG_RDX] = 0;
        regs[REG_RCX] = test.state->tsc_aux;
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
    if (test.model && in_code((uint64_t)regs[REG_RIP]) && test.seen_count < STATES_MAX)
        test.seen[test.seen_count++] = guest_state(regs);
}

/* A settled state must be one that the model went through. */
static void check_settled(const greg_t *regs)
{
    struct machine now = guest_state(regs);
    struct decode_insn insn;
    uint8_t bytes[15];
    memcpy(bytes, (const void *)now.rip, sizeof bytes);
    patch_original(test.table, now.rip, bytes, sizeof bytes);
    bool popf = decode(bytes, sizeof bytes, &insn) && sweep_classify(&insn) == SWEEP_POPF;
    for (size_t i = 0; i < test.seen_count; i++) {
        struct machine seen = test.seen[i];
        if (popf) /* it will replace them all */
            seen.rflags = now.rflags;
        if (memcmp(&seen, &now, sizeof now) == 0)
            return;
    }
    test.failed = true;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (test.table && trampoline_contains(test.table, (uint64_t)regs[REG_RIP])) {
        settle(regs);
        take_interrupt((uint64_t)regs[REG_RIP]);
        regs[REG_RIP] = (greg_t)patch_host_address(test.table, (uint64_t)regs[REG_RIP]);
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
    if (test.table && trampoline_contains(test.table, rip)) {
        if (test.steps++ == test.interrupt_at) {
            settle(regs);
            check_settled(regs);
            take_interrupt((uint64_t)regs[REG_RIP]);
            regs[REG_RIP] = (greg_t)patch_host_address(test.table, (uint64_t)regs[REG_RIP]);
        }
    } else if (in_code(rip)) {
        note_state(regs);
    } else if (rip == (uint64_t)machine_exit) {
        regs[REG_EFL] &= ~(greg_t)TF;
    }
}

/* cmocka has its own handlers during a test. */
static void catch_traps(void)
{
    static uint8_t signal_stack[1 << 16];
    sigaltstack(&(stack_t){.ss_sp = signal_stack, .ss_size = sizeof signal_stack}, NULL);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
    action.sa_sigaction = on_step;
    sigaction(SIGTRAP, &action, NULL);
}

static int set_up(void **state)
{
    size_t size = CODE_SIZE + AREA_SIZE + 2 * STACK_SIZE + 0x2000;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(memory != MAP_FAILED);
    test.code = memory;
    test.area = memory + CODE_SIZE;
    test.stack = test.area + AREA_SIZE;
    test.state = (struct trampoline_state *)(test.stack + 2 * STACK_SIZE);
    test.states = (uint64_t *)(test.stack + 2 * STACK_SIZE + 0x1000);
    return 0;
}

/* The guest code between an entry and the way out. */
static void load(const uint8_t *code, size_t size, enum trampoline_mode mode)
{
    static const uint8_t leave[] = {0xFF, 0x25, 0, 0, 0, 0};
    uint64_t exit = (uint64_t)machine_exit, base = (uint64_t)test.code;
    memset(test.code, 0x90, CODE_SIZE);
    memcpy(test.code, code, size);
    memcpy(test.code + size, leave, sizeof leave);
    memcpy(test.code + size + sizeof leave, &exit, sizeof exit);
    struct plan_range range = {0, size + sizeof leave};
    struct plan_image image = {test.code, CODE_SIZE, base, &range, 1, {NULL, 0}};
    struct plan_area area = {
        {mode, (uint64_t)test.state}, test.area, AREA_SIZE, (uint64_t)test.area};
    if (mode == TRAMPOLINE_SHARED)
        area.target.state = (uint64_t)test.states;
    struct uhyve_error error;
    free(test.table);
    assert_int_equal(plan_make(&image, &area, &test.table, NULL, &error), 0);
    test.model = mode == TRAMPOLINE_NONE;
}

struct start {
    uint64_t flags, pushed; /* RFLAGS, and what lies on the stack */
    uint32_t interrupt_flag, pending;
};

static void run(const struct start *start, struct record *record)
{
    memset(record, 0, sizeof *record);
    test.record = record;
    test.steps = 0;
    *test.state = (struct trampoline_state){
        .interrupt_flag = start->interrupt_flag, .pending = start->pending, .tsc_aux = 0x1234567};
    memset(test.stack, 0xA5, 2 * STACK_SIZE);
    uint64_t *top = (uint64_t *)(test.stack + STACK_SIZE);
    for (size_t i = 0; i < 16; i++)
        top[i] = start->pushed;
    for (size_t i = 0; i < 16; i++)
        (&machine.rax)[i] = 0x1111111111111111U * i + (uint64_t)rand();
    machine.rsp = (uint64_t)top;
    machine.rflags = start->flags;
    machine.rip = (uint64_t)test.code;
    machine_run();
    record->end = machine;
    record->interrupt_flag = test.state->interrupt_flag;
    memcpy(record->stack, top - 16, STACK_SIZE); /* the red zone and what lies above */
}

static struct record expected, actual;

static void compare(bool time, size_t raised)
{
    assert_false(test.failed);
    if (time) { /* rdtscp was faked */
        actual.end.rax = expected.end.rax;
        actual.end.rdx = expected.end.rdx;
    }
    for (size_t i = 0; i < sizeof actual.end / sizeof(uint64_t); i++)
        assert_int_equal((&actual.end.rax)[i] & ~TF, (&expected.end.rax)[i] & ~TF);
    assert_int_equal(actual.interrupt_flag, expected.interrupt_flag);
    assert_int_equal(actual.interrupt_count, expected.interrupt_count);
    for (size_t i = 0; i < actual.interrupt_count; i++)
        assert_int_equal(actual.interrupts[i], expected.interrupts[i]);
    assert_memory_equal(actual.stack + raised, expected.stack + raised,
                        sizeof actual.stack - raised);
}

/* Each ends where the generated code jumps back, or behind. */
static const struct {
    const char *what;
    uint8_t code[32];
    size_t size;
    size_t trampolines;
    size_t raised; /* how far RSP is above its start at most, in bytes */
} pieces[] = {
    {"pushfq; pop; cli; mov", {0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0}, 8, 1},
    {"pushfq; pop; cli; load", {0x9C, 0x59, 0xFA, 0x48, 0x8B, 0x05, 0x40, 0, 0, 0}, 10, 1},
    {"pushfq; pop r11", {0x9C, 0x41, 0x5B, 0x48, 0x89, 0xC8}, 6, 1},
    {"test; je; sti", {0xA8, 1, 0x74, 1, 0xFB, 0x48, 0x31, 0xD2}, 8, 1},
    {"test r8b; je; sti", {0x41, 0xF6, 0xC0, 1, 0x74, 1, 0xFB, 0x90}, 8, 1},
    {"sti; inc; dec", {0xFB, 0x48, 0xFF, 0xC0, 0x48, 0xFF, 0xC9}, 7, 1},
    {"cli; add", {0xFA, 0x48, 0x83, 0xC0, 0x7F, 0x90}, 6, 1},
    {"cli; sti; pushfq; popfq", {0xFA, 0xFB, 0x9C, 0x9D, 0x90, 0x90}, 6, 1},
    {"popfq; mov", {0x9D, 0xB9, 5, 0, 0, 0}, 6, 1, 8},
    {"popfq; popfq; pushfq", {0x9D, 0x9D, 0x9C, 0x48, 0x89, 0xC8}, 6, 1, 16},
    {"rdtscp; mov", {0x0F, 0x01, 0xF9, 0x48, 0x89, 0xCE}, 6, 1},
    {"two pieces", {0x9C, 0x58, 0xFA, 0x89, 0xC2, 0xA8, 1, 0x74, 1, 0xFB, 0x90}, 11, 2},
};

static void run_all(enum trampoline_mode mode, bool step)
{
    catch_traps();
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        for (unsigned variant = 0; variant < (step ? 8 : 64); variant++) {
            uint64_t trap = step ? TF : 0;
            struct start start = {
                .flags = 0x202 | trap | ((uint64_t)rand() & ARITHMETIC),
                .pushed = 2 | trap | (variant & 1 ? IF : 0) | ((uint64_t)rand() & ARITHMETIC),
                .interrupt_flag = variant & 2 ? (uint32_t)IF : 0,
                .pending = variant & 4 ? (uint32_t)IF : 0,
            };
            bool time = strncmp(pieces[i].what, "rdtscp", 6) == 0;
            if (start.interrupt_flag) /* would have been taken before */
                start.pending = 0;
            if (time && step)
                continue; /* its states cannot be compared */
            unsigned seed = (unsigned)rand();
            test.seen_count = 0;
            test.interrupt_at = -1;
            load(pieces[i].code, pieces[i].size, TRAMPOLINE_NONE);
            srand(seed);
            run(&start, &expected);
            load(pieces[i].code, pieces[i].size, mode);
            size_t jumps = 0;
            for (size_t k = 0; k < test.table->count; k++)
                jumps += test.table->list[k].step_count > 0;
            assert_int_equal(jumps, pieces[i].trampolines);
            do {
                srand(seed);
                run(&start, &actual);
                compare(time, pieces[i].raised);
                test.interrupt_at++;
            } while (step && test.interrupt_at < test.steps);
            assert_true(!step || test.steps > 1);
        }
    }
}

static void one_vcpu_does_as_the_model(void **state)
{
    run_all(TRAMPOLINE_SINGLE, false);
}

static void one_vcpu_can_be_interrupted_anywhere(void **state)
{
    run_all(TRAMPOLINE_SINGLE, true);
}

static void select_vcpu(unsigned vcpu)
{
    __asm__ volatile("mov %0, %%es" : : "r"((uint32_t)trampoline_selector(vcpu)));
}

static void shared_code_does_as_the_model(void **state)
{
    for (unsigned vcpu = 0; vcpu < TRAMPOLINE_MAX_VCPUS; vcpu++) {
        memset(test.states, 0, TRAMPOLINE_SELECTORS * sizeof *test.states);
        test.states[trampoline_selector(vcpu)] = (uint64_t)test.state;
        select_vcpu(vcpu);
        run_all(TRAMPOLINE_SHARED, false);
    }
}

static void shared_code_can_be_interrupted_anywhere(void **state)
{
    run_all(TRAMPOLINE_SHARED, true);
}

static void selectors_differ(void **state)
{
    for (unsigned i = 0; i < TRAMPOLINE_MAX_VCPUS; i++) {
        assert_true(trampoline_selector(i) < TRAMPOLINE_SELECTORS);
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(trampoline_selector(i), trampoline_selector(k));
    }
}

static struct trampoline_state thread_states[TRAMPOLINE_MAX_VCPUS];
static bool stop;

/* Increments a counter per cli/sti pair; its own flag must follow what it does. */
static void *hammer(void *argument)
{
    struct trampoline_state *own = argument;
    select_vcpu((unsigned)(own - thread_states));
    uint64_t rounds = 0, wrong = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t flags;
        __asm__ volatile("call *%1" : "=a"(flags) : "r"(test.code) : "memory", "cc", "rdx");
        wrong += flags != (IF | (flags & ~IF));
        wrong += __atomic_load_n(&own->interrupt_flag, __ATOMIC_RELAXED) != 0;
        __asm__ volatile("call *%0" : : "r"(test.code + 64) : "memory", "cc", "rax");
        wrong += __atomic_load_n(&own->interrupt_flag, __ATOMIC_RELAXED) != IF;
        if (++rounds % 1024 == 0)
            sched_yield();
    }
    return (void *)(uintptr_t)(wrong ? 0 : rounds);
}

/* The kernel must keep ES across task switches and preemption for each thread. */
static void threads_have_their_own_flag(void **state)
{
    static const uint8_t lock[] = {0x9C, 0x58, 0xFA, 0xBA, 1, 0, 0, 0, 0xC3};
    static const uint8_t unlock[] = {0xB0, 1, 0xA8, 1, 0x74, 1, 0xFB, 0xC3};
    uint8_t code[128] = {0};
    memset(code, 0xCC, sizeof code);
    memcpy(code, lock, sizeof lock);
    memcpy(code + 64, unlock, sizeof unlock);
    memset(test.states, 0, TRAMPOLINE_SELECTORS * sizeof *test.states);
    for (unsigned i = 0; i < TRAMPOLINE_MAX_VCPUS; i++) {
        thread_states[i] = (struct trampoline_state){.interrupt_flag = IF};
        test.states[trampoline_selector(i)] = (uint64_t)&thread_states[i];
    }
    memcpy(test.code, code, sizeof code);
    struct plan_range range = {0, sizeof code};
    struct sweep_symbol symbols[] = {{(uint64_t)test.code, sizeof lock, true},
                                     {(uint64_t)test.code + 64, sizeof unlock, true}};
    struct plan_image image = {test.code, CODE_SIZE, (uint64_t)test.code, &range, 1, {symbols, 2}};
    struct plan_area area = {
        {TRAMPOLINE_SHARED, (uint64_t)test.states}, test.area, AREA_SIZE, (uint64_t)test.area};
    struct plan_report report;
    free(test.table);
    assert_int_equal(plan_make(&image, &area, &test.table, &report, NULL), 0);
    assert_int_equal(report.trampolines, 2);
    stop = false;
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &thread_states[i * 3]), 0);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 4; i++) {
        void *rounds;
        pthread_join(threads[i], &rounds);
        assert_non_null(rounds);
    }
}

static void settling_refuses_nonsense(void **state)
{
    load(pieces[0].code, pieces[0].size, TRAMPOLINE_SINGLE);
    const struct patch *patch = &test.table->list[0];
    struct trampoline_registers registers = {.rip = (uint64_t)test.code};
    assert_false(trampoline_settle(test.table, &registers, read_word, NULL));
    registers.rip = (uint64_t)test.area + patch->size;
    assert_false(trampoline_settle(test.table, &registers, read_word, NULL));
    registers.rip = (uint64_t)test.area + patch->size - 1; /* inside the jump back */
    assert_false(trampoline_settle(test.table, &registers, read_word, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_vcpu_does_as_the_model),
        cmocka_unit_test(one_vcpu_can_be_interrupted_anywhere),
        cmocka_unit_test(shared_code_does_as_the_model),
        cmocka_unit_test(shared_code_can_be_interrupted_anywhere),
        cmocka_unit_test(selectors_differ),
        cmocka_unit_test(threads_have_their_own_flag),
        cmocka_unit_test(settling_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
