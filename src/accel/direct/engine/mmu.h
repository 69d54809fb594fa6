/*
 * The guest's page tables: translating a guest-virtual address the way the processor would, and
 * access to guest memory through them. Pure in that nothing but guest RAM and struct cpu is
 * touched.
 */
#ifndef ENGINE_MMU_H
#define ENGINE_MMU_H

#include "accel/direct/engine/engine.h"

enum access {
    ACCESS_READ,
    ACCESS_WRITE,
    ACCESS_EXECUTE,
};

/* Bits of a page-table entry (Intel SDM volume 3, section 4.5). */
#define PTE_PRESENT  (UINT64_C(1) << 0)
#define PTE_WRITABLE (UINT64_C(1) << 1)
#define PTE_USER     (UINT64_C(1) << 2)
#define PTE_ACCESSED (UINT64_C(1) << 5)
#define PTE_DIRTY    (UINT64_C(1) << 6)
#define PTE_LARGE    (UINT64_C(1) << 7)
#define PTE_NX       (UINT64_C(1) << 63)
#define PTE_FRAME    UINT64_C(0x000ffffffffff000)

/* Error code of a page fault. */
#define PF_PRESENT  (1u << 0)
#define PF_WRITE    (1u << 1)
#define PF_RESERVED (1u << 3)
#define PF_FETCH    (1u << 4)

struct translation {
    uint64_t gpa;
    unsigned level;  /* 0: 4 KiB, 1: 2 MiB, 2: 1 GiB page */
    uint64_t *entry; /* of the last level */
    bool writable;   /* without a further fault: permission and dirty bit are there */
    bool executable;
};

/*
 * Translations for a sequence of accesses: pages in guest RAM, by the low bits of their number.
 * Like a TLB it may be out of date until it is flushed, and is flushed where a processor would.
 */
#define MMU_CACHE_PAGES 16

struct mmu_cache {
    struct {
        uint64_t read, write; /* guest-virtual page that may be read, written; 1: none */
        uint8_t *view;
    } page[MMU_CACHE_PAGES];
};

void mmu_cache_flush(struct mmu_cache *cache);

static inline bool is_canonical(uint64_t address)
{
    return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

/*
 * Translate, check the permissions for `access` at CPL 0 and set accessed and dirty bits. On false
 * cpu->fault holds the page fault (or the #GP of an address that is not canonical).
 */
bool mmu_translate(struct cpu *cpu, uint64_t gva, enum access access, struct translation *result);

/*
 * Copy between the engine and guest-virtual memory, device memory included; with cpu->mmu_cache if
 * that is not NULL. On false cpu->fault is set; bytes before the fault may have been written.
 */
bool mmu_read(struct cpu *cpu, uint64_t gva, void *to, unsigned size);
bool mmu_write(struct cpu *cpu, uint64_t gva, const void *from, unsigned size);

/* Fetch up to `size` bytes of code at `gva`; returns how many could be read. Patched bytes appear
 * as they were. */
unsigned mmu_fetch(struct cpu *cpu, uint64_t gva, uint8_t *to, unsigned size);

/* Is the byte at guest-physical address `gpa` of code outside the kernel's patches known to have
 * been replaced by a trap? Then *original is what it was. */
bool mmu_find_site(uint64_t gpa, uint8_t *original);

/* Was an instruction at guest-physical address `gpa` replaced by a trap, which is still there? */
bool mmu_is_trap(uint64_t gpa);

/*
 * A pointer to [gva, gva + size) for atomic operations, or NULL: with *fault set if cpu->fault was
 * raised, else because it is device memory or crosses a page.
 */
void *mmu_pointer(struct cpu *cpu, uint64_t gva, unsigned size, enum access access, bool *fault);

#endif
