/*
 * Page tables. The VMM maps only the first part of RAM, one to one with 2 MiB pages (spec/boot.md
 * section 4); the rest, and device memory, is up to the guest. CPU 0 only.
 */
#ifndef GUESTS_LIB_PAGING_H
#define GUESTS_LIB_PAGING_H

#include <stdbool.h>
#include <stdint.h>

#define PAGE_SIZE     0x1000
#define LARGE_PAGE    0x200000
#define TABLE_ENTRIES 512
#define PAGE_PRESENT  0x1
#define PAGE_WRITABLE 0x2
#define PAGE_ACCESSED 0x20
#define PAGE_DIRTY    0x40
#define PAGE_LARGE    0x80
#define PAGE_ADDRESS  UINT64_C(0x000ffffffffff000)

/* The top table that CR3 names. Tables lie in memory that is mapped one to one. */
uint64_t *paging_top(void);

/* Index into the table of a level: 3 is the top, 0 the last. */
static inline unsigned paging_index(uint64_t address, unsigned level)
{
    return (unsigned)(address >> (12 + 9 * level)) % TABLE_ENTRIES;
}

/* The next table below an entry, or NULL if it is absent or a large page. */
uint64_t *paging_next(uint64_t entry);

/* Map the 2 MiB page around `address` one to one, if it is not mapped, and return the address as a
 * pointer. */
volatile void *paging_map(uint64_t address);

/* A zeroed page for a table, out of a small supply; ends the VM if that is used up. */
uint64_t *paging_new_table(void);

/* The page table of the 2 MiB around `address`, where nothing is mapped so far, and nothing is
 * then: 512 entries. */
uint64_t *paging_window(uint64_t address);

#endif
