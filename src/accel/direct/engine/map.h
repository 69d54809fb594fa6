/*
 * Guest RAM at guest-virtual addresses of the engine's own address space: the counterpart of a
 * TLB. Pages are mapped when they are first touched, with the permissions of the guest's entry, and
 * unmapped when the guest invalidates them. The mappings are those of all vCPUs.
 */
#ifndef ENGINE_MAP_H
#define ENGINE_MAP_H

#include "accel/direct/engine/mmu.h"

enum map_result {
    MAP_DONE,       /* try the access again */
    MAP_FAULT,      /* cpu->fault holds the guest's page fault */
    MAP_WATCHED,    /* a debugger wants to know of it: emulate */
    MAP_IMPOSSIBLE, /* allowed by the page tables, but not mappable: emulate */
    MAP_UNSWEPT,    /* this and the next are internal to map.c */
    MAP_MOVED_TEXT,
};

enum map_result map_resolve(struct cpu *cpu, uint64_t gva, enum access access);

/* Map the page although it is watched: lift.c. */
void map_lift(struct cpu *cpu, uint64_t gva, enum access access);

/* INVLPG. */
void map_flush_page(uint64_t gva);
void map_flush_all(void);

#endif
