/*
 * x86_64 page tables: the ones a guest starts with (spec/boot.md section 4), and walking the ones
 * it made itself.
 */
#ifndef ARCH_X86_64_PAGING_H
#define ARCH_X86_64_PAGING_H

#include "memory/ram.h"

#define X86_PTE_PRESENT  (UINT64_C(1) << 0)
#define X86_PTE_WRITABLE (UINT64_C(1) << 1)
#define X86_PTE_LARGE    (UINT64_C(1) << 7)
#define X86_PTE_FRAME    UINT64_C(0x000ffffffffff000)

/*
 * Map [start, last] (both rounded down to 2 MiB, so the page that contains `last` is included) to
 * itself with 2 MiB pages, and the PML4 into its own last entry. The PML4 is at `pml4`, further
 * tables come from [tables, tables_end); all must read as zero and be guest RAM. Returns 0, or
 * -ENOSPC when the tables do not suffice.
 */
int paging_map_identity(const struct ram *ram, gpa_t pml4, gpa_t tables, gpa_t tables_end,
                        gpa_t start, gpa_t last);

/*
 * Translate a guest-virtual address with the 4-level tables at `cr3`. Returns false if nothing is
 * mapped there or a table lies outside guest RAM; else *gpa is the address and *size the number of
 * bytes to the end of its page.
 */
bool paging_translate(const struct ram *ram, uint64_t cr3, gva_t gva, gpa_t *gpa, uint64_t *size);

#endif
