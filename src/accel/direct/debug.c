/*
 * Debugging, VMM side. Steps, breakpoint instructions and watchpoints are the engine's
 * (engine/debug.h). For breakpoints on execution a trap byte is put into the code, one for all
 * vCPUs that want it; those that do not are led past it by the engine.
 *
 * A breakpoint on a page that is not code yet waits until the page is swept, which it is before it
 * is executed for the first time.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "accel/direct/direct.h"
#include "arch/x86_64/paging.h"

#define GATE_WAIT_NS 20000
#define GATE_WAITS   50000

/* Called without an effect where the trap byte is there already, or a breakpoint instruction. */
static void insert(struct accel_vm *vm, struct code_break *at)
{
    uint8_t *byte = ram_at(vm->ram, at->gpa, 1);

    if (at->inserted || *byte == DIRECT_TRAP || *byte == DIRECT_BREAKPOINT_INSTRUCTION)
        return;
    /* The site first: a vCPU that meets the trap looks for it. */
    at->inserted = code_add_site(vm, at->gpa, *byte);
    if (at->inserted)
        __atomic_store_n(byte, DIRECT_TRAP, __ATOMIC_SEQ_CST);
}

/* Of the site that `insert` has added. */
static uint8_t original_byte(const struct accel_vm *vm, const struct code_break *at)
{
    return (uint8_t)code_site(vm, code_find_site(vm, at->gpa));
}

static void exchange_trap(uint8_t *byte, uint8_t original)
{
    if (__atomic_load_n(byte, __ATOMIC_SEQ_CST) == DIRECT_TRAP)
        __atomic_store_n(byte, original, __ATOMIC_SEQ_CST);
}

/* A vCPU that has closed the gate executes one instruction. It could not be waited for longer: the
 * engine may be in the hands of the guest. */
static void close_gate(const struct accel_vm *vm)
{
    for (unsigned i = 0; i < GATE_WAITS; i++) {
        uint32_t holder = 0;
        if (__atomic_compare_exchange_n(&vm->header->gate, &holder, DIRECT_GATE_VMM, false,
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            return;
        nanosleep(&(struct timespec){.tv_nsec = GATE_WAIT_NS}, NULL);
    }
}

/* Unless a vCPU holds it still: it will open it itself. */
static void open_gate(const struct accel_vm *vm)
{
    uint32_t holder = DIRECT_GATE_VMM;

    if (__atomic_compare_exchange_n(&vm->header->gate, &holder, 0, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        syscall(SYS_futex, &vm->header->gate, FUTEX_WAKE, INT_MAX, NULL);
}

/* With the gate closed no vCPU has the trap out of the way, to put it back later. The site goes
 * last, or a vCPU that has just met the trap would not know what it stands for. */
static void put_original_back(struct accel_vm *vm, struct code_break *at)
{
    uint8_t original = original_byte(vm, at);

    close_gate(vm);
    exchange_trap(ram_at(vm->ram, at->gpa, 1), original);
    code_remove_site(vm, at->gpa);
    open_gate(vm);
    at->inserted = false;
}

static void release(struct accel_vcpu *vcpu, unsigned slot)
{
    struct code_break *at = vcpu->breaks[slot];

    vcpu->breaks[slot] = NULL;
    if (at && --at->users == 0 && at->inserted)
        put_original_back(vcpu->vm, at);
}

static struct code_break *find_break(struct accel_vm *vm, gpa_t gpa)
{
    struct code_break *unused = NULL;

    for (unsigned i = 0; i < CODE_BREAKS; i++) {
        if (vm->breaks[i].users && vm->breaks[i].gpa == gpa)
            return &vm->breaks[i];
        if (!vm->breaks[i].users)
            unused = &vm->breaks[i];
    }
    if (unused)
        *unused = (struct code_break){.gpa = gpa};
    return unused;
}

/* False: there is no room for one more. */
static bool acquire(struct accel_vcpu *vcpu, unsigned slot)
{
    struct accel_vm *vm = vcpu->vm;
    gpa_t gpa;
    uint64_t size;

    if (vcpu->breaks[slot] || vcpu->debug.slot[slot].kind != ACCEL_BREAK_EXECUTE ||
        !paging_translate(vm->ram, vcpu->shared->state.cr3, vcpu->debug.slot[slot].address, &gpa,
                          &size) ||
        !ram_at(vm->ram, gpa, 1) ||
        vm->control[DIRECT_PAGE_KINDS + (gpa - vm->ram->base) / DIRECT_PAGE] == DIRECT_PAGE_DATA)
        return true;
    struct code_break *at = find_break(vm, gpa);
    if (!at)
        return false;
    at->users++;
    vcpu->breaks[slot] = at;
    insert(vm, at);
    return true;
}

static bool is_same(const struct accel_hardware_breakpoint *a,
                    const struct accel_hardware_breakpoint *b)
{
    return a->kind == b->kind && a->size == b->size && a->address == b->address;
}

int direct_vcpu_set_debug(struct accel_vcpu *vcpu, const struct accel_debug *debug)
{
    struct accel_vm *vm = vcpu->vm;
    struct direct_debug *shared = &vcpu->shared->debug;
    bool done = true;

    if (!vm->debugged || !accel_debug_is_valid(debug))
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    for (unsigned i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++)
        if (!is_same(&debug->slot[i], &vcpu->debug.slot[i]))
            release(vcpu, i);
    vcpu->debug = *debug;
    for (unsigned i = 0; i < ACCEL_HARDWARE_BREAKPOINTS; i++) {
        const struct accel_hardware_breakpoint *slot = &debug->slot[i];
        /* First told, then inserted: another vCPU that meets the trap looks whose it is. The store
         * of the trap is atomic, so that this one cannot come after it. */
        shared->slot[i] = (struct direct_breakpoint){slot->address, slot->kind, slot->size};
        done = acquire(vcpu, i) && done;
    }
    shared->enabled = debug->enabled;
    shared->step = debug->step;
    pthread_mutex_unlock(&vm->lock);
    return done ? 0 : -ENOSPC;
}

int direct_vcpu_inject_breakpoint(struct accel_vcpu *vcpu)
{
    vcpu->shared->debug.inject = true;
    return 0;
}

void debug_page_written(struct accel_vm *vm, gpa_t page)
{
    for (unsigned i = 0; i < CODE_BREAKS; i++) {
        struct code_break *at = &vm->breaks[i];
        if (at->users && at->gpa - page < DIRECT_PAGE && code_is_overwritten(vm, at->gpa))
            at->inserted = false;
    }
}

void debug_page_swept(struct accel_vm *vm, gpa_t page)
{
    pthread_mutex_lock(&vm->lock);
    for (unsigned i = 0; i < CODE_BREAKS; i++)
        if (vm->breaks[i].users && vm->breaks[i].gpa - page < DIRECT_PAGE)
            insert(vm, &vm->breaks[i]);
    for (unsigned i = 0; i < vm->cpu_count; i++)
        for (unsigned slot = 0; vm->vcpus[i] && slot < ACCEL_HARDWARE_BREAKPOINTS; slot++)
            acquire(vm->vcpus[i], slot);
    pthread_mutex_unlock(&vm->lock);
}

void debug_code_written(struct accel_vm *vm, gpa_t gpa, size_t size)
{
    for (unsigned i = 0; i < CODE_BREAKS; i++) {
        struct code_break *at = &vm->breaks[i];
        if (!at->users || at->gpa - gpa >= size)
            continue;
        const uint8_t *byte = ram_at(vm->ram, at->gpa, 1);
        /* Other code: what the trap stood for is no more. */
        if (at->inserted && *byte != DIRECT_TRAP && *byte != DIRECT_BREAKPOINT_INSTRUCTION)
            put_original_back(vm, at);
        insert(vm, at);
    }
}

void debug_vcpu_gone(struct accel_vcpu *vcpu)
{
    pthread_mutex_lock(&vcpu->vm->lock);
    for (unsigned slot = 0; slot < ACCEL_HARDWARE_BREAKPOINTS; slot++)
        release(vcpu, slot);
    vcpu->vm->vcpus[vcpu->index] = NULL;
    pthread_mutex_unlock(&vcpu->vm->lock);
}
