/*
 * Generated code, executed here and now. The same guest code runs twice: with every sensitive
 * instruction trapping into an emulation below, which is the model, and with trampolines. All
 * registers, flags, the stack and the interrupts taken must be the same, also if a trampoline is
 * interrupted after any of its instructions.
 */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "patch_guest.h"

static struct record expected, actual;

static void compare(bool time, size_t raised)
{
    assert_false(guest.failed);
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
    assert_int_equal(actual.out_count, expected.out_count);
    assert_memory_equal(actual.outs, expected.outs, sizeof actual.outs);
    assert_int_equal(actual.free_write, expected.free_write);
    /* Beyond the end there may be a part of a write that was interrupted. */
    for (size_t i = 0; i < TRAMPOLINE_WRITES; i++)
        if (!actual.free_write || (uint64_t)&guest.state->writes[i] < actual.free_write)
            assert_memory_equal(&actual.writes[i], &expected.writes[i], sizeof actual.writes[i]);
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
    {"out %al, idle", {0x66, 0xBA, 0xF8, 0x0C, 0xEE, 0x90, 0x90}, 7, 1},
    {"out %al, waiting", {0x66, 0xBA, 0x00, 0x08, 0xEE, 0x90, 0x90}, 7, 1},
    {"out %eax, waiting, twice",
     {0x66, 0xBA, 0x00, 0x08, 0xEF, 0x89, 0xC8, 0xEF, 0x90, 0x90, 0x90},
     11,
     1},
    {"out %eax, engine", {0x66, 0xBA, 0x40, 0x05, 0xEF, 0x90, 0x90}, 7, 1},
    {"in %al, idle", {0x66, 0xBA, 0xF8, 0x0C, 0xEC, 0x90, 0x90}, 7, 1},
    {"in %eax, idle; cmp", {0xED, 0x3D, 0xFF, 0xFF, 0xFF, 0xFF, 0x90}, 7, 1},
    {"in %eax, engine; cli", {0x66, 0xBA, 0x40, 0x05, 0xED, 0xFA, 0x90}, 7, 1},
    {"two pieces", {0x9C, 0x58, 0xFA, 0x89, 0xC2, 0xA8, 1, 0x74, 1, 0xFB, 0x90}, 11, 2},
};

static void run_all(enum trampoline_mode mode, bool step, bool low_stack)
{
    guest_catch_traps();
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        for (unsigned variant = 0; variant < (step ? 8 : 64); variant++) {
            uint64_t trap = step ? TF : 0;
            struct guest_start start = {
                .low_stack = low_stack,
                .flags = 0x202 | trap | ((uint64_t)rand() & ARITHMETIC),
                .pushed = 2 | trap | (variant & 1 ? IF : 0) | ((uint64_t)rand() & ARITHMETIC),
                .interrupt_flag = variant & 2 ? (uint32_t)IF : 0,
                .pending = variant & 4 ? (uint32_t)IF : 0,
                .room = mode == TRAMPOLINE_SHARED ? 0 : variant % 3,
            };
            bool time = strncmp(pieces[i].what, "rdtscp", 6) == 0;
            if (start.interrupt_flag) /* would have been taken before */
                start.pending = 0;
            if (time && step)
                continue; /* its states cannot be compared */
            unsigned seed = (unsigned)rand();
            guest.seen_count = 0;
            guest.interrupt_at = -1;
            guest_load(pieces[i].code, pieces[i].size, TRAMPOLINE_NONE);
            srand(seed);
            guest_run(&start, &expected);
            guest_load(pieces[i].code, pieces[i].size, mode);
            size_t jumps = 0;
            for (size_t k = 0; k < guest.table->count; k++)
                jumps += guest.table->list[k].step_count > 0;
            assert_int_equal(jumps, pieces[i].trampolines);
            do {
                srand(seed);
                guest_run(&start, &actual);
                compare(time, pieces[i].raised);
                guest.interrupt_at++;
            } while (step && guest.interrupt_at < guest.steps);
            assert_true(!step || guest.steps > 1);
        }
    }
}

static void one_vcpu_does_as_the_model(void **state)
{
    run_all(TRAMPOLINE_SINGLE, false, false);
}

static void one_vcpu_can_be_interrupted_anywhere(void **state)
{
    run_all(TRAMPOLINE_SINGLE, true, false);
}

static void shared_code_does_as_the_model(void **state)
{
    for (unsigned vcpu = 0; vcpu < TRAMPOLINE_MAX_VCPUS; vcpu++) {
        memset(guest.states, 0, TRAMPOLINE_SELECTORS * sizeof *guest.states);
        guest.states[trampoline_selector(vcpu)] = (uint64_t)guest.state;
        guest_select_vcpu(vcpu);
        run_all(TRAMPOLINE_SHARED, false, false);
    }
}

static void shared_code_can_be_interrupted_anywhere(void **state)
{
    run_all(TRAMPOLINE_SHARED, true, false);
}

/* What a sequence cannot do, because it faults, is emulated. */
static void sequences_that_fault_are_emulated(void **state)
{
    run_all(TRAMPOLINE_SINGLE, false, true);
    run_all(TRAMPOLINE_SHARED, false, true);
    memset(guest.states, 0, TRAMPOLINE_SELECTORS * sizeof *guest.states);
    run_all(TRAMPOLINE_SHARED, false, false);
}

/* Instructions that random programs consist of. All but popfq leave RSP where it was. */
static const struct {
    uint8_t size;
    uint8_t code[7];
} words[] = {
    {1, {0xFA}},                         /* cli */
    {1, {0xFB}},                         /* sti */
    {2, {0x9C, 0x58}},                   /* pushfq; pop %rax */
    {3, {0x9C, 0x41, 0x5B}},             /* pushfq; pop %r11 */
    {2, {0x9C, 0x9D}},                   /* pushfq; popfq */
    {1, {0x9D}},                         /* popfq */
    {5, {0xA8, 1, 0x74, 1, 0xFB}},       /* test $1, %al; je; sti */
    {3, {0x48, 0x01, 0xC8}},             /* add %rcx, %rax */
    {4, {0x48, 0x8D, 0x04, 0x8B}},       /* lea (%rbx,%rcx,4), %rax */
    {1, {0xF9}},                         /* stc */
    {1, {0xF5}},                         /* cmc */
    {1, {0xFD}},                         /* std */
    {2, {0x87, 0xD9}},                   /* xchg %ebx, %ecx */
    {3, {0x0F, 0x94, 0xC0}},             /* sete %al */
    {2, {0x75, 0}},                      /* jne to the next */
    {2, {0xE3, 0}},                      /* jrcxz to the next */
    {5, {0x66, 0xBA, 0x00, 0x08, 0xEE}}, /* out %al, waiting */
    {5, {0x66, 0xBA, 0xF8, 0x0C, 0xED}}, /* in %eax, idle */
    {1, {0xEE}},                         /* out %al, somewhere */
    {7, {0x48, 0x8B, 0x05, 0, 4, 0, 0}}, /* mov 0x400(%rip), %rax */
    {5, {0x48, 0x89, 0x4C, 0x24, 0xF8}}, /* mov %rcx, -8(%rsp) */
    {5, {0x48, 0x8B, 0x54, 0x24, 0xF0}}, /* mov -16(%rsp), %rdx */
};

static void random_programs_do_as_the_model(void **state)
{
    size_t trampolines = 0;
    guest_catch_traps();
    guest_select_vcpu(5);
    guest.states[trampoline_selector(5)] = (uint64_t)guest.state;
    guest.interrupt_at = -1;
    for (unsigned round = 0; round < 3000; round++) {
        uint8_t code[128];
        size_t size = 0, raised = 0;
        for (unsigned i = 0; i < 12; i++) {
            size_t word = (size_t)rand() % (sizeof words / sizeof *words);
            memcpy(code + size, words[word].code, words[word].size);
            size += words[word].size;
            raised += words[word].code[0] == 0x9D ? 8 : 0;
        }
        struct guest_start start = {
            .flags = 0x202 | ((uint64_t)rand() & ARITHMETIC),
            .pushed = 2 | ((uint64_t)rand() & (ARITHMETIC | IF)),
            .pending = round & 1 ? (uint32_t)IF : 0,
        };
        unsigned seed = (unsigned)rand();
        guest_load(code, size, TRAMPOLINE_NONE);
        srand(seed);
        guest_run(&start, &expected);
        guest_load(code, size, round & 2 ? TRAMPOLINE_SHARED : TRAMPOLINE_SINGLE);
        for (size_t k = 0; k < guest.table->count; k++)
            trampolines += guest.table->list[k].step_count > 0;
        srand(seed);
        guest_run(&start, &actual);
        compare(false, raised);
        srand(seed + round);
    }
    assert_true(trampolines > 3000);
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
    guest_select_vcpu((unsigned)(own - thread_states));
    uint64_t rounds = 0, wrong = 0;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t flags;
        __asm__ volatile("call *%1" : "=a"(flags) : "r"(guest.code) : "memory", "cc", "rdx");
        wrong += flags != (IF | (flags & ~IF));
        wrong += __atomic_load_n(&own->interrupt_flag, __ATOMIC_RELAXED) != 0;
        __asm__ volatile("call *%0" : : "r"(guest.code + 64) : "memory", "cc", "rax");
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
    memset(guest.states, 0, TRAMPOLINE_SELECTORS * sizeof *guest.states);
    for (unsigned i = 0; i < TRAMPOLINE_MAX_VCPUS; i++) {
        thread_states[i] = (struct trampoline_state){.interrupt_flag = IF};
        guest.states[trampoline_selector(i)] = (uint64_t)&thread_states[i];
    }
    memcpy(guest.code, code, sizeof code);
    struct plan_range range = {0, sizeof code};
    struct sweep_symbol symbols[] = {{(uint64_t)guest.code, sizeof lock, true},
                                     {(uint64_t)guest.code + 64, sizeof unlock, true}};
    struct plan_image image = {guest.code, CODE_SIZE, (uint64_t)guest.code,
                               &range,     1,         {symbols, 2}};
    struct plan_area area = {{TRAMPOLINE_SHARED, (uint64_t)guest.states, 0},
                             guest.area,
                             AREA_SIZE,
                             (uint64_t)guest.area};
    struct plan_report report;
    free(guest.table);
    assert_int_equal(plan_make(&image, &area, &guest.table, &report, NULL), 0);
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
    guest_load(pieces[0].code, pieces[0].size, TRAMPOLINE_SINGLE);
    const struct patch *patch = &guest.table->list[0];
    struct trampoline_registers registers = {.rip = (uint64_t)guest.code};
    assert_false(trampoline_settle(guest.table, &registers, guest_read, NULL));
    registers.rip = (uint64_t)guest.area + patch->size;
    assert_false(trampoline_settle(guest.table, &registers, guest_read, NULL));
    registers.rip = (uint64_t)guest.area + patch->size - 1; /* inside the jump back */
    assert_false(trampoline_settle(guest.table, &registers, guest_read, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_vcpu_does_as_the_model),
        cmocka_unit_test(one_vcpu_can_be_interrupted_anywhere),
        cmocka_unit_test(shared_code_does_as_the_model),
        cmocka_unit_test(shared_code_can_be_interrupted_anywhere),
        cmocka_unit_test(sequences_that_fault_are_emulated),
        cmocka_unit_test(random_programs_do_as_the_model),
        cmocka_unit_test(selectors_differ),
        cmocka_unit_test(threads_have_their_own_flag),
        cmocka_unit_test(settling_refuses_nonsense),
    };
    return cmocka_run_group_tests(tests, guest_set_up, NULL);
}
