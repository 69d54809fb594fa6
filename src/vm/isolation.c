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
#include "net/connector.h"
#include "net/pump.h"
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
    return vm->accel->calls == calls || vm->accel->line_calls == calls;
}

static bool is_network(const struct uhyve_vm *vm, const struct sandbox_call *calls)
{
    return vm->devices.net && virtio_net_calls(vm->devices.net) == calls;
}

static bool has_connector(const struct uhyve_vm *vm, const struct sandbox_call *calls)
{
    return vm->params.net.kind == UHYVE_NET_SOCKET;
}

struct call_list {
    const struct sandbox_call *calls;
    /* NULL: in every run. Of the others there may be sixteen. */
    bool (*needed)(const struct uhyve_vm *vm, const struct sandbox_call *calls);
};

/*
 * The system calls of each module, and when it makes them. A module that makes system calls while a
 * guest runs lists them in its own source file and has a line here; the build makes the filter of
 * it (sandbox/generate.c).
 */
static const struct call_list vm_lists[] = {
    {thread_calls, NULL},
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
    {connector_calls, has_connector},
};

/*
 * Those of a back end's thread (net/pump.h). It parses what comes from the network and from the
 * guest, and is the only one that may have to do with sockets: so it gets nothing else, and the
 * others no sockets.
 */
static const struct call_list network_lists[] = {
    {thread_calls, NULL},
    {pump_calls, NULL},
    {sink_calls, NULL}, /* --trace=net */
    {kvm_line_calls, is_accelerator},
    {direct_line_calls, is_accelerator},
    {socket_calls, is_network},
    {user_slirp_calls, is_network},
};

static const struct {
    const struct call_list *lists;
    size_t count;
} filters[] = {
    [VM_THREADS] = {vm_lists, sizeof vm_lists / sizeof *vm_lists},
    [VM_NETWORK_THREAD] = {network_lists, sizeof network_lists / sizeof *network_lists},
};

const struct sandbox_call *vm_call_list(enum vm_threads threads, size_t index, uint16_t *bit)
{
    const struct call_list *lists = filters[threads].lists;
    uint32_t next = 1;

    if (index >= filters[threads].count)
        return NULL;
    for (size_t i = 0; i < index; i++)
        if (lists[i].needed)
            next <<= 1;
    /* A seventeenth would be one of every run: rather let its calls be refused. */
    if (lists[index].needed && next > UINT16_MAX)
        return NULL;
    *bit = lists[index].needed ? (uint16_t)next : 0;
    return lists[index].calls;
}

static uint16_t used_lists(const struct uhyve_vm *vm, enum vm_threads threads)
{
    const struct sandbox_call *calls;
    uint16_t used = 0, bit;

    for (size_t i = 0; (calls = vm_call_list(threads, i, &bit)); i++)
        if (bit && filters[threads].lists[i].needed(vm, calls))
            used |= bit;
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
}

static bool restricts_files(const struct uhyve_vm *vm)
{
    return vm->params.isolation == UHYVE_ISOLATION_NORMAL ||
           vm->params.isolation == UHYVE_ISOLATION_STRICT;
}

static struct sandbox make_sandbox(const struct uhyve_vm *vm)
{
    const struct uhyve_params *params = &vm->params;
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
    return sandbox;
}

/* On the thread of a network's back end: no files, and other calls than for the rest of the VMM. */
static int confine_network(void *context, struct uhyve_error *error)
{
    const struct uhyve_vm *vm = context;
    struct sandbox sandbox = make_sandbox(vm);

    sandbox.quiet = true;
    sandbox.files.tcp = vm->params.net.kind == UHYVE_NET_USER;
    sandbox.calls = &network_filter;
    sandbox.call_lists = used_lists(vm, VM_NETWORK_THREAD);
    return sandbox_enter(&sandbox, &vm->log, error);
}

static int start_network(struct uhyve_vm *vm, struct uhyve_error *error)
{
    bool confined = restricts_files(vm) || vm->params.filter_calls;

    return vm->devices.net ? virtio_net_start_backend(vm->devices.net,
                                                      confined ? confine_network : NULL, vm, error)
                           : 0;
}

/* The keeper and the network's thread are started in between: without privileges, but not
 * restricted as the rest yet. */
static int enter(struct uhyve_vm *vm, struct sandbox *sandbox, struct path_list *paths,
                 struct uhyve_error *error)
{
    collect_paths(vm, paths);
    sandbox->files.paths = paths->items;
    sandbox->files.path_count = paths->count;
    int err = paths->failed ? -ENOMEM : sandbox_drop_privileges(sandbox, &vm->log, error);
    if (!err && restricts_files(vm) && landlock_abi() > 0)
        err = files_keep(vm->files, error);
    if (!err)
        err = start_network(vm, error);
    if (err)
        return err;
    paths->count = 0;
    collect_paths(vm, paths);
    sandbox->files.paths = paths->items;
    sandbox->files.path_count = paths->count;
    sandbox->call_lists = used_lists(vm, VM_THREADS);
    return paths->failed ? -ENOMEM : sandbox_enter(sandbox, &vm->log, error);
}

int vm_isolate(struct uhyve_vm *vm, struct uhyve_error *error)
{
    struct path_list paths = {0};
    struct sandbox sandbox = make_sandbox(vm);

    int err = enter(vm, &sandbox, &paths, error);
    if (paths.failed)
        error_set(error, UHYVE_STATUS_FAILED, ENOMEM, "out of memory");
    free(paths.items);
    return err;
}
