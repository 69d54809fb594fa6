/*
 * Figures of a run (spec/cli.md section 7).
 */
#include <stdlib.h>
#include <sys/resource.h>

#include "vm/vm.h"

static const char *const other_names[COUNT_OTHERS] = {
    [COUNT_IO_READ] = "PCIRead",       [COUNT_IO_WRITE] = "PCIWrite",
    [COUNT_IO_QUEUED] = "QueuedWrite", [COUNT_MMIO_READ] = "MMIORead",
    [COUNT_MMIO_WRITE] = "MMIOWrite",  [COUNT_HALT] = "Hlt",
    [COUNT_SHUTDOWN] = "Shutdown",     [COUNT_INTERRUPTED] = "Interrupted",
};

const char *vm_counter_name(unsigned counter)
{
    if (counter >= COUNT_HYPERCALLS_MAX)
        return other_names[counter - COUNT_HYPERCALLS_MAX];
    return counter < hypercall_count() ? hypercall_name(counter) : NULL;
}

/* One row for each kind of exit that occurred. */
static size_t fill_rows(struct uhyve_vm *vm)
{
    size_t rows = 0;

    for (unsigned counter = 0; counter < COUNTERS; counter++) {
        uint64_t *per_cpu = vm->row_counts + rows * vm->params.cpu_count;
        uint64_t total = 0;
        if (!vm_counter_name(counter))
            continue;
        for (unsigned i = 0; i < vm->params.cpu_count; i++) {
            per_cpu[i] = atomic_load_explicit(&vm->vcpus[i].count[counter], memory_order_relaxed);
            total += per_cpu[i];
        }
        if (total)
            vm->rows[rows++] = (struct uhyve_exit_count){vm_counter_name(counter), total, per_cpu};
    }
    return rows;
}

static uint64_t since_creation(const struct uhyve_vm *vm, uint64_t time)
{
    return time ? time - vm->created_at : 0;
}

void uhyve_get_stats(struct uhyve_vm *vm, struct uhyve_stats *stats)
{
    struct rusage usage;

    for (unsigned i = 0; i < vm->params.cpu_count; i++)
        vm->run_ns[i] = atomic_load(&vm->vcpus[i].run_ns);
    getrusage(RUSAGE_SELF, &usage);
    *stats = (struct uhyve_stats){
        .accel = vm->accel->name,
        .cpu_count = vm->params.cpu_count,
        .create_ns = vm->create_ns,
        .load_ns = vm->load_ns,
        .first_ns = since_creation(vm, atomic_load(&vm->first_at)),
        .exit_ns = since_creation(vm, atomic_load(&vm->ended_at)),
        .cpu_run_ns = vm->run_ns,
        .exits = vm->rows,
        .exit_count = fill_rows(vm),
        .peak_memory = (uint64_t)usage.ru_maxrss * 1024,
        .has_net = vm->devices.net != NULL,
    };
    if (stats->has_net)
        virtio_net_get_stats(vm->devices.net, &stats->net);
}
