#include "vm/pause.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vm/vm.h"

#define KICK_INTERVAL_NS 2000000
#define CALL_GRACE_NS    20000000 /* most host calls are over by then, and the vCPU parks */

enum pause_place {
    PAUSE_STARTING, /* its thread has not come to pause_enter yet */
    PAUSE_GUEST,    /* in the guest, or about to be */
    PAUSE_CALL,     /* its thread works for the guest */
    PAUSE_PARKED,
    PAUSE_ENDED,
};

/* Work on a parked vCPU, done by its thread. */
struct pause_job {
    int (*run)(struct vcpu *vcpu, struct pause_job *job);
    void *data;
    const void *from;
    size_t size;
    int result;
};

struct pause_cpu {
    int wake_fd; /* eventfd: look again */
    enum pause_place place;
    bool held;
    bool incomplete; /* the accelerator has yet to take the answer to the last exit */
    bool state_valid;
    struct x86_state state; /* as of when it stopped or began its call */
    struct pause_event event;
    struct pause_job *job;

    bool settings_changed;
    bool inject; /* the breakpoint it stopped at is the guest's own */
    struct accel_debug settings;
    struct gdb_action action;
};

struct pause {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC: a place, or the end of a job */
    int notify_fd;
    bool attached;
    struct pause_cpu cpus[];
};

static struct pause_cpu *pause_of(const struct vcpu *vcpu)
{
    return &vcpu->vm->pause->cpus[vcpu->index];
}

int pause_create(struct uhyve_vm *vm, int notify_fd)
{
    pthread_condattr_t attributes;
    unsigned count = vm->params.cpu_count;
    struct pause *pause = calloc(1, sizeof *pause + count * sizeof *pause->cpus);

    if (!pause)
        return -ENOMEM;
    pthread_mutex_init(&pause->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pause->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pause->notify_fd = notify_fd;
    for (unsigned i = 0; i < count; i++) {
        pause->cpus[i].held = true;
        pause->cpus[i].wake_fd = -1;
    }
    vm->pause = pause;
    for (unsigned i = 0; i < count; i++) {
        pause->cpus[i].wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pause->cpus[i].wake_fd < 0)
            return -errno;
    }
    return 0;
}

void pause_destroy(struct uhyve_vm *vm)
{
    struct pause *pause = vm->pause;

    if (!pause)
        return;
    for (unsigned i = 0; i < vm->params.cpu_count; i++)
        if (pause->cpus[i].wake_fd >= 0)
            close(pause->cpus[i].wake_fd);
    pthread_cond_destroy(&pause->changed);
    pthread_mutex_destroy(&pause->lock);
    free(pause);
    vm->pause = NULL;
}

static void event_add(int fd)
{
    /* It can only fail by being set already. */
    ssize_t ignored = write(fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)ignored;
}

static void move_to(struct vcpu *vcpu, enum pause_place place)
{
    pause_of(vcpu)->place = place;
    pthread_cond_broadcast(&vcpu->vm->pause->changed);
}

static void take_state(struct vcpu *vcpu)
{
    struct pause_cpu *cpu = pause_of(vcpu);

    cpu->state_valid = vcpu->vm->accel->vcpu_get_state(vcpu->accel, &cpu->state) == 0;
}

/* Until the debugger or the end of the VM wakes us. Kicks only interrupt it. */
static void wait_for_wake(struct vcpu *vcpu)
{
    struct pause_cpu *cpu = pause_of(vcpu);
    struct pollfd fds[] = {
        {.fd = vcpu->vm->stop_fd, .events = POLLIN},
        {.fd = cpu->wake_fd, .events = POLLIN},
    };
    uint64_t count;

    if (poll(fds, 2, -1) > 0 && fds[1].revents) {
        ssize_t ignored = read(cpu->wake_fd, &count, sizeof count);
        (void)ignored;
    }
}

/* With the lock, which is given back while there is nothing to do. */
static void park(struct vcpu *vcpu)
{
    struct uhyve_vm *vm = vcpu->vm;
    struct pause_cpu *cpu = pause_of(vcpu);

    move_to(vcpu, PAUSE_PARKED);
    while (cpu->held && !atomic_load(&vm->stopping)) {
        if (cpu->job) {
            cpu->job->result = cpu->job->run(vcpu, cpu->job);
            cpu->job = NULL;
            pthread_cond_broadcast(&vm->pause->changed);
            continue;
        }
        pthread_mutex_unlock(&vm->pause->lock);
        wait_for_wake(vcpu);
        pthread_mutex_lock(&vm->pause->lock);
    }
}

/* Tell the accelerator what the debugger wants of the next run. */
static void apply_settings(struct vcpu *vcpu)
{
    struct pause_cpu *cpu = pause_of(vcpu);
    const struct accel *accel = vcpu->vm->accel;

    if (cpu->settings_changed)
        accel->vcpu_set_debug(vcpu->accel, &cpu->settings);
    if (cpu->inject)
        accel->vcpu_inject_breakpoint(vcpu->accel);
    cpu->settings_changed = false;
    cpu->inject = false;
}

bool pause_enter(struct vcpu *vcpu)
{
    struct pause_cpu *cpu = pause_of(vcpu);
    struct pause *pause = vcpu->vm->pause;

    pthread_mutex_lock(&pause->lock);
    if (cpu->held && cpu->incomplete) {
        /* The registers are those after the instruction only when the accelerator has taken the
         * answer to it. A run that is kicked already does that and no more. */
        vcpu->vm->accel->vcpu_kick(vcpu->accel);
        cpu->incomplete = false;
    } else if (cpu->held) {
        take_state(vcpu);
        park(vcpu);
    }
    bool go = !atomic_load(&vcpu->vm->stopping);
    if (go)
        apply_settings(vcpu);
    move_to(vcpu, go ? PAUSE_GUEST : PAUSE_ENDED);
    pthread_mutex_unlock(&pause->lock);
    return go;
}

void pause_left(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct pause_cpu *cpu = pause_of(vcpu);

    pthread_mutex_lock(&vcpu->vm->pause->lock);
    cpu->incomplete = exit->kind == ACCEL_EXIT_IO || exit->kind == ACCEL_EXIT_MMIO;
    /* Whatever is to be done now can take long: a crash, too, waits for a slow reader of output. */
    if (exit->kind != ACCEL_EXIT_INTERRUPTED && exit->kind != ACCEL_EXIT_DEBUG) {
        if (exit->kind != ACCEL_EXIT_IO || !exit->queued)
            take_state(vcpu);
        move_to(vcpu, PAUSE_CALL);
    }
    pthread_mutex_unlock(&vcpu->vm->pause->lock);
}

void pause_debug(struct vcpu *vcpu, const struct accel_exit *exit)
{
    struct pause_cpu *cpu = pause_of(vcpu);
    struct pause *pause = vcpu->vm->pause;

    pthread_mutex_lock(&pause->lock);
    bool in_range = exit->debug.event == ACCEL_DEBUG_STEP && cpu->action.kind == GDB_STEP &&
                    exit->debug.rip >= cpu->action.range_start &&
                    exit->debug.rip < cpu->action.range_end;
    bool report = pause->attached && !in_range;
    if (report) {
        take_state(vcpu); /* the debugger may look before the vCPU parks */
        cpu->event = (struct pause_event){
            .kind = PAUSE_DEBUG, .debug = exit->debug.event, .slot = exit->debug.slot};
        cpu->held = true;
    } else if (exit->debug.event == ACCEL_DEBUG_BREAKPOINT) {
        cpu->inject = true;
    }
    pthread_mutex_unlock(&pause->lock);
    if (report)
        event_add(pause->notify_fd);
}

void pause_crashed(struct vcpu *vcpu, enum gdb_signal signal, const struct x86_state *state)
{
    struct pause *pause = vcpu->vm->pause;

    if (!pause)
        return;
    pthread_mutex_lock(&pause->lock);
    if (pause->attached) {
        struct pause_cpu *cpu = pause_of(vcpu);
        cpu->event = (struct pause_event){.kind = PAUSE_CRASH, .signal = signal};
        cpu->held = true;
        take_state(vcpu); /* where the processor was reset, at least that is seen */
        if (state)
            cpu->state = *state;
        event_add(pause->notify_fd);
        park(vcpu);
        move_to(vcpu, PAUSE_CALL);
    }
    pthread_mutex_unlock(&pause->lock);
}

void pause_before_end(struct vcpu *vcpu)
{
    struct pause *pause = vcpu->vm->pause;

    if (!pause)
        return;
    pthread_mutex_lock(&pause->lock);
    if (pause_of(vcpu)->held) {
        park(vcpu);
        move_to(vcpu, PAUSE_CALL);
    }
    pthread_mutex_unlock(&pause->lock);
}

void pause_ended(struct vcpu *vcpu)
{
    struct pause *pause = vcpu->vm->pause;

    if (!pause)
        return;
    pthread_mutex_lock(&pause->lock);
    move_to(vcpu, PAUSE_ENDED);
    pthread_mutex_unlock(&pause->lock);
}

void pause_attach(struct uhyve_vm *vm, bool attached)
{
    pthread_mutex_lock(&vm->pause->lock);
    vm->pause->attached = attached;
    pthread_mutex_unlock(&vm->pause->lock);
}

static void wait_changed(struct pause *pause)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += KICK_INTERVAL_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&pause->changed, &pause->lock, &until);
}

/* Kick whatever is not stopped; true if there is such a vCPU. `patient`: host calls may end yet. */
static bool drive_out_all(struct uhyve_vm *vm, bool patient)
{
    bool stopping = atomic_load(&vm->stopping), more = false;

    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        enum pause_place place = vm->pause->cpus[i].place;
        if (place == PAUSE_STARTING)
            more = more || !stopping;
        if (place != PAUSE_GUEST && place != PAUSE_CALL)
            continue;
        more = more || place == PAUSE_GUEST || patient;
        vcpu_kick(&vm->vcpus[i]);
    }
    return more;
}

void pause_all(struct uhyve_vm *vm)
{
    struct pause *pause = vm->pause;
    uint64_t start = vm_now();

    pthread_mutex_lock(&pause->lock);
    for (unsigned i = 0; i < vm->params.cpu_count; i++)
        pause->cpus[i].held = true;
    while (drive_out_all(vm, vm_now() - start < CALL_GRACE_NS))
        wait_changed(pause);
    pthread_mutex_unlock(&pause->lock);
}

static void release(struct pause_cpu *cpu)
{
    cpu->held = false;
    event_add(cpu->wake_fd);
}

void pause_resume(struct uhyve_vm *vm, const struct gdb_action *actions)
{
    struct pause *pause = vm->pause;

    pthread_mutex_lock(&pause->lock);
    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        struct pause_cpu *cpu = &pause->cpus[i];
        bool step = actions[i].kind == GDB_STEP;
        if (actions[i].kind == GDB_HOLD)
            continue;
        cpu->action = actions[i];
        cpu->settings_changed = cpu->settings_changed || cpu->settings.step != step ||
                                cpu->settings.enabled != pause->attached;
        cpu->settings.step = step;
        cpu->settings.enabled = pause->attached;
        release(cpu);
    }
    pthread_mutex_unlock(&pause->lock);
}

void pause_pass_breakpoint(struct uhyve_vm *vm, unsigned index)
{
    struct pause_cpu *cpu = &vm->pause->cpus[index];

    pthread_mutex_lock(&vm->pause->lock);
    cpu->event.kind = PAUSE_NOTHING;
    cpu->inject = true;
    release(cpu);
    pthread_mutex_unlock(&vm->pause->lock);
}

struct pause_event pause_peek(struct uhyve_vm *vm, unsigned cpu)
{
    pthread_mutex_lock(&vm->pause->lock);
    struct pause_event event = vm->pause->cpus[cpu].event;
    pthread_mutex_unlock(&vm->pause->lock);
    return event;
}

void pause_forget(struct uhyve_vm *vm, unsigned cpu)
{
    pthread_mutex_lock(&vm->pause->lock);
    vm->pause->cpus[cpu].event.kind = PAUSE_NOTHING;
    pthread_mutex_unlock(&vm->pause->lock);
}

/* Let the vCPU's thread do it, and wait. */
static int run_job(struct uhyve_vm *vm, unsigned index, struct pause_job *job)
{
    struct pause_cpu *cpu = &vm->pause->cpus[index];

    job->result = -EBUSY;
    pthread_mutex_lock(&vm->pause->lock);
    if (cpu->place == PAUSE_PARKED) {
        cpu->job = job;
        event_add(cpu->wake_fd);
        while (cpu->job && cpu->place == PAUSE_PARKED)
            pthread_cond_wait(&vm->pause->changed, &vm->pause->lock);
        cpu->job = NULL;
    }
    pthread_mutex_unlock(&vm->pause->lock);
    return job->result;
}

int pause_get_state(struct uhyve_vm *vm, unsigned index, struct x86_state *state)
{
    const struct pause_cpu *cpu = &vm->pause->cpus[index];

    pthread_mutex_lock(&vm->pause->lock);
    bool valid = cpu->state_valid;
    if (valid)
        *state = cpu->state;
    pthread_mutex_unlock(&vm->pause->lock);
    return valid ? 0 : -EBUSY;
}

static int store_state(struct vcpu *vcpu, struct pause_job *job)
{
    int err = vcpu->vm->accel->vcpu_set_state(vcpu->accel, job->from);
    /* What the accelerator made of it. */
    take_state(vcpu);
    return err;
}

int pause_set_state(struct uhyve_vm *vm, unsigned cpu, const struct x86_state *state)
{
    struct pause_job job = {.run = store_state, .from = state};

    return run_job(vm, cpu, &job);
}

static int load_xsave(struct vcpu *vcpu, struct pause_job *job)
{
    return vcpu->vm->accel->vcpu_get_xsave(vcpu->accel, job->data, job->size);
}

int pause_get_xsave(struct uhyve_vm *vm, unsigned cpu, void *area, size_t size)
{
    struct pause_job job = {.run = load_xsave, .data = area, .size = size};

    return run_job(vm, cpu, &job);
}

static int store_xsave(struct vcpu *vcpu, struct pause_job *job)
{
    return vcpu->vm->accel->vcpu_set_xsave(vcpu->accel, job->from, job->size);
}

int pause_set_xsave(struct uhyve_vm *vm, unsigned cpu, const void *area, size_t size)
{
    struct pause_job job = {.run = store_xsave, .from = area, .size = size};

    return run_job(vm, cpu, &job);
}

int pause_set_hardware(struct uhyve_vm *vm, const struct accel_hardware_breakpoint *slots)
{
    pthread_mutex_lock(&vm->pause->lock);
    for (unsigned i = 0; i < vm->params.cpu_count; i++) {
        struct pause_cpu *cpu = &vm->pause->cpus[i];
        memcpy(cpu->settings.slot, slots, sizeof cpu->settings.slot);
        cpu->settings_changed = true;
    }
    pthread_mutex_unlock(&vm->pause->lock);
    return 0;
}
