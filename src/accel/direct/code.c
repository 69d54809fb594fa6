/*
 * Patching guest code before it runs (patch/): the kernel as a whole when it has been loaded, with
 * trampolines where possible, and single pages that become executable later, with traps only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "accel/direct/direct.h"
#include "accel/direct/patch/code_map.h"
#include "accel/direct/patch/plan.h"
#include "util/error.h"

#define MIB       (UINT64_C(1) << 20)
#define GIB       (UINT64_C(1) << 30)
#define JUMP_FAR  (2 * GIB - 32 * MIB) /* trampolines must be nearer to all code */
#define AREA_ROOM (16 * MIB)

/* Where the host's kernel has other segments, there is no way to tell vCPUs apart. */
static bool can_load(uint16_t selector)
{
    bool valid;
    __asm__("verr %1" : "=@ccz"(valid) : "r"(selector));
    return valid;
}

/*
 * Guests do not map anything below their RAM if that is far enough up, nor some hundred MiB above a
 * small one: virtual addresses are handed out from the end of RAM upwards.
 */
uint64_t code_choose_area(const struct ram *ram, unsigned cpu_count)
{
    for (unsigned i = 0; i < cpu_count && i < TRAMPOLINE_MAX_VCPUS; i++)
        if (!can_load(trampoline_selector(i)))
            return 0;
    if (ram->base >= 2 * AREA_ROOM)
        return ram->base - AREA_ROOM;
    return ram->base + ram->size <= GIB ? GIB + 3 * GIB / 4 : 0;
}

static bool is_near(uint64_t area, const struct accel_kernel *kernel)
{
    uint64_t low = area < kernel->start ? area : kernel->start;
    uint64_t area_end = area + DIRECT_AREA_SIZE, kernel_end = kernel->start + kernel->size;
    return (area_end > kernel_end ? area_end : kernel_end) - low < JUMP_FAR;
}

static struct plan_area prepare_area(const struct accel_vm *vm, const struct accel_kernel *kernel)
{
    uint64_t address = vm->header->area_address, states = address + DIRECT_AREA_STATES;
    bool single = vm->cpu_count == 1;
    uint8_t *area = vm->control + DIRECT_AREA;
    uint64_t *pointers = (uint64_t *)(void *)(area + DIRECT_AREA_TABLE);

    if (!address || !is_near(address, kernel))
        return (struct plan_area){0};
    /* Who is not known by its selector finds a state where nothing is ever mapped. */
    for (unsigned i = 0; i < TRAMPOLINE_SELECTORS; i++)
        pointers[i] = DIRECT_GUEST_END;
    for (unsigned i = 0; i < vm->cpu_count && i < TRAMPOLINE_MAX_VCPUS; i++)
        pointers[trampoline_selector(i)] = states + i * DIRECT_PAGE;
    if (single)
        trampoline_link_writes((struct trampoline_state *)(void *)(area + DIRECT_AREA_STATES),
                               states);
    return (struct plan_area){
        .target = {.mode = single ? TRAMPOLINE_SINGLE : TRAMPOLINE_SHARED,
                   .state = single ? states : address + DIRECT_AREA_TABLE,
                   .ports = address + DIRECT_AREA_PORTS},
        .bytes = area,
        .size = DIRECT_AREA_CODE,
        .address = address,
    };
}

static void mark_pages(struct accel_vm *vm, gpa_t start, uint64_t size, enum direct_page_kind kind)
{
    uint64_t first = (start - vm->ram->base) / DIRECT_PAGE;
    uint64_t last = (start + size - 1 - vm->ram->base) / DIRECT_PAGE;
    memset(vm->control + DIRECT_PAGE_KINDS + first, kind, last - first + 1);
}

static int store_table(struct accel_vm *vm, const struct patch_table *table,
                       struct uhyve_error *error)
{
    size_t size = patch_table_size(table);
    if (size > DIRECT_TABLE_MAX)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, E2BIG,
                         "the kernel has %u sensitive instructions, which are more than the "
                         "accelerator 'direct' can patch",
                         table->count);
    memcpy(vm->control + DIRECT_TABLE, table, size);
    return 0;
}

int code_patch_kernel(struct accel_vm *vm, const struct accel_kernel *kernel,
                      struct uhyve_error *error)
{
    struct code_map map = {0};
    struct patch_table *table = NULL;
    struct plan_report report;
    const struct plan_area area = prepare_area(vm, kernel);

    const struct code_map_file file = {kernel->read, kernel->context, kernel->file_size};

    int err = code_map_read(&map, &file, kernel->vaddr, kernel->size, kernel->start);
    if (err) {
        error_set(error, error_status(UHYVE_STATUS_BAD_IMAGE, -err), -err,
                  "cannot find the kernel's code: %s", strerror(-err));
    } else {
        const struct plan_image image = {
            .bytes = ram_at(vm->ram, kernel->start, kernel->size),
            .size = kernel->size,
            .address = kernel->start,
            .code = map.ranges,
            .code_count = map.range_count,
            .symbols = {map.symbols, map.symbol_count},
        };
        err = plan_make(&image, &area, &table, &report, error);
    }
    if (!err)
        err = store_table(vm, table, error);
    for (size_t i = 0; i < map.range_count && !err; i++)
        if (map.ranges[i].size)
            mark_pages(vm, kernel->start + map.ranges[i].offset, map.ranges[i].size,
                       DIRECT_PAGE_TEXT);
    if (!err)
        log_debug(
            vm->log, "%zu sensitive instructions: %zu in %zu trampolines, %zu traps, %zu doubtful",
            report.sites, report.replaced, report.trampolines, report.trapped, report.doubtful);
    vm->table = table;
    code_map_free(&map);
    return err;
}

uint32_t code_find_site(const struct accel_vm *vm, gpa_t gpa)
{
    uint32_t low = 0, high = vm->site_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (code_site(vm, middle) >> 8 < gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* vCPUs search the list meanwhile, and start over if it changes: engine/mmu.c. */
static void change_sites(struct accel_vm *vm)
{
    __atomic_fetch_add(&vm->header->site_sequence, 1, __ATOMIC_SEQ_CST);
}

bool code_add_site(struct accel_vm *vm, gpa_t gpa, uint8_t byte)
{
    uint64_t *sites = (uint64_t *)(void *)(vm->control + DIRECT_SITES);
    uint32_t at = vm->site_count;

    if (vm->site_count >= DIRECT_SITES_MAX)
        return false;
    change_sites(vm);
    for (; at > 0 && code_site(vm, at - 1) >> 8 > gpa; at--)
        __atomic_store_n(&sites[at], code_site(vm, at - 1), __ATOMIC_RELAXED);
    __atomic_store_n(&sites[at], gpa << 8 | byte, __ATOMIC_RELAXED);
    __atomic_store_n(&vm->header->site_count, ++vm->site_count, __ATOMIC_RELAXED);
    change_sites(vm);
    return true;
}

static void remove_site(struct accel_vm *vm, uint32_t index)
{
    uint64_t *sites = (uint64_t *)(void *)(vm->control + DIRECT_SITES);

    change_sites(vm);
    for (uint32_t at = index + 1; at < vm->site_count; at++)
        __atomic_store_n(&sites[at - 1], code_site(vm, at), __ATOMIC_RELAXED);
    __atomic_store_n(&vm->header->site_count, --vm->site_count, __ATOMIC_RELAXED);
    change_sites(vm);
}

void code_remove_site(struct accel_vm *vm, gpa_t gpa)
{
    uint32_t at = code_find_site(vm, gpa);
    if (at < vm->site_count && code_site(vm, at) >> 8 == gpa)
        remove_site(vm, at);
}

bool code_is_overwritten(const struct accel_vm *vm, gpa_t gpa)
{
    const uint8_t *byte = ram_at(vm->ram, gpa, 1);
    return !byte ||
           (*byte != DIRECT_TRAP && !(vm->debugged && *byte == DIRECT_BREAKPOINT_INSTRUCTION));
}

/* Else what is there now would not become a trap, or would be taken for what was there before. */
static void forget_overwritten(struct accel_vm *vm, gpa_t page)
{
    uint32_t i = code_find_site(vm, page);
    while (i < vm->site_count) {
        gpa_t gpa = code_site(vm, i) >> 8;
        if (gpa - page >= DIRECT_PAGE)
            break;
        if (code_is_overwritten(vm, gpa))
            remove_site(vm, i);
        else
            i++;
    }
}

void code_original(struct accel_vm *vm, gpa_t gpa, void *copy, size_t size)
{
    uint8_t *bytes = copy;

    if (vm->table)
        patch_original(vm->table, gpa, bytes, size);
    for (uint32_t i = code_find_site(vm, gpa); i < vm->site_count; i++) {
        uint64_t site = code_site(vm, i), offset = (site >> 8) - gpa;
        if (offset >= size)
            break;
        if (bytes[offset] == DIRECT_TRAP)
            bytes[offset] = (uint8_t)site;
    }
}

bool code_patch_range(struct accel_vm *vm, gpa_t gpa, size_t size)
{
    uint8_t *code = ram_at(vm->ram, gpa, size), original[DIRECT_PAGE];
    struct decode_insn insn;

    memcpy(original, code, size);
    code_original(vm, gpa, original, size);
    for (size_t at = 0; at < size; at += insn.length) {
        if (!decode(original + at, size - at, &insn)) {
            insn.length = 1;
            continue;
        }
        enum sweep_kind kind = sweep_classify(&insn);
        if (kind == SWEEP_NONE || sweep_traps(kind) || code[at] == DIRECT_TRAP)
            continue;
        /* The debugger may write where the guest has: a site never has two entries. */
        code_remove_site(vm, gpa + at);
        if (!code_add_site(vm, gpa + at, code[at]))
            return false;
        __atomic_store_n(&code[at], DIRECT_TRAP, __ATOMIC_RELEASE);
    }
    return true;
}

/* Nothing proves the boundaries in a single page. Code is written to be executed from `entry` on,
 * so they are right from there. */
int code_patch_page(struct accel_vm *vm, gpa_t page, gpa_t entry)
{
    bool done = true;

    pthread_mutex_lock(&vm->lock);
    /* Another vCPU may have come first, and be in the middle of a step over a trap by now. */
    if (vm->control[DIRECT_PAGE_KINDS + (page - vm->ram->base) / DIRECT_PAGE] == DIRECT_PAGE_DATA) {
        debug_page_written(vm, page);
        forget_overwritten(vm, page);
        done = code_patch_range(vm, page, entry - page) &&
               code_patch_range(vm, entry, page + DIRECT_PAGE - entry);
        mark_pages(vm, page, DIRECT_PAGE, DIRECT_PAGE_CODE);
    }
    pthread_mutex_unlock(&vm->lock);
    if (done && vm->debugged)
        debug_page_swept(vm, page);
    return done ? 0 : -ENOSPC;
}

/* If the original is back where a trap belongs, the trap goes back too. A breakpoint instruction
 * stays as long as it is there. */
static void put_trap_back(struct accel_vm *vm, gpa_t gpa, uint8_t original)
{
    uint8_t *byte = ram_at(vm->ram, gpa, 1);
    if (byte && *byte == original)
        __atomic_store_n(byte, DIRECT_TRAP, __ATOMIC_SEQ_CST);
}

static bool patch_written(struct accel_vm *vm, gpa_t gpa, size_t size)
{
    bool done = true;

    for (size_t part; size && done; gpa += part, size -= part) {
        part = align_down(gpa, DIRECT_PAGE) + DIRECT_PAGE - gpa;
        part = part < size ? part : size;
        uint64_t page = (gpa - vm->ram->base) / DIRECT_PAGE;
        if (vm->control[DIRECT_PAGE_KINDS + page] != DIRECT_PAGE_DATA)
            done = code_patch_range(vm, gpa, part);
    }
    return done;
}

int code_written(struct accel_vm *vm, gpa_t gpa, size_t size)
{
    bool done = true;

    if (!vm->debugged || !ram_at(vm->ram, gpa, size))
        return -EINVAL;
    pthread_mutex_lock(&vm->lock);
    for (size_t i = 0; vm->table && i < vm->table->count; i++)
        if (vm->table->list[i].address - gpa < size)
            put_trap_back(vm, vm->table->list[i].address, vm->table->list[i].original[0]);
    for (uint32_t i = code_find_site(vm, gpa); i < vm->site_count; i++) {
        uint64_t site = code_site(vm, i);
        if ((site >> 8) - gpa >= size)
            break;
        put_trap_back(vm, site >> 8, (uint8_t)site);
    }
    debug_code_written(vm, gpa, size);
    /* A single byte is a breakpoint that comes or goes, or not an instruction. */
    if (size > 1)
        done = patch_written(vm, gpa, size);
    pthread_mutex_unlock(&vm->lock);
    return done ? 0 : -ENOSPC;
}
