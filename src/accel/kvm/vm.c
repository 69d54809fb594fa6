/*
 * The virtual machine as KVM sees it (spec/boot.md section 6): one memory slot, interrupt
 * controllers in the kernel, capabilities.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "util/error.h"

static int failed(struct uhyve_error *error, const char *what)
{
    int err = errno;
    return error_set(
        error, UHYVE_STATUS_FAILED, err, "KVM could not %s: %s (%s)", what, strerror(err),
        error_remedy(err, "is another hypervisor using the hardware, or a limit reached?"));
}

static int check_capabilities(const struct accel_vm *vm, unsigned cpu_count,
                              struct uhyve_error *error)
{
    static const struct {
        int number;
        const char *name;
    } required[] = {
        {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
        {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
        {KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS"},
        {KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API"},
        {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    };
    for (size_t i = 0; i < sizeof required / sizeof *required; i++)
        if (ioctl(vm->fd, KVM_CHECK_EXTENSION, required[i].number) <= 0)
            return error_set(error, UHYVE_STATUS_FAILED, ENOTSUP,
                             "this KVM lacks %s (use Linux 4.17 or newer)", required[i].name);
    int most = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
    if (most > 0 && cpu_count > (unsigned)most)
        return error_set(error, UHYVE_STATUS_USAGE, EINVAL,
                         "%u CPUs are more than KVM supports on this machine, which is %d (use a "
                         "smaller -c)",
                         cpu_count, most);
    return 0;
}

/* --cpu-pm: idle instructions stay in the guest. Only an optimisation, so failure is no more than a
 * note. */
static void disable_exits(struct accel_vm *vm)
{
    int supported = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_DISABLE_EXITS);
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_DISABLE_EXITS};

    cap.args[0] = (unsigned)supported &
                  (KVM_X86_DISABLE_EXITS_MWAIT | KVM_X86_DISABLE_EXITS_HLT |
                   KVM_X86_DISABLE_EXITS_PAUSE | KVM_X86_DISABLE_EXITS_CSTATE);
    if (supported <= 0 || ioctl(vm->fd, KVM_ENABLE_CAP, &cap) != 0)
        log_warn(vm->log, "--cpu-pm has no effect: this KVM cannot leave idle instructions to the "
                          "guest");
}

/* For a new VM the kernel starts a thread of its own, and does not if a signal is pending: EINTR.
 * The signals of the caller come a moment later. SIGSTOP cannot be blocked. */
static int create_undisturbed(int kvm_fd)
{
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int fd;
    while ((fd = ioctl(kvm_fd, KVM_CREATE_VM, 0)) < 0 && errno == EINTR)
        ;
    int err = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = err;
    return fd;
}

static int set_up(struct accel_vm *vm, const struct accel_vm_config *config,
                  struct uhyve_error *error)
{
    vm->fd = create_undisturbed(vm->host->fd);
    if (vm->fd < 0)
        return failed(error, "create a virtual machine");
    int err = check_capabilities(vm, config->cpu_count, error);
    if (err)
        return err;
    vm->run_size = ioctl(vm->host->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (vm->run_size < 0)
        return failed(error, "tell the size of a virtual CPU");
    if (vm->run_size < (int)sizeof(struct kvm_run))
        return error_set(error, UHYVE_STATUS_FAILED, ENOTSUP,
                         "this KVM shares too little of a virtual CPU: %d bytes (use a newer "
                         "kernel)",
                         vm->run_size);
    vm->tsc_deadline = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

    /* Before the interrupt controllers: afterwards it takes milliseconds instead of a fraction of
     * one. */
    const struct ram *ram = config->ram;
    struct kvm_userspace_memory_region slot = {
        .guest_phys_addr = ram->base,
        .memory_size = ram->size,
        .userspace_addr = (uintptr_t)ram->host,
    };
    if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) != 0)
        return failed(error, "use the guest memory");
    if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) != 0)
        return failed(error, "create the interrupt controllers");
    struct kvm_pit_config pit = {0};
    if (config->pit && ioctl(vm->fd, KVM_CREATE_PIT2, &pit) != 0)
        return failed(error, "create the interval timer (--pit)");
    struct kvm_enable_cap x2apic = {
        .cap = KVM_CAP_X2APIC_API,
        .args = {KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK},
    };
    if (ioctl(vm->fd, KVM_ENABLE_CAP, &x2apic) != 0)
        return failed(error, "provide an x2APIC");
    if (config->cpu_pm)
        disable_exits(vm);
    return 0;
}

static void kvm_vm_destroy(struct accel_vm *vm)
{
    /*
     * A size of 0 removes the memory. Done by itself it takes a third off the time that the end of
     * a short-lived VM takes (16 ms on the development machine), which closing it spends waiting
     * for the kernel's readers.
     */
    struct kvm_userspace_memory_region slot = {0};

    if (vm->fd >= 0)
        ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot);
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->zeros)
        munmap(vm->zeros, vm->zeros_size);
    pthread_mutex_destroy(&vm->ring_lock);
    pthread_mutex_destroy(&vm->lines_lock);
    free(vm);
}

static int kvm_vm_create(struct accel_host *host, const struct accel_vm_config *config,
                         struct accel_vm **result, struct uhyve_error *error)
{
    struct accel_vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    vm->host = host;
    vm->fd = -1;
    vm->log = config->log;
    pthread_mutex_init(&vm->ring_lock, NULL);
    pthread_mutex_init(&vm->lines_lock, NULL);
    int err = set_up(vm, config, error);
    if (err)
        kvm_vm_destroy(vm);
    else
        *result = vm;
    return err;
}

static void kvm_vm_coalesce_io(struct accel_vm *vm, uint16_t port, uint8_t size)
{
    struct kvm_coalesced_mmio_zone zone = {.addr = port, .size = size, .pio = 1};

    if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) <= 0)
        return;
    vm->coalesces_io = ioctl(vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone) == 0;
}

static void kvm_vm_map_zeros(struct accel_vm *vm, gpa_t start, uint64_t size)
{
    /* Only ever read, so all of it is the host's one page of zeros. */
    void *zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct kvm_userspace_memory_region slot = {
        .slot = 1,
        .flags = KVM_MEM_READONLY,
        .guest_phys_addr = start,
        .memory_size = size,
        .userspace_addr = (uintptr_t)zeros,
    };
    if (zeros == MAP_FAILED)
        return;
    if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) != 0) {
        munmap(zeros, size);
        return;
    }
    vm->zeros = zeros;
    vm->zeros_size = size;
}

/*
 * By default lines 0 to 15 also lead to the 8259, which would interrupt with vectors of its own a
 * kernel that has not masked it. Only the interval timer needs that.
 */
static int route_lines(struct accel_vm *vm)
{
    /* A struct kvm_irq_routing with its entries. */
    struct {
        uint32_t nr, flags;
        struct kvm_irq_routing_entry entries[KVM_IOAPIC_NUM_PINS + 1];
    } routing = {.nr = KVM_IOAPIC_NUM_PINS + 1};

    for (unsigned i = 0; i <= KVM_IOAPIC_NUM_PINS; i++)
        routing.entries[i] = (struct kvm_irq_routing_entry){
            .gsi = i % KVM_IOAPIC_NUM_PINS,
            .type = KVM_IRQ_ROUTING_IRQCHIP,
            .u.irqchip = {.irqchip = i < KVM_IOAPIC_NUM_PINS ? KVM_IRQCHIP_IOAPIC
                                                             : KVM_IRQCHIP_PIC_MASTER,
                          .pin = i % KVM_IOAPIC_NUM_PINS},
        };
    return ioctl(vm->fd, KVM_SET_GSI_ROUTING, &routing) == 0 ? 0 : -errno;
}

static int kvm_vm_set_irq_line(struct accel_vm *vm, unsigned line, bool level)
{
    struct kvm_irq_level input = {.irq = line, .level = level};
    int err = 0;

    if (line >= KVM_IOAPIC_NUM_PINS)
        return -EINVAL;
    pthread_mutex_lock(&vm->lines_lock);
    if (!vm->lines_routed)
        err = route_lines(vm);
    vm->lines_routed = !err;
    pthread_mutex_unlock(&vm->lines_lock);
    if (err)
        return err;
    return ioctl(vm->fd, KVM_IRQ_LINE, &input) == 0 ? 0 : -errno;
}

static int kvm_vm_notify_write(struct accel_vm *vm, gpa_t gpa, int event_fd)
{
    struct kvm_ioeventfd event = {.addr = gpa, .len = 2, .fd = event_fd};

    return ioctl(vm->fd, KVM_IOEVENTFD, &event) == 0 ? 0 : -errno;
}

const struct accel accel_kvm = {
    .name = "kvm",
    .calls = kvm_calls,
    .line_calls = kvm_line_calls,
    .host_open = kvm_host_open,
    .host_close = kvm_host_close,
    .vm_create = kvm_vm_create,
    .vm_destroy = kvm_vm_destroy,
    .vm_coalesce_io = kvm_vm_coalesce_io,
    .vm_map_zeros = kvm_vm_map_zeros,
    .vcpu_create = kvm_vcpu_create,
    .vcpu_destroy = kvm_vcpu_destroy,
    .vcpu_run = kvm_vcpu_run,
    .vcpu_kick = kvm_vcpu_kick,
    .vcpu_get_state = kvm_vcpu_get_state,
    .vcpu_set_state = kvm_vcpu_set_state,
    .vcpu_tsc_khz = kvm_vcpu_tsc_khz,
    .vm_set_irq_line = kvm_vm_set_irq_line,
    .vcpu_set_debug = kvm_vcpu_set_debug,
    .vcpu_inject_breakpoint = kvm_vcpu_inject_breakpoint,
    .vcpu_get_xsave = kvm_vcpu_get_xsave,
    .vcpu_set_xsave = kvm_vcpu_set_xsave,
    .vm_notify_write = kvm_vm_notify_write,
};
