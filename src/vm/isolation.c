/*
 * What the VMM needs while a guest runs, collected for the sandbox (sandbox/sandbox.h has the
 * theory): which system calls, which files.
 */
#include <errno.h>
#include <stdlib.h>

#include "console/sink.h"
#include "debug/core_dump.h"
#include "debug/gdb/listen.h"
#include "fs/files.h"
#include "fs/keeper.h"
#include "sandbox/runtime.h"
#include "sandbox/sandbox.h"
#include "util/error.h"
#include "vm/debugger.h"
#include "vm/vm.h"

static bool is_debugged(const struct uhyve_vm *vm, const struct sandbox_call *calls)
{
    return vm->debugger != NULL;
}

static bool has_kept_files(const struct uhyve_vm *vm, const struct sandbox_call *calls)
{
    return files_are_kept(vm->files);
}

static bool dumps_core(const struct uhyve_vm *vm, const struct sandbox_call *calls)
{
    return vm->params.crash_dump_fd >= 0;
}

static bool is_accelerator(const struct uhyve_vm *vm, const struct sandbox_call *calls)
{
    return vm->accel->calls == calls;
}

static bool is_network(const struct uhyve_vm *vm, const struct sandbox_call *calls)
{
    return vm->devices.net && virtio_net_calls(vm->devices.net) == calls;
}

/*
 * The system calls of each module, and when it makes them. A module that makes system calls while a
 * guest runs lists them in its own source file and has a line here; the build makes the filter of
 * it (sandbox/generate.c).
 */
static const struct {
    const struct sandbox_call *calls;
    /* NULL: in every run. Of the others there may be sixteen. */
    bool (*needed)(const struct uhyve_vm *vm, const struct sandbox_call *calls);
} call_lists[] = {
    {runtime_calls, NULL},
    {vcpu_calls, NULL},
    {signals_calls, NULL},
    {image_calls, NULL},
    {sink_calls, NULL},
    {files_calls, NULL},
    {keeper_calls, has_kept_files},
    {core_dump_calls, dumps_core},
    {debugger_calls, is_debugged},
    {gdb_listen_calls, is_debugged},
    {kvm_calls, is_accelerator},
    {direct_calls, is_accelerator},
    {tap_calls, is_network},
    {socket_calls, is_network},
    {user_slirp_calls, is_network},
};

#define CALL_LISTS (sizeof call_lists / sizeof *call_lists)

const struct sandbox_call *vm_call_list(size_t index, uint16_t *bit)
{
    uint32_t next = 1;

    if (index >= CALL_LISTS)
        return NULL;
    for (size_t i = 0; i < index; i++)
        if (call_lists[i].needed)
            next <<= 1;
    *bit = call_lists[index].needed ? (uint16_t)next : 0;
    return call_lists[index].calls;
}

static uint16_t used_lists(const struct uhyve_vm *vm)
{
    uint16_t used = 0, bit;

    for (size_t i = 0; i < CALL_LISTS; i++) {
        const struct sandbox_call *calls = vm_call_list(i, &bit);
        if (bit && call_lists[i].needed(vm, calls))
            used |= bit;
    }
    return used;
}

/* The places that files are opened, created and removed in while a guest runs. */
struct path_list {
    struct sandbox_path *items;
    size_t count, capacity;
    bool failed; /* out of memory */
};

static void add_path(struct path_list *list, int fd, const char *name, unsigned rights,
                     const char *shown)
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
    list->items[list->count++] = (struct sandbox_path){fd, name, rights, shown};
}

/* What was mapped. What could be expressed only as a right to the directory that it is in is kept
 * by another process (fs/keeper.h). */
static void add_root(struct path_list *list, const struct host_root_view *root)
{
    unsigned rights = SANDBOX_READ | (root->read_only ? 0 : SANDBOX_WRITE);

    if (root->kept)
        return;
    if (root->kind == HOST_ROOT_FILE)
        add_path(list, root->fd, root->name, rights, root->path);
    else if (root->kind == HOST_ROOT_DIRECTORY && root->read_only)
        add_path(list, root->fd, NULL, rights, root->path);
    else if (!root->read_only)
        add_path(list, root->fd, NULL, rights | SANDBOX_CREATE | SANDBOX_REMOVE, root->path);
}

static void collect_paths(struct uhyve_vm *vm, struct path_list *list)
{
    struct host_root_view root;
    size_t position = 0;

    while (filemap_next_root(files_map(vm->files), &position, &root))
        add_root(list, &root);
    add_path(list, files_temp_fd(vm->files), NULL,
             SANDBOX_READ | SANDBOX_WRITE | SANDBOX_CREATE | SANDBOX_REMOVE, NULL);
    add_path(list, files_temp_parent(vm->files), NULL, SANDBOX_REMOVE_DIR, NULL);
    /* Name servers: libslirp looks again when that changes. */
    if (vm->params.net.kind == UHYVE_NET_USER)
        add_path(list, -1, "/etc/resolv.conf", SANDBOX_READ, NULL);
}

/* The keeper is started between the two: without privileges, but not restricted yet. */
static int enter(struct uhyve_vm *vm, struct sandbox *sandbox, struct path_list *paths,
                 struct uhyve_error *error)
{
    bool restricted = vm->params.isolation == UHYVE_ISOLATION_NORMAL ||
                      vm->params.isolation == UHYVE_ISOLATION_STRICT;

    collect_paths(vm, paths);
    sandbox->files.paths = paths->items;
    sandbox->files.path_count = paths->count;
    int err = paths->failed ? -ENOMEM : sandbox_drop_privileges(sandbox, &vm->log, error);
    if (!err && restricted && landlock_abi() > 0)
        err = files_keep(vm->files, error);
    if (err)
        return err;
    paths->count = 0;
    collect_paths(vm, paths);
    sandbox->files.paths = paths->items;
    sandbox->files.path_count = paths->count;
    sandbox->call_lists = used_lists(vm);
    return paths->failed ? -ENOMEM : sandbox_enter(sandbox, &vm->log, error);
}

int vm_isolate(struct uhyve_vm *vm, struct uhyve_error *error)
{
    const struct uhyve_params *params = &vm->params;
    struct path_list paths = {0};
    struct sandbox sandbox = {
        .isolation = params->isolation,
        .filter = params->filter_calls,
        .change_user = params->change_user,
        .uid = params->uid,
        .gid = params->gid,
        .calls = &vm_filter,
        .peer = vm->accel->vm_process ? vm->accel->vm_process(vm->machine) : 0,
    };
    sandbox.files.signal_others = sandbox.peer != 0;
    sandbox.files.tcp = params->net.kind == UHYVE_NET_USER;

    int err = enter(vm, &sandbox, &paths, error);
    if (paths.failed)
        error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    free(paths.items);
    return err;
}
