/*
 * A machine for debug sessions without a VM: RAM with page tables, registers of two vCPUs, and a
 * record of what the session asked for. An accelerator's patch is imitated: the byte at
 * FAKE_PATCHED reads as FAKE_PATCH in RAM, and is FAKE_UNPATCHED to the guest.
 */
#ifndef FAKE_GDB_MACHINE_H
#define FAKE_GDB_MACHINE_H

#include <errno.h>
#include <string.h>

#include "arch/x86_64/paging.h"
#include "debug/gdb/session.h"

#define FAKE_CPUS      2
#define FAKE_RAM       UINT64_C(0x40000000)
#define FAKE_RAM_SIZE  (UINT64_C(4) << 20)
#define FAKE_CODE      (FAKE_RAM + 0x200000)
#define FAKE_PATCHED   (FAKE_CODE + 0x800)
#define FAKE_PATCH     0xf4
#define FAKE_UNPATCHED 0x9c
#define FAKE_PML4      (FAKE_RAM + 0x10000)
/* Large pages map FAKE_RAM to itself and what follows it, where there is nothing; this small page
 * is followed by one that is not mapped. */
#define FAKE_SMALL_PAGE UINT64_C(0x1000)
#define FAKE_SMALL_GPA  (FAKE_RAM + 0x100000)

struct fake_machine {
    struct gdb_machine machine;
    struct ram ram;
    alignas(4096) uint8_t memory[FAKE_RAM_SIZE];
    struct x86_state state[FAKE_CPUS];
    bool busy[FAKE_CPUS]; /* in a host call */
    bool lost[FAKE_CPUS]; /* its registers cannot be had at all */
    size_t xsave_size;
    uint8_t xsave[FAKE_CPUS][GDB_XSAVE_MAX];
    struct accel_hardware_breakpoint slot[ACCEL_HARDWARE_BREAKPOINTS];
    struct gdb_action actions[FAKE_CPUS]; /* of the last resume */
    unsigned resumed, interrupted, detached, killed, written;
    int hardware_error;
};

static inline int fake_get_state(void *context, unsigned cpu, struct x86_state *state)
{
    const struct fake_machine *fake = context;
    if (fake->lost[cpu])
        return -EIO;
    *state = fake->state[cpu];
    return 0;
}

static inline int fake_set_state(void *context, unsigned cpu, const struct x86_state *state)
{
    struct fake_machine *fake = context;
    if (fake->busy[cpu])
        return -EBUSY;
    fake->state[cpu] = *state;
    return 0;
}

static inline int fake_get_xsave(void *context, unsigned cpu, void *area, size_t size)
{
    const struct fake_machine *fake = context;
    if (fake->busy[cpu])
        return -EBUSY;
    memcpy(area, fake->xsave[cpu], fake->xsave_size);
    return (int)fake->xsave_size;
}

static inline int fake_set_xsave(void *context, unsigned cpu, const void *area, size_t size)
{
    struct fake_machine *fake = context;
    memcpy(fake->xsave[cpu], area, size);
    return 0;
}

static inline void fake_original_code(void *context, gpa_t gpa, void *copy, size_t size)
{
    if (gpa <= FAKE_PATCHED && FAKE_PATCHED - gpa < size) {
        uint8_t *byte = (uint8_t *)copy + (FAKE_PATCHED - gpa);
        if (*byte == FAKE_PATCH)
            *byte = FAKE_UNPATCHED;
    }
}

static inline void fake_code_written(void *context, gpa_t gpa, size_t size)
{
    struct fake_machine *fake = context;
    fake->written++;
}

static inline int fake_set_hardware(void *context, const struct accel_hardware_breakpoint *slots)
{
    struct fake_machine *fake = context;
    if (fake->hardware_error)
        return fake->hardware_error;
    memcpy(fake->slot, slots, sizeof fake->slot);
    return 0;
}

static inline void fake_resume(void *context, const struct gdb_action *actions)
{
    struct fake_machine *fake = context;
    memcpy(fake->actions, actions, sizeof fake->actions);
    fake->resumed++;
}

static inline void fake_interrupt(void *context)
{
    struct fake_machine *fake = context;
    fake->interrupted++;
}

static inline void fake_detach(void *context)
{
    struct fake_machine *fake = context;
    fake->detached++;
}

static inline void fake_kill(void *context)
{
    struct fake_machine *fake = context;
    fake->killed++;
}

static inline void fake_describe(void *context, struct text *text)
{
    text_add(text, "a fake machine\n");
}

static inline void fake_put_entry(struct fake_machine *fake, gpa_t table, unsigned index,
                                  uint64_t entry)
{
    ram_write(&fake->ram, table + 8 * index, &entry, sizeof entry);
}

/* The table for the first 512 GiB is there already. */
static inline void fake_map_small_page(struct fake_machine *fake)
{
    const gpa_t directory = FAKE_RAM + 0x80000, table = FAKE_RAM + 0x81000;
    uint64_t pointers;
    ram_read(&fake->ram, FAKE_PML4, &pointers, sizeof pointers);
    fake_put_entry(fake, pointers & X86_PTE_FRAME, 0, directory | X86_PTE_PRESENT);
    fake_put_entry(fake, directory, 0, table | X86_PTE_PRESENT);
    fake_put_entry(fake, table, FAKE_SMALL_PAGE >> 12, FAKE_SMALL_GPA | X86_PTE_PRESENT);
}

static inline void fake_machine_init(struct fake_machine *fake)
{
    memset(fake, 0, sizeof *fake);
    fake->ram = (struct ram){.base = FAKE_RAM, .size = FAKE_RAM_SIZE, .host = fake->memory};
    paging_map_identity(&fake->ram, FAKE_PML4, FAKE_RAM + 0x11000, FAKE_RAM + 0x38000, FAKE_RAM,
                        FAKE_RAM + FAKE_RAM_SIZE);
    fake_map_small_page(fake);
    fake->memory[FAKE_PATCHED - FAKE_RAM] = FAKE_PATCH;
    for (unsigned i = 0; i < FAKE_CPUS; i++) {
        fake->state[i].cr0 = X86_CR0_PG | X86_CR0_PE;
        fake->state[i].cr3 = FAKE_PML4;
        fake->state[i].rip = FAKE_CODE + i;
    }
    fake->xsave_size = 832;
    fake->machine = (struct gdb_machine){
        .context = fake,
        .cpu_count = FAKE_CPUS,
        .ram = &fake->ram,
        .image = "/images/fake",
        .relocated = true,
        .first_segment = FAKE_CODE,
        .get_state = fake_get_state,
        .set_state = fake_set_state,
        .get_xsave = fake_get_xsave,
        .set_xsave = fake_set_xsave,
        .original_code = fake_original_code,
        .code_written = fake_code_written,
        .set_hardware = fake_set_hardware,
        .resume = fake_resume,
        .interrupt = fake_interrupt,
        .detach = fake_detach,
        .kill = fake_kill,
        .describe = fake_describe,
        .statistics = fake_describe,
    };
}

#endif
