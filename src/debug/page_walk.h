/*
 * The page-table entries that lead to a guest-virtual address, as text for people.
 */
#ifndef DEBUG_PAGE_WALK_H
#define DEBUG_PAGE_WALK_H

#include "memory/ram.h"
#include "util/text.h"

/* Add one line for each level of the 4-level tables at `cr3`, flags spelled out, and one with the
 * result. The tables are the guest's: whatever is in them, the work is bounded. */
void page_walk_format(const struct ram *ram, uint64_t cr3, gva_t address, struct text *text);

#endif
