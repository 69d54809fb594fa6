/*
 * The boot information block of spec/boot.md section 8, filled from what the VM was made of.
 */
#ifndef BOOT_BOOT_INFO_H
#define BOOT_BOOT_INFO_H

#include "boot/layout.h"
#include "hermit/boot_info.h"

struct boot_facts {
    const struct layout *layout;
    const struct elf *elf;
    unsigned cpu_count;
    uint32_t tsc_khz; /* 0: unknown */
    bool has_pci;
};

/* Fill *info; the boot time is the host's wall clock now. */
void boot_info_fill(struct hermit_boot_info *info, const struct boot_facts *facts);

#endif
