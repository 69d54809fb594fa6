/*
 * How debugging aids see a stopped guest: its memory by guest-virtual address, its kernel's code,
 * and names for addresses in it.
 *
 * Whoever stops the vCPU fills the structure and owns what it points to. Nothing here changes it.
 * Guest memory is whatever the guest left there: every value read is a hint and no more.
 */
#ifndef DEBUG_GUEST_VIEW_H
#define DEBUG_GUEST_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "image/symbols.h"
#include "image/unwind.h"
#include "memory/ram.h"
#include "util/text.h"

struct guest_view {
    /* Copy `size` bytes; false, with anything in `to`, unless all of them are mapped. */
    bool (*read)(void *context, gva_t address, void *to, size_t size);
    void *context;
    const struct symbols *symbols;      /* may be NULL */
    const struct unwind_tables *unwind; /* may be NULL */
    const void *file;                   /* the image's, for places in the source; may be NULL */
    size_t file_size;
    uint64_t load_offset; /* guest-virtual minus image address; 0 for ET_EXEC */
    gva_t kernel_start;   /* the kernel image in guest memory is */
    gva_t kernel_end;     /* [kernel_start, kernel_end) */
};

/* Inside an executable part of the kernel; without symbols: inside the kernel. */
bool guest_view_is_code(const struct guest_view *view, gva_t address);

/* True if the instruction that ends right before `address` looks like a near call, as it does for a
 * return address. */
bool guest_view_follows_call(const struct guest_view *view, gva_t address);

/*
 * Add " function+0x12" and, for a relocated kernel, " (image 0x1234)", the address that tools which
 * read the image want. `lookup` is the address whose function counts: the same as `address`, or the
 * byte before it for a return address. Adds nothing outside the kernel.
 */
void guest_view_describe(const struct guest_view *view, gva_t address, gva_t lookup,
                         struct text *text);

#endif
