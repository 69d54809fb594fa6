#include "boot/boot_info.h"

#include <time.h>

#include "hermit/hypercall.h"

void boot_info_fill(struct hermit_boot_info *info, const struct boot_facts *facts)
{
    const struct layout *layout = facts->layout;
    const struct elf *elf = facts->elf;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    __int128 nanoseconds = (__int128)now.tv_sec * 1000000000 + now.tv_nsec;
    *info = (struct hermit_boot_info){
        .phys_addr_start = layout->ram_base,
        .phys_addr_end = layout->ram_base + layout->ram_size,
        .serial_port_base = elf->interface == 1 ? HERMIT_V1_UART : HERMIT_V2_SERIAL_WRITE_BUFFER,
        .device_tree = layout->fdt,
        .kernel_image_start = layout->kernel_start,
        .kernel_image_end = layout->kernel_end,
        .platform = HERMIT_PLATFORM_UHYVE,
        .has_pci = facts->has_pci,
        .cpu_count = facts->cpu_count,
        .cpu_khz = facts->tsc_khz,
        .boot_time_low = (uint64_t)nanoseconds,
        .boot_time_high = (uint64_t)(nanoseconds >> 64),
    };
    if (elf->tls.memsz)
        info->tls = (struct hermit_tls_info){
            .start = elf->tls.vaddr + (elf->relocatable ? layout->kernel_start : 0),
            .filesz = elf->tls.filesz,
            .memsz = elf->tls.memsz,
            .align = elf->tls.align,
        };
}
