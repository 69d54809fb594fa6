/*
 * Every change of the mappings is made under one lock that also covers the walk of the page tables:
 * a vCPU that maps what it read from an entry just before another vCPU changed and invalidated it
 * would otherwise leave a stale mapping behind that nobody removes.
 */
#include "accel/direct/engine/map.h"

#include <linux/mman.h>

#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/lock.h"
#include "accel/direct/engine/start.h"
#include "accel/direct/engine/syscalls.h"
#include "accel/direct/engine/watch.h"

#define LARGE     (UINT64_C(2) << 20)
#define HUGE_PAGE (UINT64_C(1) << 30)

static uint32_t map_lock;

/* 2 MiB regions that contain a mapping made from a larger page: INVLPG of any of its addresses
 * removes all of it. One bit each, for all of the guest's addresses; pages of it that were never
 * written cost nothing. */
static uint8_t large_regions[DIRECT_GUEST_END / LARGE / 8];
/* A 1 GiB page has been mapped: INVLPG removes as much. */
static bool huge_pages_used;

/* A run of pages to map: [start, end) of guest-virtual addresses, linear in guest-physical ones. */
struct run {
    uint64_t start, end;
    uint64_t gpa; /* of start */
};

/* Behind the run of small pages that was mapped last. */
static struct {
    uint64_t gva, gpa;
    int prot;
} behind_last;

static uint8_t page_kind(uint64_t gpa)
{
    return engine.page_kinds[(gpa - engine.ram_base) / DIRECT_PAGE];
}

/* Limit `run` to RAM, to mappable addresses, and around gva to pages of the same
 * kind. */
static void clip(struct run *run, uint64_t gva)
{
    uint64_t ram_end = engine.ram_base + engine.ram_size;
    uint64_t here = run->gpa + (gva - run->start), low = run->start, high = run->end;

    if (run->gpa < engine.ram_base)
        low = run->start + (engine.ram_base - run->gpa);
    if (run->gpa + (run->end - run->start) > ram_end)
        high = run->start + (ram_end - run->gpa);
    if (low < engine.header->lowest_mapping)
        low = engine.header->lowest_mapping;
    uint8_t kind = page_kind(here);
    uint64_t first = gva, after = gva + DIRECT_PAGE;
    while (first > low && page_kind(here - (gva - first) - DIRECT_PAGE) == kind)
        first -= DIRECT_PAGE;
    while (after < high && page_kind(here + (after - gva)) == kind)
        after += DIRECT_PAGE;
    *run = (struct run){first, after, here - (gva - first)};
}

/* Can the neighbour's entry be mapped together with `entry`, `distance` pages away? It must be in
 * use already, so that accessed and dirty bits tell the truth. */
static bool continues(uint64_t entry, uint64_t neighbour, int64_t distance)
{
    uint64_t same = PTE_PRESENT | PTE_WRITABLE | PTE_USER | PTE_NX;
    return (neighbour & PTE_ACCESSED) && !((entry ^ neighbour) & same) &&
           (!(entry & PTE_DIRTY) || (neighbour & PTE_DIRTY)) &&
           (neighbour & PTE_FRAME) == (entry & PTE_FRAME) + (uint64_t)(distance * DIRECT_PAGE);
}

/* The 4 KiB pages around `gva` in the same table that continue linearly. */
static struct run small_run(uint64_t gva, const struct translation *t)
{
    int64_t index = (int64_t)(gva / DIRECT_PAGE % 512), first = 0, after = 1;
    uint64_t entry = *t->entry;

    while (index + first > 0 && continues(entry, t->entry[first - 1], first - 1))
        first--;
    while (index + after < 512 && continues(entry, t->entry[after], after))
        after++;
    return (struct run){gva + (uint64_t)(first * DIRECT_PAGE), gva + (uint64_t)after * DIRECT_PAGE,
                        (t->gpa & ~UINT64_C(0xfff)) + (uint64_t)(first * DIRECT_PAGE)};
}

static struct run large_run(uint64_t gva, const struct translation *t)
{
    uint64_t offset = gva % LARGE, region = gva / LARGE;

    large_regions[region / 8] |= (uint8_t)(1u << region % 8);
    if (t->level > 1)
        huge_pages_used = true;
    return (struct run){gva - offset, gva - offset + LARGE, (t->gpa & ~UINT64_C(0xfff)) - offset};
}

static bool overlaps_area(uint64_t start, uint64_t end)
{
    return engine.area && start < engine.area + DIRECT_AREA_SIZE && end > engine.area;
}

static void unmap_all(void)
{
    for (unsigned i = 0; i < 2; i++)
        if (engine.flush[i][1])
            sys_munmap(engine.flush[i][0], engine.flush[i][1]);
}

/* The area of trampolines stays. */
static void unmap(uint64_t start, uint64_t size)
{
    uint64_t end = start + size, area_end = engine.area + DIRECT_AREA_SIZE;

    if (!overlaps_area(start, end)) {
        sys_munmap(start, size);
        return;
    }
    if (start < engine.area)
        sys_munmap(start, engine.area - start);
    if (end > area_end)
        sys_munmap(area_end, end - area_end);
}

/* Pages that are touched one after the other: those before `gva` have just been mapped, and mapping
 * them again would only undo what the host's page tables have learnt of them. */
static void skip_mapped(struct run *run, uint64_t gva, int prot)
{
    uint64_t gpa = run->gpa + (gva - run->start);

    if (behind_last.gva == gva && behind_last.gpa == gpa && behind_last.prot == prot) {
        run->start = gva;
        run->gpa = gpa;
    }
    behind_last.gva = run->end;
    behind_last.gpa = run->gpa + (run->end - run->start);
    behind_last.prot = prot;
}

static bool map_run(const struct run *run, int prot)
{
    uint64_t size = run->end - run->start;
    long result = sys_mmap(run->start, size, prot, MAP_SHARED | MAP_FIXED, engine.ram_fd,
                           run->gpa - engine.ram_base);
    if (result >= 0)
        return true;
    /* The host limits the number of mappings: start over. */
    unmap_all();
    return sys_mmap(run->start, size, prot, MAP_SHARED | MAP_FIXED, engine.ram_fd,
                    run->gpa - engine.ram_base) >= 0;
}

/*
 * Sensitive instructions must be found before they run. A page that has not been swept is mapped
 * without execute permission; when it is executed, the VMM sweeps it, and from then on it is mapped
 * executable but not writable. A write to it makes it data again.
 */
static bool may_execute(uint64_t gpa, enum access access)
{
    uint8_t *kind = &engine.page_kinds[(gpa - engine.ram_base) / DIRECT_PAGE];

    if (*kind == DIRECT_PAGE_CODE && access == ACCESS_WRITE) {
        *kind = DIRECT_PAGE_DATA;
        unmap_all(); /* it may be mapped executable elsewhere */
    }
    return *kind != DIRECT_PAGE_DATA;
}

/* The kernel's jumps into the area of trampolines are right only where it was loaded: where RAM is
 * mapped to itself. */
static bool is_moved_text(uint64_t gva, uint64_t gpa)
{
    return gva != gpa && page_kind(gpa) == DIRECT_PAGE_TEXT && engine.table->area_used;
}

/* Watched pages are mapped one at a time. */
static void clip_watched(struct run *run, uint64_t page)
{
    uint64_t start = run->start;
    watch_clip(page, &run->start, &run->end);
    run->gpa += run->start - start;
}

/* Does a watchpoint keep the access from being made natively? */
static bool is_watched(enum watch watch, enum access access)
{
    return watch == WATCH_ACCESSES || (watch == WATCH_WRITES && access == ACCESS_WRITE);
}

static enum map_result map_ram(uint64_t gva, enum access access, const struct translation *t,
                               enum watch watch)
{
    uint64_t page = gva & ~UINT64_C(0xfff);
    bool executable = may_execute(t->gpa, access);
    if (!executable && access == ACCESS_EXECUTE)
        return MAP_UNSWEPT;
    if (is_watched(watch, access))
        return MAP_WATCHED;
    bool moved = is_moved_text(gva, t->gpa);
    if (moved && access == ACCESS_EXECUTE)
        return MAP_MOVED_TEXT;
    struct run run = t->level ? large_run(page, t) : small_run(page, t);
    int prot = PROT_READ;

    clip(&run, page);
    if (engine.debugged)
        clip_watched(&run, page);
    if (overlaps_area(run.start, run.end))
        return MAP_IMPOSSIBLE;
    if (executable && t->executable && !moved)
        prot |= PROT_EXEC;
    if (watch == WATCH_NOTHING && t->writable &&
        (!executable || page_kind(t->gpa) == DIRECT_PAGE_TEXT))
        prot |= PROT_WRITE;
    if (!t->level)
        skip_mapped(&run, page, prot);
    return map_run(&run, prot) ? MAP_DONE : MAP_IMPOSSIBLE;
}

static enum map_result map_locked(struct cpu *cpu, uint64_t gva, enum access access,
                                  struct translation *t, bool lifted)
{
    const struct direct_header *header = engine.header;
    uint64_t page = gva & ~UINT64_C(0xfff);

    if (!mmu_translate(cpu, gva, access, t))
        return MAP_FAULT;
    if (gva >= DIRECT_GUEST_END || page < header->lowest_mapping)
        return MAP_IMPOSSIBLE;
    enum watch watch = engine.debugged && !lifted ? watch_page(page) : WATCH_NOTHING;
    if (ram_view(t->gpa, 1))
        return map_ram(gva, access, t, watch);
    if (is_watched(watch, access))
        return MAP_WATCHED;
    if (access == ACCESS_READ && t->gpa >= header->zeros_start && t->gpa < header->zeros_end &&
        sys_mmap(page, DIRECT_PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) >= 0)
        return MAP_DONE;
    return MAP_IMPOSSIBLE;
}

enum map_result map_resolve(struct cpu *cpu, uint64_t gva, enum access access)
{
    for (;;) {
        struct translation t;
        lock_take(&map_lock);
        enum map_result result = map_locked(cpu, gva, access, &t, false);
        lock_release(&map_lock);
        if (result == MAP_MOVED_TEXT)
            exit_failed(cpu, "the guest runs its kernel at another address than it was loaded to, "
                             "which the accelerator 'direct' cannot do");
        else if (result != MAP_UNSWEPT)
            return result;
        else
            exit_sweep(cpu, t.gpa);
    }
}

void map_lift(struct cpu *cpu, uint64_t gva, enum access access)
{
    struct translation t;

    lock_take(&map_lock);
    map_locked(cpu, gva, access, &t, true);
    lock_release(&map_lock);
}

void map_flush_page(uint64_t gva)
{
    if (gva >= DIRECT_GUEST_END)
        return;
    uint64_t region = gva / LARGE, size = DIRECT_PAGE;
    lock_take(&map_lock);
    if (huge_pages_used) {
        size = HUGE_PAGE;
    } else if (large_regions[region / 8] >> region % 8 & 1) {
        size = LARGE;
        large_regions[region / 8] &= (uint8_t) ~(1u << region % 8);
    }
    unmap(gva & ~(size - 1), size);
    lock_release(&map_lock);
}

void map_flush_all(void)
{
    lock_take(&map_lock);
    unmap_all();
    lock_release(&map_lock);
}
