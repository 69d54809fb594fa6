#include "lib/boot.h"

#include <stddef.h>

#include "lib/hypercall.h"

const struct hermit_boot_info *boot_info;
const struct fdt *boot_fdt;

/* Called by entry.S on CPU 0. */
_Noreturn void guest_start(const struct hermit_boot_info *info);

_Noreturn void guest_start(const struct hermit_boot_info *info)
{
    boot_info = info;
    boot_fdt = fdt_at(info->device_tree);
    guest_exit(main());
}

uint32_t boot_tsc_khz(void)
{
    struct fdt_value khz;
    if (boot_fdt != NULL && fdt_find(boot_fdt, "/hermit,tsc", "khz", &khz) && khz.size == 4)
        return fdt_u32(khz.data);
    return boot_info->cpu_khz;
}

uint64_t boot_seconds(void)
{
    /* The high half is zero until the year 2554, and dividing 128 bits needs a library. */
    return boot_info->boot_time_low / 1000000000;
}
