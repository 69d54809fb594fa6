/*
 * Writes to every page of its free memory, says so and exits with code 0: for limits of the host on
 * memory.
 */
#include "lib/boot.h"
#include "lib/paging.h"
#include "lib/print.h"
#include "lib/trap.h"

int main(void)
{
    uint64_t start = (boot_info->kernel_image_end + PAGE_SIZE - 1) & ~(uint64_t)(PAGE_SIZE - 1);
    uint64_t end = boot_info->phys_addr_end;

    trap_init();
    print("starting\n");
    for (uint64_t address = start; address < end; address += PAGE_SIZE)
        *(volatile uint64_t *)paging_map(address) = address;
    print("touched %lu MiB\n", (end - start) >> 20);
    return 0;
}
