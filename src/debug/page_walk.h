/*
 * The page tables of a guest as text: how the processor finds an address, or where it does not.
 */
#ifndef DEBUG_PAGE_WALK_H
#define DEBUG_PAGE_WALK_H

#include "memory/ram.h"
#include "util/text.h"

/*
 * Add one line for each of the four levels that are reached from `cr3`: index, entry, its flags,
 * and at the end the guest-physical address or why there is none (Intel SDM volume 3, section 4.5).
 */
void page_walk_format(const struct ram *ram, uint64_t cr3, gva_t address, struct text *text);

#endif
