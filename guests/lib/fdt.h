/*
 * Reading the flattened device tree (Devicetree Specification 0.4, chapter 5). The tree comes from
 * the VMM and is trusted. Unit addresses are ignored when a node is looked up: "/memory" also
 * finds "memory@100000000".
 */
#ifndef GUESTS_LIB_FDT_H
#define GUESTS_LIB_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fdt;

struct fdt_value {
    const void *data; /* big-endian numbers, or terminated strings */
    uint32_t size;    /* bytes */
};

#define FDT_PATH_MAX 128

/* The tree at an address, or NULL if there is none. */
const struct fdt *fdt_at(uint64_t address);

/*
 * Call `visit` for every node (`name` NULL) and every property, in the order of the tree. `path` is
 * the node's full path with unit addresses. A visitor that returns false ends the walk.
 */
typedef bool fdt_visitor(void *context, const char *path, const char *name,
                         const struct fdt_value *value);
void fdt_walk(const struct fdt *fdt, fdt_visitor *visit, void *context);

/* One property. False if it does not exist. */
bool fdt_find(const struct fdt *fdt, const char *path, const char *name, struct fdt_value *value);

/* Number of nodes with this path, such as "/cpus/cpu". */
unsigned fdt_count(const struct fdt *fdt, const char *path);

uint32_t fdt_u32(const void *data);
uint64_t fdt_u64(const void *data);

#endif
