/*
 * Stages of the lock-down, and what each gives up:
 *
 *  1. control memory is mapped; it tells the descriptors;
 *  2. everything in the address space but the engine's own window is unmapped: nothing of the
 *     initial stack, the environment or the vDSO remains;
 *  3. all descriptors but guest RAM and the life line are closed;
 *  4. no new privileges, no core dumps, no tracing by others, resource limits;
 *  5. signal handlers and threads;
 *  6. the filter of filter.c, for all threads at once; only now may guest code run.
 *
 * The main thread then waits for the life line: its other end is held by the VMM only, so that end
 * of file means that the VMM is gone, however it ended.
 */
#include "accel/direct/engine/start.h"

#include <asm/signal.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/time.h>

#include "accel/direct/engine/ahead.h"
#include "accel/direct/engine/apic.h"
#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/filter.h"
#include "accel/direct/engine/ioapic.h"
#include "accel/direct/engine/msr.h"
#include "accel/direct/engine/queue.h"
#include "accel/direct/engine/syscalls.h"
#include "accel/direct/engine/trap.h"
#include "accel/direct/engine/xstate.h"

#define AT_HWCAP2            26
#define HWCAP2_FSGSBASE      2u
#define ADDRESS_SPACE_END    UINT64_C(0x7ffffffff000)
#define SIGNAL_STACK_DISARM  (1u << 31)
#define SIGEV_THREAD_ID_KIND 4
#define PR_SET_TIMERSLACK_NS 1

_Static_assert(sizeof(struct cpu) <= ENGINE_AHEAD && ENGINE_AHEAD + AHEAD_SIZE < ENGINE_START_SIZE,
               "a thread's memory holds what it is for");

struct engine engine;

static const int handled_signals[] = {SIGSEGV,           SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS,
                                      DIRECT_KICK_SIGNAL};
#define HANDLED_SIGNALS (sizeof handled_signals / sizeof *handled_signals)

/* The kernel's struct sigaction; the header's differs in its name only. */
struct kernel_action {
    void (*handler)(void);
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
};

struct kernel_stack {
    void *start;
    uint32_t flags;
    uint64_t size;
};

struct kernel_event {
    uint64_t value;
    int32_t signal;
    int32_t notify;
    int32_t tid;
    int32_t unused[11];
};

static void __attribute__((noreturn)) fail(uint32_t step, long error)
{
    struct direct_header *header = engine.header;

    if (header) {
        header->failed_step = step;
        __atomic_store_n(&header->status, (uint32_t)-error, __ATOMIC_RELEASE);
        sys_futex(&header->status, FUTEX_WAKE, 1, (void *)0);
    }
    sys_exit_group(1);
}

static long check(uint32_t step, long result)
{
    if (result < 0)
        fail(step, result);
    return result;
}

static uint64_t parse_number(const char *text)
{
    uint64_t value = 0;
    while (*text >= '0' && *text <= '9')
        value = value * 10 + (uint64_t)(*text++ - '0');
    return value;
}

static uint64_t auxiliary(const uint64_t *stack, uint64_t key)
{
    const uint64_t *at = stack + 1 + stack[0] + 1;

    while (*at)
        at++; /* environment */
    for (at++; at[0]; at += 2)
        if (at[0] == key)
            return at[1];
    return 0;
}

static void unmap_everything_else(void)
{
    /* A kernel may refuse to unmap its vDSO, which is nothing but code. Everything is mapped below
     * or above the engine; both calls are for areas that may well be empty. */
    extern const char _end[]; /* the linker's: where the program ends */
    uint64_t end = ((uint64_t)_end + DIRECT_PAGE - 1) & ~UINT64_C(0xfff);
    sys_munmap(0, DIRECT_ENGINE);
    sys_munmap(end, ADDRESS_SPACE_END - end);
}

static void map_fixed(uint32_t step, uint64_t address, uint64_t size, int fd)
{
    int flags = MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED);
    check(step, sys_mmap(address, size, PROT_READ | PROT_WRITE, flags, fd, 0));
}

/* Trampolines are code of the guest's, states are its data; neither is in its page tables. */
static void map_area(int control_fd)
{
    uint64_t area = engine.header->area_address, end = area + DIRECT_AREA_SIZE;

    engine.flush[0][1] = DIRECT_GUEST_END;
    if (!area)
        return;
    engine.area = area;
    engine.flush[0][1] = area;
    engine.flush[1][0] = end;
    engine.flush[1][1] = DIRECT_GUEST_END - end;
    check(3, sys_mmap(area, DIRECT_AREA_TABLE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED,
                      control_fd, DIRECT_AREA));
    check(3, sys_mmap(area + DIRECT_AREA_TABLE, DIRECT_AREA_SIZE - DIRECT_AREA_TABLE,
                      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, control_fd,
                      DIRECT_AREA + DIRECT_AREA_TABLE));
}

static void close_range(int first, int last)
{
    if (first <= last)
        check(2, sys_set_up(__NR_close_range, (uint64_t)first, (uint64_t)last, 0, 0));
}

/* Their numbers stay what they were in the VMM: duplicating might meet the limit. */
static void close_other_descriptors(void)
{
    int a = engine.ram_fd, b = engine.life_fd;

    close_range(0, (a < b ? a : b) - 1);
    close_range((a < b ? a : b) + 1, (a < b ? b : a) - 1);
    close_range((a < b ? b : a) + 1, INT32_MAX);
}

static void set_up_memory(int control_fd)
{
    struct direct_header *header = engine.header;

    engine.ram_base = header->ram_base;
    engine.ram_size = header->ram_size;
    /* Which is where the header is: until it is mapped again there is no telling what failed. */
    engine.header = (void *)0;
    unmap_everything_else();
    map_fixed(3, DIRECT_CONTROL, DIRECT_PAGE_KINDS + engine.ram_size / DIRECT_PAGE, control_fd);
    engine.header = header;
    map_fixed(3, DIRECT_RAM_VIEW, engine.ram_size, engine.ram_fd);
    map_fixed(3, DIRECT_STACKS, (uint64_t)header->cpu_count * ENGINE_STACK_SIZE, -1);
    engine.ram = (uint8_t *)DIRECT_RAM_VIEW;
    engine.vcpus = (uint8_t *)(DIRECT_CONTROL + DIRECT_VCPUS);
    engine.table = (const struct patch_table *)(DIRECT_CONTROL + DIRECT_TABLE);
    engine.sites = (const uint64_t *)(DIRECT_CONTROL + DIRECT_SITES);
    engine.page_kinds = (uint8_t *)(DIRECT_CONTROL + DIRECT_PAGE_KINDS);
}

static void set_limit(int resource, uint64_t value)
{
    const struct rlimit64 limit = {value, value};
    check(4, sys_set_up(__NR_prlimit64, 0, (uint64_t)resource, (uint64_t)&limit, 0));
}

static void drop_privileges(void)
{
    const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

    check(4, sys_set_up(__NR_capset, (uint64_t)&header, (uint64_t)none, 0, 0));
    check(4, sys_set_up(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0));
    check(4, sys_set_up(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0));
    sys_set_up(__NR_prctl, PR_SET_NAME, (uint64_t) "uhyve-engine", 0, 0);
    set_limit(RLIMIT_CORE, 0);
    set_limit(RLIMIT_NOFILE, 0);
    set_limit(RLIMIT_FSIZE, 0);
}

static void install_handlers(void)
{
    const struct kernel_action action = {
        .handler = entry_signal,
        .flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER,
        .restorer = entry_signal_return,
        .mask = UINT64_MAX,
    };
    for (unsigned i = 0; i < HANDLED_SIGNALS; i++)
        check(5,
              sys_set_up(__NR_rt_sigaction, (uint64_t)handled_signals[i], (uint64_t)&action, 0, 8));
}

/* Signals for the whole process group are the VMM's affair (Ctrl-C), but both stop together
 * (Ctrl-Z). */
static uint64_t blocked_signals(void)
{
    uint64_t mask = ~(UINT64_C(1) << (SIGTSTP - 1));
    for (unsigned i = 0; i < HANDLED_SIGNALS; i++)
        mask &= ~(UINT64_C(1) << (handled_signals[i] - 1));
    return mask;
}

static void start_threads(void)
{
    const uint64_t flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                           CLONE_SYSVSEM | CLONE_PARENT_SETTID;
    uint32_t count = engine.header->cpu_count;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t memory = DIRECT_STACKS + (uint64_t)i * ENGINE_STACK_SIZE;
        struct cpu *cpu = (struct cpu *)memory;
        cpu->shared = engine_vcpu(i);
        cpu->state = &cpu->shared->state;
        cpu->index = i;
        cpu->ahead = (struct ahead *)(memory + ENGINE_AHEAD);
        if (engine.area && i < TRAMPOLINE_MAX_VCPUS)
            cpu->trampoline = queue_state(i);
        apic_reset(cpu);
        msr_reset(cpu);
        check(6, entry_clone(flags, (void *)(memory + ENGINE_START_SIZE), &cpu->shared->tid));
    }
    for (uint32_t ready;
         (ready = __atomic_load_n(&engine.header->threads_ready, __ATOMIC_ACQUIRE)) < count;)
        sys_futex(&engine.header->threads_ready, FUTEX_WAIT, ready, (void *)0);
}

void start_thread(void)
{
    struct cpu *cpu = start_this_cpu();
    uint64_t memory = (uint64_t)cpu, blocked = blocked_signals();
    const struct kernel_stack stack = {
        (void *)(memory + ENGINE_START_SIZE),
        SIGNAL_STACK_DISARM,
        ENGINE_STACK_SIZE - ENGINE_START_SIZE,
    };
    const struct kernel_event event = {
        .signal = DIRECT_KICK_SIGNAL,
        .notify = SIGEV_THREAD_ID_KIND,
        .tid = (int32_t)sys_set_up(__NR_gettid, 0, 0, 0, 0),
    };

    if (cpu->trampoline) {
        /* How trampolines find the vCPU's state; the kernel keeps it across signals. */
        __asm__ volatile("mov %0, %%es" : : "r"(cpu->shared->selector));
    }
    check(7, sys_set_up(__NR_sigaltstack, (uint64_t)&stack, 0, 0, 0));
    check(7, sys_set_up(__NR_timer_create, CLOCK_MONOTONIC, (uint64_t)&event, (uint64_t)&cpu->timer,
                        0));
    sys_set_up(__NR_prctl, PR_SET_TIMERSLACK, PR_SET_TIMERSLACK_NS, 0, 0);
    check(7, sys_set_up(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, (uint64_t)&blocked, 0, 8));
    __atomic_fetch_add(&engine.header->threads_ready, 1, __ATOMIC_SEQ_CST);
    sys_futex(&engine.header->threads_ready, FUTEX_WAKE, 1, (void *)0);
    while (!__atomic_load_n(&engine.header->threads_released, __ATOMIC_ACQUIRE))
        sys_futex(&engine.header->threads_released, FUTEX_WAIT, 0, (void *)0);
    /* Into the signal handler, which waits for the VMM and returns into the guest. */
    __asm__ volatile("ud2");
    __builtin_unreachable();
}

void start(const uint64_t *stack)
{
    int control_fd = (int)parse_number((const char *)stack[2]);
    struct direct_header *header;

    engine.fsgsbase = auxiliary(stack, AT_HWCAP2) & HWCAP2_FSGSBASE;
    if (sys_mmap(DIRECT_CONTROL, DIRECT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                 control_fd, 0) < 0)
        sys_exit_group(1);
    header = engine.header = (struct direct_header *)DIRECT_CONTROL;
    engine.ram_fd = header->ram_fd;
    engine.life_fd = header->life_fd;
    engine.debugged = header->debugged;
    set_up_memory(control_fd);
    map_area(control_fd);
    close_other_descriptors();
    drop_privileges();
    header->pid = (int32_t)sys_set_up(__NR_getpid, 0, 0, 0, 0);
    ioapic_reset();
    xstate_init();
    install_handlers();
    start_threads();
    check(8, filter_install(header->pid));
    __atomic_store_n(&engine.header->threads_released, 1, __ATOMIC_RELEASE);
    sys_futex(&engine.header->threads_released, FUTEX_WAKE, INT32_MAX, (void *)0);
    __atomic_store_n(&header->status, DIRECT_STATUS_READY, __ATOMIC_RELEASE);
    sys_futex(&header->status, FUTEX_WAKE, 1, (void *)0);

    uint8_t byte;
    while (sys_read(engine.life_fd, &byte, 1) != 0)
        ;
    sys_exit_group(0);
}
