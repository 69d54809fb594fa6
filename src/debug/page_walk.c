#include "debug/page_walk.h"

#include "arch/x86_64/paging.h"

static void add_entry(struct text *text, const char *name, unsigned index, uint64_t entry)
{
    static const struct {
        unsigned bit;
        const char *name;
    } flags[] = {{1, "writable"}, {2, "user"},     {3, "write-through"},
                 {4, "uncached"}, {5, "accessed"}, {6, "dirty"},
                 {7, "large"},    {8, "global"},   {63, "no-execute"}};

    text_printf(text, "  %-4s[%3u] %016llx", name, index, (unsigned long long)entry);
    if (!(entry & X86_PTE_PRESENT)) {
        text_add(text, " not present\n");
        return;
    }
    text_add(text, " present");
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (entry >> flags[i].bit & 1)
            text_printf(text, " %s", flags[i].name);
    text_add(text, "\n");
}

void page_walk_format(const struct ram *ram, uint64_t cr3, gva_t address, struct text *text)
{
    static const char *const names[] = {"PT", "PD", "PDPT", "PML4"};
    gpa_t table = cr3 & X86_PTE_FRAME;

    text_printf(text, "page tables for 0x%llx:\n", (unsigned long long)address);
    if ((uint64_t)((int64_t)(address << 16) >> 16) != address) {
        text_add(text, "  the address is not canonical: bits 63 to 47 differ\n");
        return;
    }
    for (unsigned level = 4; level-- > 0;) {
        unsigned index = (address >> (12 + 9 * level)) % 512;
        uint64_t entry;
        if (!ram_read(ram, table + 8 * index, &entry, sizeof entry)) {
            text_printf(text, "  the %s at 0x%llx is outside of the guest's memory\n", names[level],
                        (unsigned long long)table);
            return;
        }
        add_entry(text, names[level], index, entry);
        if (!(entry & X86_PTE_PRESENT))
            return;
        table = entry & X86_PTE_FRAME;
        if (level == 0 || (level < 3 && (entry & X86_PTE_LARGE))) {
            uint64_t size = UINT64_C(1) << (12 + 9 * level);
            gpa_t gpa = align_down(table, size) + address % size;
            text_printf(text, "  guest-physical 0x%llx%s\n", (unsigned long long)gpa,
                        ram_at(ram, gpa, 1) ? "" : ", which is outside of the guest's memory");
            return;
        }
    }
}
