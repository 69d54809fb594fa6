/*
 * What the guest sees of the host's files: the file map and the mounts to announce.
 */
#include <errno.h>

#include "util/error.h"
#include "vm/vm.h"

int vm_files_init(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct files_options options = {
        .params = &vm->params,
        .confined = vm->params.isolation != UHYVE_ISOLATION_NONE,
        .stop_fd = vm->stop_fd,
        .log = &vm->log,
    };

    int err = files_create(&vm->files, &options, error);
    if (err)
        return err;
    filemap_list_mounts(files_map(vm->files), &vm->log, &vm->mounts);
    if (vm->mounts.failed)
        return error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    return 0;
}

void vm_files_free(struct uhyve_vm *vm)
{
    files_destroy(vm->files);
    text_free(&vm->mounts);
}
