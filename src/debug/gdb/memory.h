/*
 * Guest memory as GDB sees it (spec/debug.md section 4), and the breakpoints in it (section 7).
 *
 * Addresses are guest-virtual, translated with the page tables of one vCPU. What GDB reads is the
 * guest's own code: without our breakpoint instructions and without what an accelerator patched;
 * what it writes leaves breakpoints in place. Only RAM is reached, never a device.
 *
 * While every vCPU is stopped, by the session's thread.
 */
#ifndef DEBUG_GDB_MEMORY_H
#define DEBUG_GDB_MEMORY_H

#include "debug/gdb/machine.h"

/* A software breakpoint. It is where it is in RAM: page tables may change under it. */
struct gdb_breakpoint {
    gva_t gva;
    gpa_t gpa;
    uint8_t original; /* the guest's own byte */
};

#define GDB_BREAKPOINTS_MAX 4096

/* Start from {0}; the session owns it. */
struct gdb_breakpoints {
    struct gdb_breakpoint *software;
    size_t count, capacity;
    struct accel_hardware_breakpoint slot[ACCEL_HARDWARE_BREAKPOINTS];
};

/* The bytes from `gva` on, as many of `size` as are mapped to RAM without a gap. */
size_t gdb_memory_read(const struct gdb_machine *machine, const struct gdb_breakpoints *breakpoints,
                       const struct x86_state *state, gva_t gva, void *to, size_t size);

/* Returns 0, or -EFAULT with nothing written unless all of it is RAM. Page permissions do not
 * matter. */
int gdb_memory_write(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                     const struct x86_state *state, gva_t gva, const void *from, size_t size);

/* Is there a software breakpoint of ours at `gva`? */
bool gdb_breakpoint_is_at(const struct gdb_machine *machine,
                          const struct gdb_breakpoints *breakpoints, const struct x86_state *state,
                          gva_t gva);

/* Inserting what is there already is no error, removing what is not there is -ENOENT. Also -EFAULT,
 * -ENOMEM, -ENOSPC. */
int gdb_breakpoint_insert(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                          const struct x86_state *state, gva_t gva);
int gdb_breakpoint_remove(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                          gva_t gva);

/* The same for the four slots of the hardware: -EINVAL for what they cannot watch, -ENOSPC when all
 * are taken. */
int gdb_hardware_insert(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                        enum accel_breakpoint_kind kind, gva_t address, uint64_t size);
int gdb_hardware_remove(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints,
                        enum accel_breakpoint_kind kind, gva_t address, uint64_t size);

/* Remove all of both kinds and release the memory. */
void gdb_breakpoints_clear(const struct gdb_machine *machine, struct gdb_breakpoints *breakpoints);

#endif
