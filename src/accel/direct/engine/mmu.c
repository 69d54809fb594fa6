#include "accel/direct/engine/mmu.h"

#include "accel/direct/engine/device.h"
#include "accel/direct/engine/memory.h"
#include "accel/direct/engine/watch.h"

#define LEVELS 4

static bool page_fault(struct cpu *cpu, uint64_t gva, enum access access, uint32_t error)
{
    if (access == ACCESS_WRITE)
        error |= PF_WRITE;
    if (access == ACCESS_EXECUTE &&
        ((cpu->state->efer & X86_EFER_NXE) || (cpu->state->cr4 & CR4_SMEP)))
        error |= PF_FETCH;
    raise_fault(cpu, VECTOR_PF, error);
    cpu->fault.address = gva;
    return false;
}

/* Other vCPUs change entries at the same time: set bits atomically, and only in the entry that was
 * checked. */
static void set_bits(uint64_t *entry, uint64_t seen, uint64_t bits)
{
    if ((seen & bits) != bits)
        __atomic_compare_exchange_n(entry, &seen, seen | bits, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
}

/* Bits that must be zero in an entry: above the physical address width only NX is checked, because
 * guests have no reason to set others. */
static bool reserved_bits(const struct cpu *cpu, uint64_t entry, unsigned level)
{
    if ((entry & PTE_NX) && !(cpu->state->efer & X86_EFER_NXE))
        return true;
    if (level == 3)
        return entry & PTE_LARGE;
    if (level > 0 && (entry & PTE_LARGE))
        /* Address bits below the page size; bit 12 is the PAT bit. */
        return entry & PTE_FRAME & ((UINT64_C(1) << (12 + 9 * level)) - 1) & ~UINT64_C(0x1fff);
    return false;
}

bool mmu_translate(struct cpu *cpu, uint64_t gva, enum access access, struct translation *result)
{
    uint64_t table = cpu->state->cr3 & PTE_FRAME;
    bool writable = true, user = true, executable = true;

    if (!is_canonical(gva))
        return raise_fault(cpu, VECTOR_GP, 0);
    for (unsigned level = LEVELS - 1;; level--) {
        uint64_t *slot = ram_view(table + 8 * (gva >> (12 + 9 * level) & 511), 8);
        if (!slot)
            return page_fault(cpu, gva, access, 0); /* reads of missing memory give no entry here */
        uint64_t entry = __atomic_load_n(slot, __ATOMIC_RELAXED);
        if (!(entry & PTE_PRESENT))
            return page_fault(cpu, gva, access, 0);
        if (reserved_bits(cpu, entry, level))
            return page_fault(cpu, gva, access, PF_PRESENT | PF_RESERVED);
        writable = writable && (entry & PTE_WRITABLE);
        user = user && (entry & PTE_USER);
        executable = executable && !(entry & PTE_NX);
        if (level > 0 && !(entry & PTE_LARGE)) {
            set_bits(slot, entry, PTE_ACCESSED);
            table = entry & PTE_FRAME;
            continue;
        }
        writable = writable || !(cpu->state->cr0 & X86_CR0_WP);
        executable = executable && !(user && (cpu->state->cr4 & CR4_SMEP));
        if ((access == ACCESS_WRITE && !writable) || (access == ACCESS_EXECUTE && !executable))
            return page_fault(cpu, gva, access, PF_PRESENT);
        uint64_t bits = PTE_ACCESSED | (access == ACCESS_WRITE ? PTE_DIRTY : 0);
        set_bits(slot, entry, bits);
        uint64_t mask = (UINT64_C(1) << (12 + 9 * level)) - 1;
        *result = (struct translation){
            .gpa = (entry & PTE_FRAME & ~mask) | (gva & mask),
            .level = level,
            .entry = slot,
            .writable = writable && ((entry | bits) & PTE_DIRTY),
            .executable = executable,
        };
        return true;
    }
}

static unsigned to_page_end(uint64_t gva, unsigned size)
{
    unsigned room = DIRECT_PAGE - (unsigned)(gva % DIRECT_PAGE);
    return size < room ? size : room;
}

void mmu_cache_flush(struct mmu_cache *cache)
{
    for (unsigned i = 0; i < MMU_CACHE_PAGES; i++)
        cache->page[i].read = cache->page[i].write = 1;
}

/* The place of [gva, gva + size) if the cache knows it, else NULL. */
static uint8_t *cached(const struct cpu *cpu, uint64_t gva, unsigned size, bool write)
{
    uint64_t offset = gva % DIRECT_PAGE, page = gva - offset;

    if (!cpu->mmu_cache || offset + size > DIRECT_PAGE)
        return (void *)0;
    unsigned slot = gva / DIRECT_PAGE % MMU_CACHE_PAGES;
    if ((write ? cpu->mmu_cache->page[slot].write : cpu->mmu_cache->page[slot].read) != page)
        return (void *)0;
    return cpu->mmu_cache->page[slot].view + offset;
}

/* `view` is the place of `gva`. */
static void keep(struct cpu *cpu, uint64_t gva, uint8_t *view, bool write)
{
    uint64_t offset = gva % DIRECT_PAGE, page = gva - offset;
    unsigned slot = gva / DIRECT_PAGE % MMU_CACHE_PAGES;

    if (!cpu->mmu_cache)
        return;
    /* What may be written can also be read here, where everything runs at CPL 0. */
    cpu->mmu_cache->page[slot].read = page;
    cpu->mmu_cache->page[slot].write = write ? page : 1;
    cpu->mmu_cache->page[slot].view = view - offset;
}

bool mmu_read(struct cpu *cpu, uint64_t gva, void *to, unsigned size)
{
    uint8_t *out = to, *known = cached(cpu, gva, size, false);
    struct translation t;

    if (known) {
        memory_copy(out, known, size);
        return true;
    }
    if (cpu->watching)
        watch_note(cpu, gva, size, false);
    for (unsigned n; size; size -= n, gva += n, out += n) {
        n = to_page_end(gva, size);
        if (!mmu_translate(cpu, gva, ACCESS_READ, &t))
            return false;
        void *view = ram_view(t.gpa, n);
        if (view) {
            memory_copy(out, view, n);
            keep(cpu, gva, view, false);
        } else {
            device_access(cpu, t.gpa, false, out, n);
        }
    }
    return true;
}

/* While instructions are run ahead, writes to code that was swept are left to the guest: the page
 * fault they cause makes the page data again. */
static bool is_swept(const struct cpu *cpu, uint64_t gpa)
{
    uint64_t offset = gpa - engine.ram_base;
    return cpu->mmu_cache && offset < engine.ram_size &&
           engine.page_kinds[offset / DIRECT_PAGE] == DIRECT_PAGE_CODE;
}

bool mmu_write(struct cpu *cpu, uint64_t gva, const void *from, unsigned size)
{
    const uint8_t *in = from;
    uint8_t *known = cached(cpu, gva, size, true);
    struct translation t;

    if (known) {
        memory_copy(known, in, size);
        return true;
    }
    if (cpu->watching)
        watch_note(cpu, gva, size, true);
    /* Both pages are checked before either is written. */
    if (to_page_end(gva, size) < size &&
        (!mmu_translate(cpu, gva + size - 1, ACCESS_WRITE, &t) || is_swept(cpu, t.gpa)))
        return false;
    for (unsigned n; size; size -= n, gva += n, in += n) {
        uint8_t value[16];
        n = to_page_end(gva, size);
        if (!mmu_translate(cpu, gva, ACCESS_WRITE, &t) || is_swept(cpu, t.gpa))
            return false;
        void *view = ram_view(t.gpa, n);
        if (view) {
            memory_copy(view, in, n);
            keep(cpu, gva, view, true);
            continue;
        }
        n = n < sizeof value ? n : sizeof value;
        memory_copy(value, in, n);
        device_access(cpu, t.gpa, true, value, n);
    }
    return true;
}

/*
 * Sites move in their list while it is searched, when the VMM adds or removes one. Each is whole at
 * any moment, but one may be missed: then the search starts over.
 */
static uint32_t sites_begin(void)
{
    uint32_t sequence;

    while ((sequence = __atomic_load_n(&engine.header->site_sequence, __ATOMIC_ACQUIRE)) & 1)
        __asm__ volatile("pause");
    return sequence;
}

/* After loads that acquire, which this one may not overtake. */
static bool sites_changed(uint32_t sequence)
{
    return __atomic_load_n(&engine.header->site_sequence, __ATOMIC_RELAXED) != sequence;
}

static uint64_t site_at(uint32_t index)
{
    return __atomic_load_n(&engine.sites[index], __ATOMIC_ACQUIRE);
}

/* Index of the first of `count` sites at or above `gpa`. */
static uint32_t first_site(uint64_t gpa, uint32_t count)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (site_at(middle) >> 8 < gpa)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void restore_patched(uint64_t gpa, uint8_t *bytes, unsigned size)
{
    uint32_t sequence;

    do {
        sequence = sites_begin();
        uint32_t count = __atomic_load_n(&engine.header->site_count, __ATOMIC_ACQUIRE);
        for (uint32_t i = first_site(gpa, count); i < count; i++) {
            uint64_t site = site_at(i), offset = (site >> 8) - gpa;
            if (offset >= size)
                break;
            /* If the guest has written something else there, that counts. */
            if (bytes[offset] == DIRECT_TRAP)
                bytes[offset] = (uint8_t)site;
        }
    } while (sites_changed(sequence));
}

bool mmu_find_site(uint64_t gpa, uint8_t *original)
{
    uint32_t sequence;
    uint64_t site;
    bool found;

    do {
        sequence = sites_begin();
        uint32_t count = __atomic_load_n(&engine.header->site_count, __ATOMIC_ACQUIRE);
        uint32_t i = first_site(gpa, count);
        site = i < count ? site_at(i) : 0;
        found = i < count && site >> 8 == gpa;
    } while (sites_changed(sequence));
    *original = (uint8_t)site;
    return found;
}

bool mmu_is_trap(uint64_t gpa)
{
    const uint8_t *byte = ram_view(gpa, 1);
    const struct patch *patch = patch_find(engine.table, gpa);
    uint8_t original;

    return byte && *byte == DIRECT_TRAP &&
           ((patch && patch->address == gpa) || mmu_find_site(gpa, &original));
}

unsigned mmu_fetch(struct cpu *cpu, uint64_t gva, uint8_t *to, unsigned size)
{
    unsigned done = 0;
    struct translation t;

    while (done < size) {
        unsigned n = to_page_end(gva + done, size - done);
        const void *view = mmu_translate(cpu, gva + done, ACCESS_EXECUTE, &t) ? ram_view(t.gpa, n)
                                                                              : (void *)0;
        if (!view)
            break;
        memory_copy(to + done, view, n);
        patch_original(engine.table, t.gpa, to + done, n);
        restore_patched(t.gpa, to + done, n);
        done += n;
    }
    return done;
}

void *mmu_pointer(struct cpu *cpu, uint64_t gva, unsigned size, enum access access, bool *fault)
{
    void *known = cached(cpu, gva, size, access == ACCESS_WRITE);
    struct translation t;

    *fault = !known && (!mmu_translate(cpu, gva, access, &t) ||
                        (access == ACCESS_WRITE && is_swept(cpu, t.gpa)));
    if (known)
        return known;
    if (*fault || to_page_end(gva, size) < size)
        return (void *)0;
    if (cpu->watching)
        watch_note(cpu, gva, size, access == ACCESS_WRITE);
    return ram_view(t.gpa, size);
}
