/*
 * Fuzz target: any bytes as a kernel image, from its headers to its place in guest memory. What is
 * accepted must be consistent and load into exactly as much memory as it asked for; what is refused
 * must say why in one line.
 */
#include <stdlib.h>
#include <string.h>

#include "boot/boot_info.h"
#include "boot/layout.h"
#include "fuzz.h"
#include "image/elf.h"
#include "input.h"

#define KERNEL_MAX (256 * 1024) /* larger kernels are not loaded here */

static void check_refusal(const struct uhyve_error *error)
{
    require(error->status == UHYVE_STATUS_BAD_IMAGE);
    require(error->message[0] && !strchr(error->message, '\n'));
}

static void check_headers(const struct elf *elf, const struct image *image)
{
    uint64_t end = elf->start;

    require(elf->load_count >= 1 && elf->load_count <= ELF_MAX_LOADS);
    require(!elf->relocatable || elf->start == 0);
    require(elf->entry >= elf->start && elf->entry - elf->start < elf->size);
    require(elf->interface >= 1 && elf->interface <= 3);
    require(elf->rela_size % 24 == 0);
    for (size_t i = 0; i < elf->load_count; i++) {
        const struct elf_load *load = &elf->load[i];
        require(load->memsz && load->filesz <= load->memsz);
        require(load->vaddr >= end && load->vaddr + load->memsz > load->vaddr);
        require(range_inside(load->offset, load->filesz, image->size));
        end = load->vaddr + load->memsz;
    }
    require(elf->load[0].vaddr == elf->start && end - elf->start == elf->size);
}

static void check_layout(const struct elf *elf)
{
    static const struct log silent;
    static const uint64_t memory_sizes[] = {UHYVE_MEMORY_MIN, UINT64_C(1) << 30,
                                            UINT64_C(59) << 30};
    for (size_t i = 0; i < 3; i++) {
        struct uhyve_error error = {0};
        struct hermit_boot_info info;
        struct layout layout;
        if (layout_choose(&layout, elf, "fuzz", memory_sizes[i], i ? 0x1000 : 0x10000,
                          i ? layout_random : NULL, &silent, &error) != 0) {
            check_refusal(&error);
            continue;
        }
        const struct boot_facts facts = {.layout = &layout, .elf = elf, .cpu_count = 1};
        boot_info_fill(&info, &facts);
        require(layout.stack >= layout.tables_end && layout.stack >= layout.fdt);
        require(layout.stack + LAYOUT_STACK_SIZE == layout.kernel_start);
        require(layout.kernel_end - layout.kernel_start == elf->size);
        require(range_inside(layout.kernel_start - layout.ram_base, elf->size, layout.ram_size));
        require(layout.entry >= layout.kernel_start && layout.entry < layout.kernel_end);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct uhyve_error error = {0};
    struct image image;
    struct elf elf;

    image_from_memory(&image, "fuzz", bytes, size);
    if (elf_read(&image, &elf, &error) != 0) {
        check_refusal(&error);
        return 0;
    }
    check_headers(&elf, &image);
    check_layout(&elf);
    if (elf.size > KERNEL_MAX)
        return 0;
    uint8_t *memory = calloc(1, elf.size);
    require(memory != NULL);
    if (elf_load(&elf, &image, memory, 0x40000, &error) != 0)
        check_refusal(&error);
    free(memory);
    return 0;
}
