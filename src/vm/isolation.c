/*
 * What the VMM needs while a guest runs, collected for the sandbox (sandbox/sandbox.h has the
 * theory): which system calls, which files.
 */
#include <errno.h>
#include <stdlib.h>

#include "console/sink.h"
#include "fs/files.h"
#include "sandbox/sandbox.h"
#include "util/error.h"
#include "vm/vm.h"

/*
 * The system calls of each module, and when it makes them. A module that makes system calls while a
 * guest runs lists them in its own source file and has a line here; what the C library does for
 * everyone (sandbox/runtime.c) is always permitted.
 */
static const struct {
    const struct sandbox_call *calls;
    bool (*needed)(const struct uhyve_vm *vm); /* NULL: in every run */
} call_lists[] = {
    {vcpu_calls, NULL},
    {image_calls, NULL},
    {sink_calls, NULL},
    {files_calls, NULL},
};

#define CALL_LISTS (sizeof call_lists / sizeof *call_lists)

/* The places that files are opened, created and removed in while a guest runs. */
struct path_list {
    struct sandbox_path *items;
    size_t count, capacity;
    bool failed; /* out of memory */
};

static void add_path(struct path_list *list, int fd, const char *name, unsigned rights)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 16;
        struct sandbox_path *items = reallocarray(list->items, capacity, sizeof *items);
        if (!items) {
            list->failed = true;
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = (struct sandbox_path){fd, name, rights};
}

/*
 * What was mapped. A right to create or remove an entry is one to its directory and, since Landlock
 * knows no other, everything beneath: so a single file that the guest may remove, or that does not
 * exist yet, opens more than itself (docs/security.md).
 */
static void add_root(struct path_list *list, const struct host_root_view *root)
{
    const unsigned all = SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE | SANDBOX_REMOVE;

    switch (root->kind) {
    case HOST_ROOT_DIRECTORY:
        add_path(list, root->fd, NULL, root->read_only ? SANDBOX_READ : all);
        break;
    case HOST_ROOT_FILE:
        add_path(list, root->fd, root->name, SANDBOX_READ | (root->read_only ? 0 : SANDBOX_WRITE));
        if (!root->read_only)
            add_path(list, root->fd, NULL, SANDBOX_REMOVE);
        break;
    case HOST_ROOT_MISSING:
        if (!root->read_only)
            add_path(list, root->fd, NULL, all);
        break;
    }
}

static void collect_paths(struct uhyve_vm *vm, struct path_list *list)
{
    struct host_root_view root;
    size_t position = 0;

    while (filemap_next_root(files_map(vm->files), &position, &root))
        add_root(list, &root);
    add_path(list, files_temp_fd(vm->files), NULL,
             SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE | SANDBOX_REMOVE);
    add_path(list, files_temp_parent(vm->files), NULL, SANDBOX_REMOVE_DIR);
}

int vm_isolate(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct uhyve_params *params = &vm->params;
    const struct sandbox_call *calls[CALL_LISTS + 2];
    struct path_list paths = {0};
    struct sandbox sandbox = {
        .isolation = params->isolation,
        .filter = params->filter_calls,
        .change_user = params->change_user,
        .uid = params->uid,
        .gid = params->gid,
        .calls = calls,
        .peer = vm->accel->vm_process ? vm->accel->vm_process(vm->machine) : 0,
    };

    for (size_t i = 0; i < CALL_LISTS; i++)
        if (!call_lists[i].needed || call_lists[i].needed(vm))
            calls[sandbox.call_list_count++] = call_lists[i].calls;
    calls[sandbox.call_list_count++] = vm->accel->calls;
    if (vm->devices.net)
        calls[sandbox.call_list_count++] = virtio_net_calls(vm->devices.net);
    collect_paths(vm, &paths);
    sandbox.files = (struct landlock_domain){
        .paths = paths.items,
        .path_count = paths.count,
        .signal_others = sandbox.peer != 0,
    };
    int err = paths.failed ? error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory")
                           : sandbox_enter(&sandbox, &vm->log, error);
    free(paths.items);
    return err;
}
