/*
 * Hermit images: an archive that has the kernel in it, beside what it is to be given and files for
 * the application (spec/files.md section 6).
 */
#include "util/error.h"
#include "vm/vm.h"

int vm_unpack_image(struct uhyve_vm *vm, struct uhyve_error *error)
{
    struct hermit_image *hermit = &vm->hermit;
    enum unpack_format format;

    int err = unpack_detect(&vm->image, &format, error);
    if (err || format == UNPACK_UNKNOWN)
        return err;
    err = hermit_image_read(hermit, &vm->image, format, vm->params.image_limit, &vm->log, error);
    if (!err)
        err = hermit_input_apply(&vm->hermit_input, &hermit->config, &vm->params, &vm->log, error);
    if (err)
        return err;
    log_info(&vm->log, "'%s' is a Hermit image: %zu files, %zu bytes in %s format, kernel '%s'",
             vm->params.image, hermit->files.count, hermit->tar_size, unpack_format_name(format),
             hermit->kernel->name);
    image_close(&vm->image);
    image_from_memory(&vm->image, hermit->kernel_path, hermit->kernel->data, hermit->kernel->size);
    return 0;
}

int vm_map_image_files(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct tarball *files = &vm->hermit.files;
    int err = 0;

    if (vm->params.image_mode != UHYVE_IMAGE_EXTERNAL)
        return 0;
    for (size_t i = 0; i < files->count && !err; i++)
        err = filemap_add_bytes(files_map(vm->files), files->files[i].name, files->files[i].data,
                                files->files[i].size, error);
    return err;
}

uint64_t vm_archive_size(const struct uhyve_vm *vm)
{
    return vm->params.image_mode == UHYVE_IMAGE_INTERNAL ? vm->hermit.tar_size : 0;
}

void vm_free_image(struct uhyve_vm *vm)
{
    hermit_input_free(&vm->hermit_input);
    hermit_image_free(&vm->hermit);
}
