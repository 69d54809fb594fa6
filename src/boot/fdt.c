#include "boot/fdt.h"

#include <endian.h>
#include <errno.h>
#include <libfdt.h>
#include <limits.h>
#include <stdio.h>

#define BYTES_FIXED   1024 /* header, fixed nodes and property names, with room to spare */
#define BYTES_PER_CPU 64   /* begin node, "cpu@123", one property, end node */

uint64_t fdt_size_bound(unsigned cpu_count, size_t bootargs_length, size_t mounts_size)
{
    uint64_t size = BYTES_FIXED + (uint64_t)BYTES_PER_CPU * cpu_count + bootargs_length +
                    mounts_size;
    checked_align_up(size, 4096, &size);
    return size;
}

static int add_memory(void *fdt, const struct fdt_content *content)
{
    char name[32];
    uint64_t reg[2] = {htobe64(content->ram_base), htobe64(content->ram_size)};
    int err = 0;

    snprintf(name, sizeof name, "memory@%llx", (unsigned long long)content->ram_base);
    err |= fdt_begin_node(fdt, name);
    err |= fdt_property_string(fdt, "device_type", "memory");
    err |= fdt_property(fdt, "reg", reg, sizeof reg);
    err |= fdt_end_node(fdt);
    return err;
}

static int add_cpus(void *fdt, const struct fdt_content *content)
{
    int err = 0;

    err |= fdt_begin_node(fdt, "cpus");
    err |= fdt_property_u32(fdt, "#address-cells", 1);
    err |= fdt_property_u32(fdt, "#size-cells", 0);
    for (unsigned i = 0; i < content->cpu_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "cpu@%u", i);
        err |= fdt_begin_node(fdt, name);
        err |= fdt_property_string(fdt, "device_type", "cpu");
        err |= fdt_end_node(fdt);
    }
    err |= fdt_end_node(fdt);
    return err;
}

/* The kernel must know where the archive is, and that whole pages of it are in use. */
static int add_reservation(void *fdt, const struct fdt_content *content)
{
    uint64_t size = content->archive_size;

    if (size && !checked_align_up(size, 4096, &size) &&
        fdt_add_reservemap_entry(fdt, content->archive, size) != 0)
        return -FDT_ERR_NOSPACE;
    return fdt_finish_reservemap(fdt);
}

static int add_chosen(void *fdt, const struct fdt_content *content)
{
    int err = 0;

    err |= fdt_begin_node(fdt, "chosen");
    err |= fdt_property_string(fdt, "bootargs", content->bootargs);
    if (content->archive_size) {
        err |= fdt_property_u64(fdt, "linux,initrd-start", content->archive);
        err |= fdt_property_u64(fdt, "linux,initrd-end", content->archive + content->archive_size);
    }
    err |= fdt_end_node(fdt);
    return err;
}

int fdt_write(void *to, uint64_t capacity, const struct fdt_content *content)
{
    int err = 0;

    if (capacity > INT_MAX)
        return -ENOSPC;
    /* libfdt returns 0 or a negative number; the first failure leaves the tree unusable, so one
     * check suffices. */
    err |= fdt_create(to, (int)capacity);
    err |= add_reservation(to, content);
    err |= fdt_begin_node(to, "");
    err |= fdt_property_string(to, "compatible", "hermit,uhyve");
    err |= fdt_property_u32(to, "#address-cells", 2);
    err |= fdt_property_u32(to, "#size-cells", 2);
    err |= add_memory(to, content);
    if (content->mounts_size) {
        /* Without mounts there must be no such node: kernels panic over an empty list. */
        err |= fdt_begin_node(to, "uhyve,mounts");
        err |= fdt_property(to, "mounts", content->mounts, (int)content->mounts_size);
        err |= fdt_end_node(to);
    }
    err |= add_cpus(to, content);
    if (content->tsc_khz) {
        err |= fdt_begin_node(to, "hermit,tsc");
        err |= fdt_property_u32(to, "khz", content->tsc_khz);
        err |= fdt_end_node(to);
    }
    err |= add_chosen(to, content);
    err |= fdt_end_node(to);
    err |= fdt_finish(to);
    return err ? -ENOSPC : 0;
}
