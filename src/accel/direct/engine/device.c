#include "accel/direct/engine/device.h"

#include "accel/direct/engine/apic.h"
#include "accel/direct/engine/exit.h"
#include "accel/direct/engine/ioapic.h"
#include "accel/direct/engine/memory.h"

/* Registers of the local APIC are 32 bits wide, 16 bytes apart; other accesses are undefined. */
static void access_apic(struct cpu *cpu, uint32_t offset, bool write, uint8_t *data, unsigned size)
{
    uint32_t value = 0;
    uint64_t wide = 0;

    memory_copy(&value, data, size < 4 ? size : 4);
    if (offset % 16 == 0 && write)
        apic_write(cpu, offset / 16, value);
    else if (offset % 16 == 0)
        apic_read(cpu, offset / 16, &wide);
    if (!write) {
        memory_zero(data, size);
        memory_copy(data, &wide, size < 4 ? size : 4);
    }
}

static void access_ioapic(uint32_t offset, bool write, uint8_t *data, unsigned size)
{
    uint32_t value = 0;

    memory_copy(&value, data, size < 4 ? size : 4);
    if (write) {
        ioapic_write(offset, value);
        return;
    }
    value = ioapic_read(offset);
    memory_zero(data, size);
    memory_copy(data, &value, size < 4 ? size : 4);
}

static void access_piece(struct cpu *cpu, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
    const struct direct_header *header = engine.header;
    uint64_t apic_base = cpu->state->apic_base;
    bool xapic = (apic_base & APIC_BASE_ENABLED) && !(apic_base & APIC_BASE_X2APIC);

    if (xapic && gpa - (apic_base & ~UINT64_C(0xfff)) < DIRECT_PAGE)
        access_apic(cpu, (uint32_t)(gpa % DIRECT_PAGE), write, data, size);
    else if (gpa - IOAPIC_BASE < IOAPIC_SIZE)
        access_ioapic((uint32_t)(gpa - IOAPIC_BASE), write, data, size);
    else if (!write && gpa >= header->zeros_start && gpa < header->zeros_end)
        memory_zero(data, size);
    else
        exit_mmio(cpu, gpa, write, data, size);
}

void device_access(struct cpu *cpu, uint64_t gpa, bool write, uint8_t *data, unsigned size)
{
    cpu->device_reached = true;
    while (size) {
        unsigned n = size < 8 ? size : 8;
        while (n & (n - 1))
            n &= n - 1; /* 1, 2, 4 or 8 bytes */
        access_piece(cpu, gpa, write, data, n);
        gpa += n;
        data += n;
        size -= n;
    }
}
