#include "arch/x86_64/paging.h"

#include <errno.h>

#define LEVELS     4
#define ENTRIES    512
#define LARGE_PAGE (UINT64_C(2) << 20)
#define SELF_ENTRY                                                                                 \
    511 /* kernels up to 0.10 reach their tables through this slot, later ones look for it */

static unsigned table_index(gva_t address, unsigned level)
{
    return (address >> (12 + 9 * level)) % ENTRIES;
}

/* The table that `entry` points to; a new one from the pool if there is none yet. */
static uint64_t *next_table(const struct ram *ram, uint64_t *entry, gpa_t *pool, gpa_t pool_end)
{
    if (!(*entry & X86_PTE_PRESENT)) {
        if (*pool >= pool_end)
            return NULL;
        *entry = *pool | X86_PTE_PRESENT | X86_PTE_WRITABLE;
        *pool += 4096;
    }
    return ram_at(ram, *entry & X86_PTE_FRAME, 4096);
}

int paging_map_identity(const struct ram *ram, gpa_t pml4, gpa_t tables, gpa_t tables_end,
                        gpa_t start, gpa_t last)
{
    uint64_t *top = ram_at(ram, pml4, 4096);
    if (!top)
        return -ENOSPC;
    top[SELF_ENTRY] = pml4 | X86_PTE_PRESENT | X86_PTE_WRITABLE;
    for (gpa_t page = align_down(start, LARGE_PAGE); page <= last; page += LARGE_PAGE) {
        uint64_t *table = top;
        for (unsigned level = LEVELS - 1; level > 1; level--) {
            table = next_table(ram, &table[table_index(page, level)], &tables, tables_end);
            if (!table)
                return -ENOSPC;
        }
        table[table_index(page, 1)] = page | X86_PTE_PRESENT | X86_PTE_WRITABLE | X86_PTE_LARGE;
    }
    return 0;
}

bool paging_translate(const struct ram *ram, uint64_t cr3, gva_t gva, gpa_t *gpa, uint64_t *size)
{
    gpa_t table = cr3 & X86_PTE_FRAME;
    int64_t extended = (int64_t)(gva << 16) >> 16;

    if ((uint64_t)extended != gva)
        return false; /* not canonical */
    for (unsigned level = LEVELS - 1;; level--) {
        uint64_t entry;
        if (!ram_read(ram, table + 8 * table_index(gva, level), &entry, sizeof entry) ||
            !(entry & X86_PTE_PRESENT))
            return false;
        if (level == 0 || (level < LEVELS - 1 && (entry & X86_PTE_LARGE))) {
            uint64_t page_size = UINT64_C(1) << (12 + 9 * level);
            uint64_t offset = gva % page_size;
            *gpa = align_down(entry & X86_PTE_FRAME, page_size) + offset;
            *size = page_size - offset;
            return true;
        }
        table = entry & X86_PTE_FRAME;
    }
}
