/*
 * The life of a virtual machine, in the order in which it happens:
 *
 *     uhyve_create   parameters -> image -> files -> layout -> accelerator -> RAM -> console
 *                    -> machine
 *     uhyve_run      isolation -> vCPUs, kernel and boot structures -> run -> collect the end
 *     uhyve_destroy  release, in reverse
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "boot/boot_info.h"
#include "boot/fdt.h"
#include "hermit/hypercall.h"
#include "util/error.h"
#include "vm/debugger.h"
#include "vm/vm.h"

uint64_t vm_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

const char *uhyve_version(void)
{
    return UHYVE_VERSION;
}

static void log_image(const struct uhyve_vm *vm)
{
    const struct elf *elf = &vm->elf;

    if (!elf->standalone_osabi)
        log_warn(&vm->log,
                 "image '%s' is not marked as a standalone program: it may not be a Hermit kernel",
                 vm->params.image);
    if (elf->version.known)
        log_info(&vm->log, "loading a Hermit v%u.%u.%u kernel with hypercall interface %u",
                 elf->version.major, elf->version.minor, elf->version.patch, elf->interface);
    else
        log_info(&vm->log, "loading a pre Hermit v0.10.0 kernel with hypercall interface %u",
                 elf->interface);
}

static int allocate(struct uhyve_vm *vm, struct uhyve_error *error)
{
    size_t cpus = vm->params.cpu_count;

    vm->vcpus = calloc(cpus, sizeof *vm->vcpus);
    vm->row_counts = calloc(cpus * COUNTERS, sizeof *vm->row_counts);
    vm->run_ns = calloc(cpus, sizeof *vm->run_ns);
    if (!vm->vcpus || !vm->row_counts || !vm->run_ns)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    for (unsigned i = 0; i < cpus; i++) {
        vm->vcpus[i].vm = vm;
        vm->vcpus[i].index = i;
    }
    vm->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (vm->stop_fd < 0) {
        int err = errno;
        return error_set(error, UHYVE_STATUS_FAILED, err, "cannot create an event: %s (%s)",
                         strerror(err), error_remedy_of_call(err, "is there enough memory?"));
    }
    return 0;
}

/*
 * Early kernels without support for several CPUs still let every CPU run into them, and a CPU that
 * has no data of its own yet uses what is at address 0. That goes well where there is memory.
 */
static bool is_address_random(const struct uhyve_vm *vm)
{
    bool early = !elf_version_at_least(&vm->elf.version, 0, 10, 0);

    return vm->params.aslr && !(early && vm->params.cpu_count > 1);
}

/* What the image is, what it is to be given, and where that goes in its memory. */
static int plan(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct uhyve_params *params = &vm->params;

    int err = image_open(&vm->image, params->image, error);
    if (!err)
        err = vm_unpack_image(vm, error);
    if (!err)
        err = elf_read(&vm->image, &vm->elf, error);
    if (err)
        return err;
    log_image(vm);

    err = vm_devices_check(vm, error);
    if (!err)
        err = vm_args_init(vm, error);
    if (!err)
        err = vm_files_init(vm, error);
    if (!err)
        err = layout_choose(&vm->layout, &vm->elf, params->image, params->memory_size,
                            fdt_size_bound(params->cpu_count, vm->bootargs.size, vm->mounts.size),
                            is_address_random(vm) ? layout_random : NULL, &vm->log, error);
    return err ? err : layout_add_archive(&vm->layout, params->image, vm_archive_size(vm), error);
}

static int make_machine(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct uhyve_params *params = &vm->params;
    const struct ram_options ram_options = {
        .thp = params->thp, .ksm = params->ksm, .shared = vm->accel->shared_ram};
    const struct accel_vm_config config = {
        .ram = &vm->ram,
        .cpu_count = params->cpu_count,
        .cpu_pm = params->cpu_pm,
        .pit = params->pit,
        .debugged = params->gdb,
        .change_user = params->change_user,
        .uid = params->uid,
        .gid = params->gid,
        .log = &vm->log,
    };

    log_debug(&vm->log, "RAM at 0x%llx, device tree 0x%llx, stack 0x%llx, kernel 0x%llx-0x%llx",
              (unsigned long long)vm->layout.ram_base, (unsigned long long)vm->layout.fdt,
              (unsigned long long)vm->layout.stack, (unsigned long long)vm->layout.kernel_start,
              (unsigned long long)vm->layout.kernel_end);
    int err = ram_alloc(&vm->ram, vm->layout.ram_base, vm->layout.ram_size, &ram_options, error);
    if (!err)
        err = console_create(&vm->console, params, vm->stop_fd, &vm->log, error);
    if (!err)
        err = vm->accel->vm_create(vm->chosen.host, &config, &vm->machine, error);
    if (!err)
        err = vm_devices_create(vm, error);
    if (!err && vm->accel->vm_delay_io)
        vm->accel->vm_delay_io(vm->machine, HERMIT_V1_UART);
    return err;
}

static int create(struct uhyve_vm *vm, struct uhyve_error *error)
{
    int err = allocate(vm, error);
    if (!err)
        err = plan(vm, error);
    if (!err)
        err = accel_select(vm->params.accel, &vm->log, &vm->chosen, error);
    if (err)
        return err;
    vm->accel = vm->chosen.accel;
    err = make_machine(vm, error);
    if (err)
        return err;
    vm->hypercalls.ram = &vm->ram;
    vm->hypercalls.log = &vm->log;
    vm->hypercalls.console = vm->console;
    vm->hypercalls.files = vm->files;
    /* Once the VM is isolated no code can be loaded any more. */
    vm->disassembler = disassembler_open();
    err = vm_trace_open(vm, error);
    return err ? err : vm_profile_open(vm, error);
}

int uhyve_create(const struct uhyve_params *params, struct uhyve_vm **result,
                 struct uhyve_error *error)
{
    uint64_t start = vm_now();

    *result = NULL;
    int err = vm_check_params(params, error);
    if (err)
        return err;
    struct uhyve_vm *vm = calloc(1, sizeof *vm);
    if (!vm)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    vm->params = *params;
    vm->log = (struct log){params->message, params->message_context, params->message_level};
    vm->stop_fd = -1;
    vm->created_at = start;
    pthread_mutex_init(&vm->lock, NULL);
    pthread_cond_init(&vm->changed, NULL);
    struct vm_signals signals;
    signals_enter(&signals);
    err = create(vm, error);
    if (!err)
        err = debugger_create(vm, error);
    signals_leave(&signals);
    vm->create_ns = vm_now() - start;
    if (err) {
        vm_devices_discard(vm);
        uhyve_destroy(vm);
    } else {
        *result = vm;
    }
    return err;
}

static int read_kernel_file(const void *context, uint64_t offset, void *to, size_t size)
{
    struct uhyve_error ignored;
    return image_read(context, offset, to, size, "contents", &ignored);
}

/* Some accelerators prepare the kernel's code before it runs. */
static int announce_kernel(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct accel_kernel kernel = {
        .start = vm->layout.kernel_start,
        .size = vm->elf.size,
        .vaddr = vm->elf.start,
        .read = read_kernel_file,
        .context = &vm->image,
        .file_size = vm->image.size,
    };
    return vm->accel->vm_kernel_loaded ? vm->accel->vm_kernel_loaded(vm->machine, &kernel, error)
                                       : 0;
}

/* Kernel, descriptor tables and page tables. */
static int load(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct layout *layout = &vm->layout;
    uint8_t *kernel = ram_at(&vm->ram, layout->kernel_start, vm->elf.size);

    int err = elf_load(&vm->elf, &vm->image, kernel, layout->kernel_start, error);
    if (err)
        return err;
    err = announce_kernel(vm, error);
    if (err)
        return err;
    if (layout->archive_size)
        ram_write(&vm->ram, layout->archive, vm->hermit.tar, layout->archive_size);
    bool legacy = !elf_version_at_least(&vm->elf.version, 0, 10, 0);
    err = x86_boot_prepare(&vm->ram, layout, legacy);
    if (err)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, -err,
                         "image '%s' is too large for the page tables a guest starts with",
                         vm->params.image);
    return 0;
}

/* What the kernel reads about its machine; needs a vCPU for the clock frequency. */
static int describe(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct layout *layout = &vm->layout;
    const struct fdt_content content = {
        .ram_base = layout->ram_base,
        .ram_size = layout->ram_size,
        .cpu_count = vm->params.cpu_count,
        .tsc_khz = vm->accel->vcpu_tsc_khz(vm->vcpus[0].accel),
        .bootargs = vm->bootargs.data,
        .mounts = vm->mounts.data,
        .mounts_size = vm->mounts.size,
        .archive = layout->archive,
        .archive_size = layout->archive_size,
    };
    const struct boot_facts facts = {
        .layout = layout,
        .elf = &vm->elf,
        .cpu_count = content.cpu_count,
        .tsc_khz = content.tsc_khz,
        .has_pci = vm->devices.net != NULL,
    };
    struct hermit_boot_info info;

    boot_info_fill(&info, &facts);
    ram_write(&vm->ram, layout->boot_info, &info, sizeof info);
    int err = fdt_write(ram_at(&vm->ram, layout->fdt, layout->fdt_capacity), layout->fdt_capacity,
                        &content);
    if (err)
        return error_set(error, UHYVE_STATUS_FAILED, -err,
                         "the device tree does not hold the arguments, the environment and the "
                         "mounts (pass less of them)");
    return 0;
}

static int prepare(struct uhyve_vm *vm, struct uhyve_error *error)
{
    /* From here on the rights that the caller had are gone. */
    int err = vm_isolate(vm, error);
    if (!err && vm->accel->vm_start_threads)
        err = vm->accel->vm_start_threads(vm->machine, error);
    if (!err)
        err = vcpus_start(vm, error);
    uint64_t start = vm_now();
    if (!err)
        err = load(vm, error);
    vm->load_ns = vm_now() - start;
    if (!err)
        err = vm_devices_start(vm, error);
    if (!err)
        err = vcpus_create_first(vm, error);
    if (!err)
        err = vcpus_wait_ready(vm, error);
    if (!err)
        err = describe(vm, error);
    if (!err)
        err = vm_profile_start(vm, error);
    if (!err)
        err = debugger_start(vm, error);
    return err;
}

static void fill_result(struct uhyve_vm *vm, struct uhyve_result *result)
{
    size_t dropped = 0;
    const char *kernel_log = console_kernel_log(vm->console, &dropped);

    *result = (struct uhyve_result){
        .outcome = vm->ended ? vm->outcome : UHYVE_STOPPED,
        .exit_code = vm->exit_code,
        .kernel_log = kernel_log,
        .kernel_log_dropped = dropped,
        .output_error = console_error(vm->console),
    };
    if (result->outcome == UHYVE_CRASHED)
        result->report = vm_report_crash(vm);
    else if (result->outcome == UHYVE_EXITED && vm->exit_code != 0)
        result->report = vm_report_exit(vm);
    if (result->report)
        vm_dump_core(vm);
}

static int run(struct uhyve_vm *vm, struct uhyve_result *result, struct uhyve_error *error)
{
    /* A guest that is to be stopped before it started does not start. */
    int err = atomic_load(&vm->stopping) ? 0 : prepare(vm, error);
    if (err || atomic_load(&vm->stopping))
        vcpus_abort(vm);
    else
        vcpus_run(vm);
    debugger_finish(vm);
    vm_devices_stop(vm);
    if (err) {
        vm_devices_discard(vm);
        return err;
    }
    if (!atomic_load(&vm->ended_at))
        atomic_store(&vm->ended_at, vm_now());
    vm_trace_finish(vm);
    vm_profile_finish(vm);
    fill_result(vm, result);
    return 0;
}

int uhyve_run(struct uhyve_vm *vm, struct uhyve_result *result, struct uhyve_error *error)
{
    struct vm_signals signals;

    if (vm->ran)
        return error_set(error, UHYVE_STATUS_FAILED, EINVAL,
                         "a virtual machine can be run only once");
    vm->ran = true;
    signals_enter(&signals);
    int err = run(vm, result, error);
    signals_leave(&signals);
    return err;
}

void vm_end(struct uhyve_vm *vm, enum uhyve_outcome outcome, int exit_code,
            const struct vm_crash *crash)
{
    pthread_mutex_lock(&vm->lock);
    if (!vm->ended) {
        vm->ended = true;
        vm->outcome = outcome;
        vm->exit_code = exit_code;
        if (crash)
            vm->crash = *crash;
        atomic_store(&vm->ended_at, vm_now());
    }
    pthread_mutex_unlock(&vm->lock);
    uhyve_stop(vm);
}

void uhyve_stop(struct uhyve_vm *vm)
{
    /* Called from signal handlers. The write cannot fail other than by the event being set already.
     */
    int saved = errno;
    /* First, so that a thread whose wait is ended by the event does not enter the guest again: the
     * guest would see a call fail that never should. In one order with running_tid, or a vCPU that
     * is about to run might miss the flag and the kick. */
    atomic_store(&vm->stopping, true);
    ssize_t ignored = write(vm->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)ignored;
    /* The other vCPUs are kicked by the thread that runs this one, when it has left the guest. */
    vcpu_kick(&vm->vcpus[0]);
    errno = saved;
}

void uhyve_destroy(struct uhyve_vm *vm)
{
    if (!vm)
        return;
    for (unsigned i = 0; vm->vcpus && i < vm->params.cpu_count; i++) {
        if (vm->vcpus[i].accel)
            vm->accel->vcpu_destroy(vm->vcpus[i].accel);
        free(vm->vcpus[i].core);
    }
    debugger_destroy(vm);
    vm_devices_destroy(vm);
    if (vm->machine)
        vm->accel->vm_destroy(vm->machine);
    accel_release(&vm->chosen);
    vm_trace_close(vm);
    vm_profile_close(vm);
    disassembler_close(vm->disassembler);
    console_destroy(vm->console);
    vm_files_free(vm);
    ram_free(&vm->ram);
    vm_args_free(vm);
    image_close(&vm->image);
    vm_free_image(vm);
    if (vm->stop_fd >= 0)
        close(vm->stop_fd);
    text_free(&vm->report);
    free(vm->run_ns);
    free(vm->row_counts);
    free(vm->vcpus);
    pthread_cond_destroy(&vm->changed);
    pthread_mutex_destroy(&vm->lock);
    free(vm);
}
