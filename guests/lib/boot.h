/*
 * What the guest was told at start, and its main function.
 */
#ifndef GUESTS_LIB_BOOT_H
#define GUESTS_LIB_BOOT_H

#include <stdint.h>

#include "hermit/boot_info.h"
#include "lib/fdt.h"

/* The program: runs on CPU 0 with interrupts off; the result is the exit code. */
int main(void);

/* Both point into the memory the VMM filled, which nobody overwrites. boot_fdt is NULL if there is
 * no device tree. */
extern const struct hermit_boot_info *boot_info;
extern const struct fdt *boot_fdt;

static inline uint64_t boot_memory_size(void)
{
    return boot_info->phys_addr_end - boot_info->phys_addr_start;
}

/* TSC frequency in kHz from the device tree or the boot information; 0 if unknown. */
uint32_t boot_tsc_khz(void);

/* Whole seconds since the Unix epoch at which the VM was made. */
uint64_t boot_seconds(void);

#endif
