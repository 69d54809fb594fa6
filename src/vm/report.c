/*
 * The crash report of a VM: what the vCPU thread noted, seen with the image's symbols.
 */
#include <errno.h>
#include <stdlib.h>

#include "arch/x86_64/paging.h"
#include "debug/crash.h"
#include "util/error.h"
#include "vm/vm.h"

/* Larger images are reported without function names: reading them would take too long. */
#define IMAGE_MAX (UINT64_C(512) << 20)

static bool read_guest(void *context, gva_t address, void *to, size_t size)
{
    const struct uhyve_vm *vm = context;
    uint8_t *destination = to;

    while (size) {
        gpa_t gpa;
        uint64_t part;
        if (!paging_translate(&vm->ram, vm->crash.state.cr3, address, &gpa, &part))
            return false;
        part = part < size ? part : size;
        if (!ram_read(&vm->ram, gpa, destination, part))
            return false;
        if (vm->accel->vm_original_code)
            vm->accel->vm_original_code(vm->machine, gpa, destination, part);
        destination += part;
        address += part;
        size -= part;
    }
    return true;
}

/* The image's file; NULL, with *error filled, if it cannot be read: a report without names is
 * better than none. */
static void *read_image(const struct uhyve_vm *vm, struct uhyve_error *error)
{
    uint64_t size = vm->image.size;

    if (size > IMAGE_MAX) {
        error_set(error, UHYVE_STATUS_FAILED, EFBIG, "image '%s' is larger than 512 MiB",
                  vm->params.image);
        return NULL;
    }
    void *data = malloc(size);
    if (!data)
        error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    else if (image_read(&vm->image, 0, data, size, "contents", error) != 0) {
        free(data);
        data = NULL;
    }
    return data;
}

bool vm_read_symbols(const struct uhyve_vm *vm, struct symbols *symbols, struct uhyve_error *error)
{
    void *data = read_image(vm, error);
    bool read = data != NULL;

    *symbols = (struct symbols){0};
    if (read)
        symbols_read(symbols, data, vm->image.size);
    free(data);
    return read;
}

/* Make the report; `crash` holds what is particular to the case. */
static const char *make_report(struct uhyve_vm *vm, struct crash *crash, const char *log)
{
    struct symbols symbols = {0};
    struct unwind_tables unwind = {0};
    struct guest_view view = {
        .read = read_guest,
        .context = vm,
        .symbols = &symbols,
        .unwind = &unwind,
        .load_offset = vm->elf.relocatable ? vm->layout.kernel_start : 0,
        .kernel_start = vm->layout.kernel_start,
        .kernel_end = vm->layout.kernel_end,
    };

    crash->vcpu = vm->crash.vcpu;
    crash->registers_valid = vm->crash.state_valid;
    crash->state = &vm->crash.state;
    crash->view = &view;
    crash->ram = &vm->ram;
    crash->disassembler = vm->disassembler;
    crash->history = &vm->vcpus[vm->crash.vcpu].history;
    crash->log = log;
    void *image = read_image(vm, NULL);
    if (image) {
        symbols_read(&symbols, image, vm->image.size);
        unwind_open(&unwind, image, vm->image.size);
        view.file = image;
        view.file_size = vm->image.size;
    }
    crash_report(crash, &vm->report);
    symbols_free(&symbols);
    free(image);
    return vm->report.failed ? crash->cause : vm->report.data;
}

const char *vm_report_crash(struct uhyve_vm *vm)
{
    char log[RECENT_SIZE + 1];
    struct crash crash = {
        .cause = vm->crash.cause,
        .has_address = vm->crash.has_address,
        .address = vm->crash.address,
    };

    console_recent(vm->console, log);
    return make_report(vm, &crash, log);
}

const char *vm_report_exit(struct uhyve_vm *vm)
{
    char log[RECENT_SIZE + 1];
    struct text cause = {0};
    struct panic panic;

    panic_find(&panic, log, console_recent(vm->console, log));
    if (!panic.found)
        return NULL;
    panic_format(&panic, &cause);
    struct crash crash = {
        .cause = cause.failed ? panic.message : cause.data,
        .exited = true,
        .panic = &panic,
        .has_address = panic.has_address,
        .address = panic.address,
    };
    if (panic.has_rip) {
        /* Where the exception was rather than its handler. The other registers are the handler's.
         */
        vm->crash.state.rip = panic.rip;
        vm->crash.state.gpr[X86_RSP] = panic.rsp;
        vm->crash.state.gpr[X86_RBP] = vm->crash.state.gpr[X86_R12] = 0;
    }
    const char *report = make_report(vm, &crash, log);
    text_free(&cause);
    return vm->report.failed ? NULL : report;
}
