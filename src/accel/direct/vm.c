#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "accel/direct/direct.h"
#include "util/error.h"

#define START_TIMEOUT_S 10

/* As KVM does by default (halt_poll_ns). */
#define HALT_SPIN_US 200

/* The steps of the engine's start, as in engine/start.c. */
static const char *const steps[] = {
    [2] = "close descriptors",       [3] = "map its memory",    [4] = "drop privileges",
    [5] = "install signal handlers", [6] = "start its threads", [7] = "set up a thread",
    [8] = "filter its system calls",
};

struct direct_vcpu *vm_shared_vcpu(const struct accel_vm *vm, unsigned index)
{
    return (struct direct_vcpu *)(void *)(vm->control + DIRECT_VCPUS + (size_t)index * DIRECT_PAGE);
}

/* The lowest address that may be mapped; the setting is for ordinary users. */
static uint64_t lowest_mapping(void)
{
    char text[32] = "";
    int fd = open("/proc/sys/vm/mmap_min_addr", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    uint64_t lowest = size > 0 ? strtoull(text, NULL, 10) : 65536;
    return (lowest + DIRECT_PAGE - 1) & ~UINT64_C(0xfff);
}

static unsigned host_cpus(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

static int create_control(struct accel_vm *vm, struct uhyve_error *error)
{
    vm->control_size = DIRECT_PAGE_KINDS + vm->ram->size / DIRECT_PAGE;
    vm->control_fd = memfd_create("uhyve-control", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *control = MAP_FAILED;
    int result = -1;
    while (vm->control_fd >= 0 &&
           (result = ftruncate(vm->control_fd, (off_t)vm->control_size)) != 0 && errno == EINTR)
        ;
    if (result == 0 &&
        fcntl(vm->control_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        control = mmap(NULL, vm->control_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                       vm->control_fd, 0);
    if (control == MAP_FAILED) {
        int err = errno;
        return error_set(error, UHYVE_STATUS_FAILED, err,
                         "cannot create memory shared with the guest's process: %s (%s)",
                         strerror(err), error_remedy(err, "is there enough memory?"));
    }
    vm->control = control;
    vm->header = control;
    vm->header->cpu_count = vm->cpu_count;
    vm->header->ram_base = vm->ram->base;
    vm->header->ram_size = vm->ram->size;
    vm->header->lowest_mapping = lowest_mapping();
    vm->header->shares_cpus = host_cpus() < vm->cpu_count;
    vm->header->debugged = vm->debugged;
    vm->header->area_address = vm->debugged ? 0 : code_choose_area(vm->ram, vm->cpu_count);
    for (unsigned i = 0; i < vm->cpu_count && i < TRAMPOLINE_MAX_VCPUS; i++)
        vm_shared_vcpu(vm, i)->selector = trampoline_selector(i);
    return 0;
}

static void direct_vm_destroy(struct accel_vm *vm)
{
    process_stop(&vm->process);
    if (vm->control)
        munmap(vm->control, vm->control_size);
    if (vm->control_fd >= 0)
        close(vm->control_fd);
    pthread_mutex_destroy(&vm->lock);
    free(vm->table);
    free(vm);
}

static int check_config(const struct accel_vm_config *config, struct uhyve_error *error)
{
    if (config->pit)
        return error_set(error, UHYVE_STATUS_USAGE, ENOTSUP,
                         "the accelerator 'direct' has no interval timer (leave out --pit)");
    if (config->cpu_count > DIRECT_CPUS_MAX)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "%u CPUs are more than the accelerator 'direct' supports, which is %d "
                         "(use a smaller -c)",
                         config->cpu_count, DIRECT_CPUS_MAX);
    if (config->ram->size > DIRECT_RAM_MAX)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "the accelerator 'direct' supports at most 512 GiB of memory (use a "
                         "smaller -m)");
    return 0;
}

static int direct_vm_create(struct accel_host *host, const struct accel_vm_config *config,
                            struct accel_vm **result, struct uhyve_error *error)
{
    int err = check_config(config, error);
    if (err)
        return err;
    struct accel_vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    vm->ram = config->ram;
    vm->log = config->log;
    vm->cpu_count = config->cpu_count;
    vm->debugged = config->debugged;
    vm->control_fd = -1;
    vm->process.life_fd = -1;
    /* Waiting actively pays only if both sides of every vCPU have a host CPU. */
    vm->spins = host_cpus() > vm->cpu_count;
    vm->tsc_start = tsc_sample_now();
    pthread_mutex_init(&vm->lock, NULL);
    err = create_control(vm, error);
    if (!err)
        err = process_start(vm, config, error);
    if (err)
        direct_vm_destroy(vm);
    else
        *result = vm;
    return err;
}

static pid_t direct_vm_process(const struct accel_vm *vm)
{
    return vm->process.pid;
}

static const char *remedy_for_engine(int err)
{
    switch (err) {
    case EAGAIN:
        return "use a smaller -c, or raise the limits on processes and pending signals: ulimit -u, "
               "-i";
    case EPERM:
    case EACCES:
        return "in a container, let its seccomp profile allow it";
    default:
        return error_remedy(err, "the accelerator 'direct' needs Linux 5.13 or newer");
    }
}

static int engine_failed(struct accel_vm *vm, struct uhyve_error *error)
{
    uint32_t step = vm->header->failed_step, status = vm->header->status;
    char reason[128];

    if (status != DIRECT_STATUS_STARTING && step < sizeof steps / sizeof *steps && steps[step])
        return error_set(error, UHYVE_STATUS_FAILED, ECHILD,
                         "the guest's process could not %s: %s (%s)", steps[step],
                         strerror((int)(status & 0xfff)), remedy_for_engine((int)(status & 0xfff)));
    if (!atomic_load(&vm->process.dead))
        snprintf(reason, sizeof reason, "the guest's process does not answer");
    else
        process_describe_death(&vm->process, reason, sizeof reason);
    return error_set(error, UHYVE_STATUS_FAILED, ECHILD,
                     "%s before the guest could start (is there enough memory?)", reason);
}

int vm_wait_ready(struct accel_vm *vm, struct uhyve_error *error)
{
    uint32_t *status = &vm->header->status;
    const struct timespec timeout = {.tv_sec = START_TIMEOUT_S};
    int err = 0;

    pthread_mutex_lock(&vm->lock);
    if (!vm->ready) {
        while (__atomic_load_n(status, __ATOMIC_ACQUIRE) == DIRECT_STATUS_STARTING &&
               !atomic_load(&vm->process.dead))
            if (syscall(SYS_futex, status, FUTEX_WAIT, DIRECT_STATUS_STARTING, &timeout) != 0 &&
                errno == ETIMEDOUT)
                break;
        if (__atomic_load_n(status, __ATOMIC_ACQUIRE) == DIRECT_STATUS_READY) {
            vm->header->tsc_khz = tsc_frequency(&vm->tsc_start);
            vm->header->halt_spin = vm->spins ? vm->header->tsc_khz / 1000 * HALT_SPIN_US : 0;
            vm->ready = true;
        } else {
            err = engine_failed(vm, error);
        }
    }
    pthread_mutex_unlock(&vm->lock);
    return err;
}

void vm_engine_died(struct accel_vm *vm)
{
    /* The engine is gone, so these are the VMM's alone now. */
    syscall(SYS_futex, &vm->header->status, FUTEX_WAKE, INT32_MAX, NULL);
    for (unsigned i = 0; i < vm->cpu_count; i++) {
        struct direct_vcpu *shared = vm_shared_vcpu(vm, i);
        __atomic_store_n(&shared->turn, DIRECT_TURN_VMM, __ATOMIC_SEQ_CST);
        syscall(SYS_futex, &shared->turn, FUTEX_WAKE, INT32_MAX, NULL);
    }
}

static void direct_vm_map_zeros(struct accel_vm *vm, gpa_t start, uint64_t size)
{
    __atomic_store_n(&vm->header->zeros_start, start, __ATOMIC_RELEASE);
    __atomic_store_n(&vm->header->zeros_end, start + size, __ATOMIC_RELEASE);
}

static void set_port(struct accel_vm *vm, uint16_t port, enum trampoline_port kind)
{
    __atomic_store_n(vm->control + DIRECT_AREA + DIRECT_AREA_PORTS + port, (uint8_t)kind,
                     __ATOMIC_RELEASE);
}

static void direct_vm_ignore_io(struct accel_vm *vm, uint16_t first, uint16_t last)
{
    for (uint32_t port = first; port <= last; port++)
        set_port(vm, (uint16_t)port, TRAMPOLINE_PORT_IDLE);
}

static void direct_vm_ignore_pci(struct accel_vm *vm, uint32_t mask, uint32_t value)
{
    vm->header->pci_mask = mask;
    vm->header->pci_value = value;
    for (uint16_t port = TRAMPOLINE_PCI_ADDRESS; port <= TRAMPOLINE_PCI_LAST; port++)
        set_port(vm, port, TRAMPOLINE_PORT_PCI);
}

static void direct_vm_delay_io(struct accel_vm *vm, uint16_t port)
{
    if (vm->cpu_count == 1)
        set_port(vm, port, TRAMPOLINE_PORT_QUEUE);
}

/* The vCPU that a line's interrupts go to, if they go to one. What the engine wrote there may be
 * anything; whichever vCPU looks at the lines delivers to the right one. */
static unsigned likely_target(const struct accel_vm *vm, uint64_t entry)
{
    unsigned target = (unsigned)(entry >> 56);

    if ((entry & DIRECT_REDIRECTION_LOGICAL) && target)
        target = (unsigned)__builtin_ctz(target);
    return target < vm->cpu_count ? target : 0;
}

static int direct_vm_set_irq_line(struct accel_vm *vm, unsigned line, bool level)
{
    struct direct_ioapic *ioapic = &vm->header->ioapic;
    uint32_t bit = 1u << line % DIRECT_IOAPIC_LINES;

    if (line >= DIRECT_IOAPIC_LINES)
        return -EINVAL;
    if (!level) {
        __atomic_fetch_and(&ioapic->level, ~bit, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (__atomic_fetch_or(&ioapic->level, bit, __ATOMIC_SEQ_CST) & bit)
        return 0;
    __atomic_fetch_or(&ioapic->rises, bit, __ATOMIC_SEQ_CST);
    /* A masked line is looked at when it is unmasked. */
    uint64_t entry = __atomic_load_n(&ioapic->redirection[line], __ATOMIC_SEQ_CST);
    if (!(entry & DIRECT_REDIRECTION_MASKED))
        vcpu_notify(vm, likely_target(vm, entry), DIRECT_PENDING_LINES);
    return 0;
}

const struct accel accel_direct = {
    .name = "direct",
    .shared_ram = true,
    .calls = direct_calls,
    .line_calls = direct_line_calls,
    .host_open = direct_host_open,
    .host_close = direct_host_close,
    .vm_create = direct_vm_create,
    .vm_destroy = direct_vm_destroy,
    .vm_process = direct_vm_process,
    .vm_start_threads = process_watch,
    .vm_map_zeros = direct_vm_map_zeros,
    .vm_ignore_io = direct_vm_ignore_io,
    .vm_ignore_pci = direct_vm_ignore_pci,
    .vm_delay_io = direct_vm_delay_io,
    .vm_kernel_loaded = code_patch_kernel,
    .vcpu_create = direct_vcpu_create,
    .vcpu_destroy = direct_vcpu_destroy,
    .vcpu_run = direct_vcpu_run,
    .vcpu_kick = direct_vcpu_kick,
    .vcpu_sample = direct_vcpu_sample,
    .vcpu_get_state = direct_vcpu_get_state,
    .vcpu_set_state = direct_vcpu_set_state,
    .vcpu_tsc_khz = direct_vcpu_tsc_khz,
    .vm_set_irq_line = direct_vm_set_irq_line,
    .vcpu_set_debug = direct_vcpu_set_debug,
    .vcpu_inject_breakpoint = direct_vcpu_inject_breakpoint,
    .vcpu_get_xsave = direct_vcpu_get_xsave,
    .vcpu_set_xsave = direct_vcpu_set_xsave,
    .vm_original_code = code_original,
    .vm_code_written = code_written,
};
