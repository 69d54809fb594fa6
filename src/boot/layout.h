/*
 * Where everything goes in guest-physical memory (spec/boot.md sections 2 and 3): a decision made
 * once, from the kernel's headers and the VM's parameters, before any memory exists.
 */
#ifndef BOOT_LAYOUT_H
#define BOOT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "image/elf.h"
#include "memory/ram.h"
#include "util/log.h"

/* Offsets from the start of RAM. */
#define LAYOUT_GDT             0x0
#define LAYOUT_FDT             0x1000
#define LAYOUT_FDT_SIZE        0x4000
#define LAYOUT_BOOT_INFO       0x5000
#define LAYOUT_IDT             0x6000
#define LAYOUT_EXCEPTION_STUBS 0x7000
#define LAYOUT_PML4            0x10000
#define LAYOUT_TABLES          0x11000
#define LAYOUT_TABLES_END      0x38000
#define LAYOUT_KERNEL                                                                              \
    0x40000 /* where a relocatable kernel starts, unless the device tree needs the room */
#define LAYOUT_STACK_SIZE 0x8000

struct layout {
    gpa_t ram_base;
    uint64_t ram_size; /* bytes */
    gpa_t gdt, idt, exception_stubs;
    gpa_t boot_info;
    gpa_t fdt;
    uint64_t fdt_capacity; /* bytes */
    gpa_t pml4;
    gpa_t tables, tables_end; /* further page tables */
    gpa_t stack;              /* lowest address; the stack ends at kernel_start */
    gpa_t kernel_start, kernel_end;
    gpa_t archive;         /* a Hermit image, unpacked; a multiple of the page size */
    uint64_t archive_size; /* bytes; 0: none */
    gpa_t entry;
};

/* A source of randomness for ASLR: a uniformly distributed value in [0, limit]. */
typedef uint64_t (*layout_random_fn)(uint64_t limit);

/*
 * Choose the layout. `fdt_size` is what the device tree will need at most; a tree larger than
 * LAYOUT_FDT_SIZE moves to the room between page tables and stack. `random` is NULL without ASLR.
 * Returns 0 or -errno with *error filled (status 126: the image does not fit).
 */
int layout_choose(struct layout *layout, const struct elf *elf, const char *image_path,
                  uint64_t memory_size, uint64_t fdt_size, layout_random_fn random,
                  const struct log *log, struct uhyve_error *error);

/*
 * Find a place for `size` bytes of a Hermit image, which may be 0, behind the kernel (spec/boot.md
 * section 3). Returns 0 or -errno with *error filled (status 126).
 */
int layout_add_archive(struct layout *layout, const char *image_path, uint64_t size,
                       struct uhyve_error *error);

/* getrandom(2), without modulo bias. */
uint64_t layout_random(uint64_t limit);

#endif
