/*
 * The guest's devices: at most a network card, on a PCI bus that exists only with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util/error.h"
#include "vm/vm.h"

/* spec/devices.md sections 2.1 and 3.6 */
#define NET_BAR0           UINT64_C(0xfe000000)
#define NET_INTERRUPT_LINE 11

static void set_line(void *context, bool level)
{
    struct uhyve_vm *vm = context;
    int err = vm->accel->vm_set_irq_line(vm->machine, NET_INTERRUPT_LINE, level);
    bool last;

    if (err && log_limit_pass(&vm->lost_interrupts, &last))
        log_error(&vm->log, "an interrupt of the network card is lost: %s%s", strerror(-err),
                  last ? " (further ones are not reported)" : "");
}

#ifdef UHYVE_TRACE
static void trace(void *context, const char *text)
{
    struct uhyve_vm *vm = context;
    if (vm->trace && trace_selects_net(vm->trace))
        trace_net(vm->trace, text);
}
#define TRACE(vm) ((vm)->params.trace ? trace : NULL)
#else
#define TRACE(vm) NULL
#endif

/* Drivers of earlier kernels do not work with what is here (spec/boot.md sections 13 and 15). */
static int check_kernel(const struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct elf *elf = &vm->elf;

    if (!elf->version.known || elf->interface >= 2 || elf_version_at_least(&elf->version, 0, 13, 2))
        return 0;
    return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOTSUP,
                     "image '%s' has a Hermit v%u.%u.%u kernel, but a network requires kernel "
                     "0.13.2 or newer (build it with a newer kernel, or leave out --net)",
                     vm->params.image, elf->version.major, elf->version.minor, elf->version.patch);
}

/* Kernels since 2026 probe 1,024 PCI functions at every boot: let that cost as few exits as the
 * accelerator can manage. */
static void ease_probing(struct uhyve_vm *vm)
{
    if (!vm->devices.net && vm->accel->vm_ignore_io)
        vm->accel->vm_ignore_io(vm->machine, PCI_ADDRESS_PORT, PCI_DATA_PORT_LAST);
    if (vm->devices.net && vm->accel->vm_ignore_pci)
        vm->accel->vm_ignore_pci(vm->machine, PCI_ADDRESS_MASK, PCI_ADDRESS_VALUE);
    if (vm->elf.interface > 1 && vm->accel->vm_coalesce_io)
        vm->accel->vm_coalesce_io(vm->machine, PCI_ADDRESS_PORT, 4);
}

int vm_devices_check(struct uhyve_vm *vm, struct uhyve_error *error)
{
    return vm->params.net.kind == UHYVE_NET_NONE ? 0 : check_kernel(vm, error);
}

int vm_devices_create(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct virtio_net_config config = {
        .ram = &vm->ram,
        .log = &vm->log,
        .line = {set_line, vm},
        .interrupt_line = NET_INTERRUPT_LINE,
        .bar0 = NET_BAR0,
        .trace = TRACE(vm),
        .trace_context = vm,
    };
    struct net_backend *backend;

    if (vm->params.net.kind != UHYVE_NET_NONE) {
        int err = net_open(&vm->params.net, &vm->log, &backend, error);
        if (err)
            return err;
        vm->devices.captured = vm->params.net.dump != NULL;
        err = virtio_net_create(&config, backend, &vm->devices.net, error);
        if (err) {
            net_close(backend);
            return err;
        }
        vm->devices.bus.function = virtio_net_function(vm->devices.net);
        /* What the accelerator sets up for the first interrupt, it is to do now: later it may not.
         */
        err = vm->accel->vm_set_irq_line(vm->machine, NET_INTERRUPT_LINE, false);
        if (err)
            return error_set(error, UHYVE_STATUS_FAILED, -err,
                             "cannot set up the interrupt of the network card: %s", strerror(-err));
    }
    ease_probing(vm);
    return 0;
}

void vm_devices_discard(struct uhyve_vm *vm)
{
    if (vm->devices.captured)
        unlinkat(AT_FDCWD, vm->params.net.dump, 0); /* unlink is not for the sandbox */
    vm->devices.captured = false;
}

int vm_devices_start(struct uhyve_vm *vm, struct uhyve_error *error)
{
    return vm->devices.net ? virtio_net_start(vm->devices.net, error) : 0;
}

void vm_devices_stop(struct uhyve_vm *vm)
{
    if (vm->devices.net)
        virtio_net_stop(vm->devices.net);
}

void vm_devices_destroy(struct uhyve_vm *vm)
{
    virtio_net_destroy(vm->devices.net);
}

bool vm_device_io(struct uhyve_vm *vm, const struct accel_exit *exit)
{
    bool known = vm->devices.net != NULL;

    for (uint32_t i = 0; i < exit->io.count && known; i++)
        known = pci_io(&vm->devices.bus, exit->io.port, exit->io.size, exit->io.in,
                       exit->io.data + (size_t)i * exit->io.size);
    return known;
}

bool vm_device_memory(struct uhyve_vm *vm, const struct accel_exit *exit)
{
    return pci_memory(&vm->devices.bus, exit->mmio.gpa, exit->mmio.size, exit->mmio.write,
                      exit->mmio.data);
}
