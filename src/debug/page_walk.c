#include "debug/page_walk.h"

#include "arch/x86_64/paging.h"

#define LEVELS 4

/* Flags of an entry (AMD64 Architecture Programmer's Manual volume 2, section 5.4). */
static const struct {
    unsigned bit;
    const char *name;
} flags[] = {
    {0, "present"},  {1, "writable"}, {2, "user"},   {3, "write-through"}, {4, "uncached"},
    {5, "accessed"}, {6, "dirty"},    {8, "global"}, {63, "no-execute"},
};

static void add_entry(struct text *text, unsigned level, unsigned index, uint64_t entry, bool large)
{
    static const char *const names[LEVELS] = {"PTE", "PDE", "PDPTE", "PML4E"};

    text_printf(text, "%-5s [%3u] %016llx", names[level], index, (unsigned long long)entry);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (entry >> flags[i].bit & 1)
            text_printf(text, " %s", flags[i].name);
    text_add(text, large ? " large\n" : "\n");
}

void page_walk_format(const struct ram *ram, uint64_t cr3, gva_t address, struct text *text)
{
    static const char *const sizes[] = {"4 KiB", "2 MiB", "1 GiB"};
    gpa_t table = cr3 & X86_PTE_FRAME;

    text_printf(text, "0x%llx, tables at 0x%llx\n", (unsigned long long)address,
                (unsigned long long)table);
    if ((uint64_t)((int64_t)(address << 16) >> 16) != address) {
        text_add(text, "not a canonical address\n");
        return;
    }
    for (unsigned level = LEVELS; level-- > 0;) {
        unsigned index = address >> (12 + 9 * level) & 511;
        uint64_t entry;
        if (!ram_read(ram, table + 8 * index, &entry, sizeof entry)) {
            text_printf(text, "the table at 0x%llx is not in RAM\n", (unsigned long long)table);
            return;
        }
        bool large = level && level < LEVELS - 1 && (entry & X86_PTE_LARGE);
        add_entry(text, level, index, entry, large);
        if (!(entry & X86_PTE_PRESENT)) {
            text_add(text, "not mapped\n");
            return;
        }
        table = entry & X86_PTE_FRAME;
        if (level == 0 || large) {
            uint64_t size = UINT64_C(1) << (12 + 9 * level);
            gpa_t gpa = align_down(table, size) + address % size;
            text_printf(text, "guest-physical 0x%llx, in a page of %s%s\n", (unsigned long long)gpa,
                        sizes[level], ram_at(ram, gpa, 1) ? "" : ", which is not RAM");
            return;
        }
    }
}
