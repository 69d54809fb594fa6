#include "boot/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "util/error.h"
#include "util/text.h"

#define GIB       (UINT64_C(1) << 30)
#define RAM_ALIGN (UINT64_C(2) << 20)
#define PAGE_SIZE 4096
#define KERNEL_ALIGN                                                                               \
    0x40000 /* granularity with which a large device tree moves a relocatable kernel */

/* Interface 1 kernels live below 3 GiB, later ones above 4 GiB: the gap holds devices. */
static void address_range(unsigned interface, uint64_t *low, uint64_t *high)
{
    *low = interface == 1 ? 0 : 4 * GIB;
    *high = interface == 1 ? 3 * GIB - 1 : 64 * GIB;
}

uint64_t layout_random(uint64_t limit)
{
    /* Smallest mask that covers the limit, then rejection: at most two tries on average. */
    uint64_t mask = limit ? UINT64_MAX >> __builtin_clzll(limit) : 0;
    uint64_t value = 0;
    do {
        if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value)
            return limit; /* early boot without entropy: a fixed place is all there is */
        value &= mask;
    } while (value > limit);
    return value;
}

static int too_large(const char *path, const struct elf *elf, uint64_t memory_size, uint64_t room,
                     struct uhyve_error *error)
{
    char have[32], most[32];
    return error_set(error, UHYVE_STATUS_BAD_IMAGE, E2BIG,
                     "image '%s' cannot be given %s of memory: its kernel (hypercall interface %u) "
                     "can use at most %s (use a smaller -m)",
                     path, text_format_size(have, sizeof have, memory_size), elf->interface,
                     text_format_size(most, sizeof most, align_down(room, RAM_ALIGN)));
}

static int does_not_fit(const char *path, uint64_t need, struct uhyve_error *error)
{
    char text[32];
    uint64_t whole = need;
    checked_align_up(need, RAM_ALIGN, &whole);
    return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOMEM,
                     "image '%s' does not fit into the guest's memory: it needs more than %s "
                     "(use a larger -m)",
                     path, text_format_size(text, sizeof text, whole));
}

/* Where a kernel with fixed addresses wants to be. */
static int place_fixed(struct layout *layout, const struct elf *elf, const char *path,
                       uint64_t lowest, uint64_t highest, struct uhyve_error *error)
{
    if (elf->start < layout->ram_base + lowest || elf->start > highest)
        return error_set(error, UHYVE_STATUS_BAD_IMAGE, ENOEXEC,
                         "image '%s' cannot be booted: it is linked to address 0x%llx, possible "
                         "are 0x%llx to 0x%llx (link it there, or as a relocatable kernel)",
                         path, (unsigned long long)elf->start,
                         (unsigned long long)(layout->ram_base + lowest),
                         (unsigned long long)highest);
    layout->kernel_start = elf->start;
    return 0;
}

int layout_choose(struct layout *layout, const struct elf *elf, const char *image_path,
                  uint64_t memory_size, uint64_t fdt_size, layout_random_fn random,
                  const struct log *log, struct uhyve_error *error)
{
    uint64_t low, high, below, need;
    bool large_fdt = fdt_size > LAYOUT_FDT_SIZE;

    address_range(elf->interface, &low, &high);
    /* What must stay free below the kernel: boot structures, a large device tree, the boot stack.
     */
    if (!large_fdt)
        below = LAYOUT_KERNEL;
    else if (checked_add(fdt_size, LAYOUT_TABLES_END + LAYOUT_STACK_SIZE, &below) ||
             checked_align_up(below, KERNEL_ALIGN, &below))
        return does_not_fit(image_path, fdt_size, error);

    if (checked_add(elf->size, below, &need) || need > high - low)
        return does_not_fit(image_path, elf->size, error);
    uint64_t room = high - low -
                    need; /* for RAM, counted as the reference does: beside the kernel */
    if (memory_size > room)
        return too_large(image_path, elf, memory_size, room, error);
    uint64_t upper = high - need - memory_size;

    *layout = (struct layout){.ram_base = low, .ram_size = memory_size};
    if (elf->relocatable) {
        if (random)
            layout->ram_base = low + align_down(random(upper - low), RAM_ALIGN);
        layout->kernel_start = layout->ram_base + below;
    } else {
        if (random)
            log_info(log, "image '%s' is not relocatable: its address is not randomised",
                     image_path);
        int err = place_fixed(layout, elf, image_path, below, upper, error);
        if (err)
            return err;
    }
    if (checked_add(layout->kernel_start, elf->size, &layout->kernel_end) ||
        !range_inside(layout->kernel_start - layout->ram_base, elf->size, memory_size))
        return does_not_fit(image_path, layout->kernel_start - layout->ram_base + elf->size, error);

    gpa_t base = layout->ram_base;
    layout->gdt = base + LAYOUT_GDT;
    layout->idt = base + LAYOUT_IDT;
    layout->exception_stubs = base + LAYOUT_EXCEPTION_STUBS;
    layout->boot_info = base + LAYOUT_BOOT_INFO;
    layout->fdt = base + (large_fdt ? LAYOUT_TABLES_END : LAYOUT_FDT);
    layout->fdt_capacity = large_fdt ? fdt_size : LAYOUT_FDT_SIZE;
    layout->pml4 = base + LAYOUT_PML4;
    layout->tables = base + LAYOUT_TABLES;
    layout->tables_end = base + LAYOUT_TABLES_END;
    layout->stack = layout->kernel_start - LAYOUT_STACK_SIZE;
    layout->entry = elf->entry + (elf->relocatable ? layout->kernel_start : 0);
    return 0;
}

int layout_add_archive(struct layout *layout, const char *image_path, uint64_t size,
                       struct uhyve_error *error)
{
    uint64_t start, end, need;

    if (!size)
        return 0;
    uint64_t used = layout->kernel_end - layout->ram_base;
    if (checked_align_up(used, PAGE_SIZE, &start) || checked_add(start, size, &need) ||
        checked_align_up(need, PAGE_SIZE, &end))
        end = UINT64_MAX;
    if (end > layout->ram_size)
        return does_not_fit(image_path, end, error);
    layout->archive = layout->ram_base + start;
    layout->archive_size = size;
    return 0;
}
