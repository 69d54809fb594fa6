#include "lib/paging.h"

#include <stddef.h>

#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"

static uint64_t supply[24][TABLE_ENTRIES] __attribute__((aligned(PAGE_SIZE)));
static unsigned supply_used;

uint64_t *paging_top(void)
{
    return (uint64_t *)(uintptr_t)cpu_read_cr3();
}

uint64_t *paging_next(uint64_t entry)
{
    if ((entry & PAGE_PRESENT) == 0 || (entry & PAGE_LARGE) != 0)
        return NULL;
    return (uint64_t *)(uintptr_t)(entry & PAGE_ADDRESS);
}

uint64_t *paging_new_table(void)
{
    if (supply_used == sizeof(supply) / sizeof(supply[0])) {
        print("guest: no page left for a page table\n");
        guest_exit(1);
    }
    return supply[supply_used++];
}

volatile void *paging_map(uint64_t address)
{
    uint64_t *table = paging_top();
    for (unsigned level = 3; level > 1; level--) {
        uint64_t *entry = &table[paging_index(address, level)];
        if ((*entry & PAGE_PRESENT) == 0)
            *entry = (uintptr_t)paging_new_table() | PAGE_PRESENT | PAGE_WRITABLE;
        table = paging_next(*entry);
    }
    uint64_t *entry = &table[paging_index(address, 1)];
    if ((*entry & PAGE_PRESENT) == 0) {
        *entry = (address & ~(uint64_t)(LARGE_PAGE - 1)) | PAGE_PRESENT | PAGE_WRITABLE |
                 PAGE_LARGE;
        cpu_invalidate_page(address);
    }
    return (volatile void *)(uintptr_t)address;
}

uint64_t *paging_window(uint64_t address)
{
    uint64_t *table = paging_top();
    for (unsigned level = 3; level > 0; level--) {
        uint64_t *next = paging_new_table();
        table[paging_index(address, level)] = (uintptr_t)next | PAGE_PRESENT | PAGE_WRITABLE;
        table = next;
    }
    return table;
}
