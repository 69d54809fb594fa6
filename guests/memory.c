/*
 * Checks memory as the VMM hands it over: page tables (spec/boot.md section 4), zeroed RAM, and
 * that the first and the last page are there.
 */
#include "lib/boot.h"
#include "lib/build.h"
#include "lib/cpu.h"
#include "lib/paging.h"
#include "lib/print.h"
#include "lib/tap.h"
#include "lib/trap.h"

#define TABLE_OFFSET  0x10000 /* of the top table from the start of RAM */
#define GDT_OFFSET    0x0
#define STRIDE        0x10000 /* of the samples beyond the first pages of free memory */
#define PAGE_FLAGS    0xfff
#define HARDWARE_BITS (PAGE_ACCESSED | PAGE_DIRTY) /* set by the CPU as it goes */

static uint64_t entry_without_hardware_bits(const uint64_t *table, unsigned index)
{
    return table[index] & ~(uint64_t)HARDWARE_BITS;
}

static void check_registers(void)
{
    uint64_t base = boot_info->phys_addr_start;
    uint64_t cr0, cr4, flags;
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) gdt;
    uint16_t code, data;
    __asm__("mov %%cr0, %0" : "=r"(cr0));
    __asm__("mov %%cr4, %0" : "=r"(cr4));
    __asm__("sgdt %0" : "=m"(gdt));
    __asm__("mov %%cs, %0" : "=r"(code));
    __asm__("mov %%ss, %0" : "=r"(data));
    __asm__("pushfq; pop %0" : "=r"(flags));

    tap_ok(cr0 == 0x80000031, "cr0 is %lx", cr0);
    tap_ok((cr4 & 0x20) != 0, "cr4 has PAE");
    uint64_t efer = cpu_read_msr(0xc0000080);
    tap_ok(efer == 0xd00, "efer is %lx", efer);
    tap_ok((flags & 0x200) == 0, "interrupts are off");
    tap_ok(gdt.base == base + GDT_OFFSET && gdt.limit == 23, "gdt of %u bytes at %lx",
           gdt.limit + 1, gdt.base);
    tap_ok(code == 0x08 && data == 0x10, "selectors are %x and %x", code, data);

    const uint64_t *descriptors = (const uint64_t *)(uintptr_t)gdt.base;
    tap_ok(descriptors[0] == 0 && descriptors[1] == 0x00af9b000000ffff &&
               descriptors[2] == 0x00cf93000000ffff,
           "segment descriptors");
}

/* Number of leading entries of a page directory that map `first`, `first` + 2 MiB and so on. */
static unsigned identity_pages(const uint64_t *directory, uint64_t first)
{
    for (unsigned i = 0; paging_index(first, 1) + i < TABLE_ENTRIES; i++) {
        uint64_t address = first + (uint64_t)i * LARGE_PAGE;
        if (entry_without_hardware_bits(directory, paging_index(address, 1)) !=
            (address | PAGE_PRESENT | PAGE_WRITABLE | PAGE_LARGE))
            return i;
    }
    return TABLE_ENTRIES - paging_index(first, 1);
}

static void check_tables(void)
{
    uint64_t base = boot_info->phys_addr_start;
    const uint64_t *top = paging_top();
    unsigned flags = PAGE_PRESENT | PAGE_WRITABLE;
    tap_ok((uintptr_t)top == base + TABLE_OFFSET, "top table at %lx", (uint64_t)(uintptr_t)top);
    tap_ok(entry_without_hardware_bits(top, 511) == ((uintptr_t)top | flags),
           "entry 511 is recursive");

    const uint64_t *pointers = paging_next(top[paging_index(base, 3)]);
    if (!tap_ok(pointers != NULL, "page directory pointers are present"))
        return;
    const uint64_t *directory = paging_next(pointers[paging_index(base, 2)]);
    if (!tap_ok(directory != NULL, "page directory is present"))
        return;

    /* All in one GiB: the first is never so close to the end of it that the image does not fit. */
    uint64_t image = boot_info->kernel_image_end - base;
    unsigned pages = identity_pages(directory, base);
    unsigned left = TABLE_ENTRIES - paging_index(base, 1);
    unsigned needed = guest_has_abi_tag ? (unsigned)(image / LARGE_PAGE) + 1 : left;
    tap_ok(pages >= (needed < left ? needed : left), "%u pages of 2 MiB are mapped one to one",
           pages);
}

/* First address from `start` on, in steps, whose eight bytes are not zero; or `end`. */
static uint64_t find_nonzero(uint64_t start, uint64_t end, uint64_t step)
{
    for (uint64_t address = start; address < end; address += step)
        if (*(const volatile uint64_t *)paging_map(address) != 0)
            return address;
    return end;
}

static void check_zero(uint64_t start, uint64_t end, uint64_t step, const char *name)
{
    uint64_t found = find_nonzero(start, end, step);
    if (!tap_ok(found == end, "%s is zero", name))
        print("# %lx holds %lx\n", found, *(const volatile uint64_t *)(uintptr_t)found);
}

static void check_contents(void)
{
    uint64_t base = boot_info->phys_addr_start, end = boot_info->phys_addr_end;
    uint64_t free = (boot_info->kernel_image_end + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    check_zero(base + 24, base + PAGE_SIZE, 8, "the page of the gdt behind it");
    check_zero(base + 0x5000 + sizeof(*boot_info), base + 0x6000, 8, "the page of the boot info");
    check_zero(base + 0x8000, base + TABLE_OFFSET, 8, "the gap below the page tables");
    check_zero(free, free + 2 * PAGE_SIZE, 8, "memory behind the image");
    check_zero((free + STRIDE - 1) & ~(uint64_t)(STRIDE - 1), end, STRIDE, "free memory");
    check_zero(end - PAGE_SIZE, end, 8, "the last page");
}

static void check_write(uint64_t address, const char *name)
{
    volatile uint64_t *word = paging_map(address);
    *word = ~address;
    tap_ok(*word == ~address, "%s can be written", name);
    *word = 0;
}

int main(void)
{
    check_registers();
    check_tables();
    trap_init(); /* from here on a page fault tells where */
    check_contents();
    check_write(boot_info->phys_addr_start + PAGE_SIZE - 8, "the first page");
    check_write(boot_info->phys_addr_end - 8, "the last word");
    return tap_end();
}
