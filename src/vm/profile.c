/*
 * Sampling of the vCPUs for the profile. One thread asks all vCPUs at each tick; each looks at
 * itself, on its own thread, when it is out of the guest: the accelerator's kick makes it leave. A
 * vCPU that is out anyway, because uhyve does something for the guest, counts for what that is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86_64/paging.h"
#include "console/sink.h"
#include "debug/call_text.h"
#include "util/error.h"
#include "util/thread.h"
#include "vm/vm.h"

#define RATE_MAX  10000
#define IMAGE_MAX (UINT64_C(512) << 20)
#define HLT       0xf4

/* Labels: the hypercalls' names, then these. */
enum {
    LABEL_DEVICE = CALL_NAMES_MAX,
    LABELS,
};

struct vm_profile {
    struct profile_log *logs;    /* one for each vCPU, and written by its thread */
    struct profile_log *sampled; /* likewise, by the profiler's */
    pthread_t thread;
    bool running;
    struct sink sink; /* opened while that is still possible; a reader is waited for */
};

int vm_profile_open(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct uhyve_params *params = &vm->params;

    if (params->profile == UHYVE_PROFILE_OFF)
        return 0;
    if (params->profile_rate < 1 || params->profile_rate > RATE_MAX)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "%u samples per second are not possible: use 1 to %d",
                         params->profile_rate, RATE_MAX);
    vm->profile = calloc(1, sizeof *vm->profile);
    if (vm->profile)
        vm->profile->logs = calloc(2 * params->cpu_count, sizeof *vm->profile->logs);
    if (!vm->profile || !vm->profile->logs)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    vm->profile->sampled = vm->profile->logs + params->cpu_count;
    sink_open(&vm->profile->sink, params->profile_fd, -1);
    return 0;
}

/* Copy one word of the guest's memory. */
static bool read_word(const struct ram *ram, uint64_t cr3, gva_t address, uint64_t *word)
{
    gpa_t gpa;
    uint64_t size;

    return paging_translate(ram, cr3, address, &gpa, &size) && size >= sizeof *word &&
           ram_read(ram, gpa, word, sizeof *word);
}

/* RIP and the chain of frame pointers; their number. */
static size_t walk(const struct uhyve_vm *vm, const struct x86_state *state,
                   uint64_t stack[PROFILE_DEPTH])
{
    gva_t frame = state->gpr[X86_RBP];
    size_t depth = 0;

    stack[depth++] = state->rip;
    while (depth < PROFILE_DEPTH && frame && frame % 8 == 0) {
        uint64_t next, back;
        if (!read_word(&vm->ram, state->cr3, frame, &next) ||
            !read_word(&vm->ram, state->cr3, frame + 8, &back) || back < vm->layout.kernel_start ||
            back >= vm->layout.kernel_end)
            break;
        stack[depth++] = back;
        if (next <= frame)
            break;
        frame = next;
    }
    return depth;
}

/* Is it waiting in HLT? It is then at the instruction or right behind it. */
static bool is_idle(const struct uhyve_vm *vm, const struct x86_state *state)
{
    for (unsigned back = 0; back < 2; back++) {
        gpa_t gpa;
        uint64_t size;
        uint8_t code;
        if (paging_translate(&vm->ram, state->cr3, state->rip - back, &gpa, &size) &&
            ram_read(&vm->ram, gpa, &code, 1) && code == HLT)
            return true;
    }
    return false;
}

static unsigned label_of(const struct accel_exit *exit)
{
    int name = exit->kind == ACCEL_EXIT_IO && !exit->io.in ? call_name_find(exit->io.port) : -1;
    return name >= 0 ? (unsigned)name : LABEL_DEVICE;
}

void vcpu_profile(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct profile_log *log = &vm->profile->logs[vcpu->index];
    enum profile_kind kind = exit->kind == ACCEL_EXIT_INTERRUPTED ? PROFILE_GUEST : PROFILE_CALL;
    uint64_t stack[PROFILE_DEPTH];
    struct x86_state state;

    if (!atomic_exchange(&vcpu->sample_due, false) ||
        vm->accel->vcpu_get_state(vcpu->accel, &state) != 0)
        return;
    if (kind == PROFILE_GUEST && is_idle(vm, &state))
        profile_log_add(log, PROFILE_IDLE, 0, NULL, 0);
    else
        profile_log_add(log, kind, kind == PROFILE_CALL ? label_of(exit) : 0, stack,
                        walk(vm, &state, stack));
}

/* In the guest: the accelerator may be able to look without disturbing it much. */
static void ask_guest(struct vcpu *vcpu)
{
    const struct accel *accel = vcpu->vm->accel;
    struct profile_log *log = &vcpu->vm->profile->sampled[vcpu->index];
    struct accel_sample sample;

    if (!accel->vcpu_sample) {
        atomic_store(&vcpu->sample_due, true);
        vcpu_kick(vcpu);
    } else if (accel->vcpu_sample(vcpu->accel, &sample)) {
        profile_log_add(log, sample.idle ? PROFILE_IDLE : PROFILE_GUEST, 0, sample.stack,
                        sample.idle ? 0 : sample.depth);
    }
}

static void ask_all(struct uhyve_vm *vm)
{
    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        struct vcpu *vcpu = &vm->vcpus[i];
        if (!atomic_load(&vcpu->running_tid))
            continue;
        if (atomic_load(&vcpu->in_guest))
            ask_guest(vcpu);
        else
            atomic_store(&vcpu->sample_due, true);
    }
}

/* Ticks come at a regular rate, but each at another time within its period: what the guest does
 * periodically must not always, or never, be seen. */
static void *profile_thread(void *argument)
{
    struct uhyve_vm *vm = argument;
    const uint64_t period = 1000000000 / vm->params.profile_rate;
    uint64_t tick = vm_now(), random = tick | 1;

    while (!atomic_load(&vm->stopping)) {
        tick += period;
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint64_t at = tick + (random >> 32) % (period / 2);
        const struct timespec until = {.tv_sec = (time_t)(at / 1000000000),
                                       .tv_nsec = (long)(at % 1000000000)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        if (vm_now() > tick + 10 * period)
            tick = vm_now(); /* it was not let run: samples are not made up for */
        ask_all(vm);
    }
    return NULL;
}

int vm_profile_start(struct uhyve_vm *vm, struct uhyve_error *error)
{
    if (!vm->profile)
        return 0;
    int err = thread_start(&vm->profile->thread, profile_thread, vm, 0);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "cannot start the profiler's thread: %s (" THREAD_REMEDY ")",
                         strerror(-err));
    vm->profile->running = true;
    return 0;
}

static void stop_thread(struct uhyve_vm *vm)
{
    if (vm->profile->running)
        pthread_join(vm->profile->thread, NULL);
    vm->profile->running = false;
}

static void write_profile(struct uhyve_vm *vm, const struct text *text)
{
    const struct iovec iov = {text->data, text->size};
    size_t written;
    int err = text->failed ? -ENOMEM : sink_write(&vm->profile->sink, &iov, 1, &written);

    if (err)
        log_warn(&vm->log, "the profile is lost: %s (%s)", strerror(-err),
                 error_remedy(-err, "check where it goes"));
}

void vm_profile_finish(struct uhyve_vm *vm)
{
    const char *labels[LABELS] = {[LABEL_DEVICE] = "device"};
    struct profile profile = {0};
    struct symbols symbols;
    struct uhyve_error error;
    struct text text = {0};

    if (!vm->profile)
        return;
    stop_thread(vm);
    for (size_t i = 0; i < call_name_count; i++)
        labels[i] = call_names[i].name;
    if (!vm_read_symbols(vm, &symbols, &error))
        log_warn(&vm->log, "the profile is without names: %s", error.message);
    for (unsigned i = 0; i < 2 * vm->params.cpu_count; i++)
        profile_add(&profile, &vm->profile->logs[i], &symbols,
                    vm->elf.relocatable ? vm->layout.kernel_start : 0, labels, LABELS);
    symbols_free(&symbols);
    if (vm->params.profile == UHYVE_PROFILE_SVG)
        profile_format_svg(&profile, vm->params.profile_rate, &text);
    else if (vm->params.profile == UHYVE_PROFILE_FOLDED)
        profile_format_folded(&profile, &text);
    else
        profile_format_table(&profile, vm->params.profile_rate, vm->params.cpu_count, &text);
    if (profile.lost && vm->params.profile != UHYVE_PROFILE_TABLE)
        log_warn(&vm->log, "%llu samples are not in the profile: there was not enough memory",
                 (unsigned long long)profile.lost);
    text.failed |= profile.failed;
    write_profile(vm, &text);
    text_free(&text);
    profile_free(&profile);
}

void vm_profile_close(struct uhyve_vm *vm)
{
    if (!vm->profile)
        return;
    stop_thread(vm);
    sink_close(&vm->profile->sink);
    for (unsigned i = 0; vm->profile->logs && i < 2 * vm->params.cpu_count; i++)
        profile_log_free(&vm->profile->logs[i]);
    free(vm->profile->logs);
    free(vm->profile);
}
