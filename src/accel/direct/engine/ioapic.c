#include "accel/direct/engine/ioapic.h"

#include "accel/direct/engine/apic.h"
#include "accel/direct/engine/lock.h"

#define OFFSET_SELECT 0x00
#define OFFSET_WINDOW 0x10

#define REG_VERSION     0x01
#define REG_REDIRECTION 0x10

#define VERSION (0x11u | (DIRECT_IOAPIC_LINES - 1) << 16)

/* Fields of a redirection entry (section 3.2.4). */
#define ENTRY_LOGICAL    DIRECT_REDIRECTION_LOGICAL
#define ENTRY_REMOTE_IRR (UINT64_C(1) << 14)
#define ENTRY_LEVEL      (UINT64_C(1) << 15)
#define ENTRY_MASKED     DIRECT_REDIRECTION_MASKED
#define ENTRY_READ_ONLY  (UINT64_C(1) << 12 | ENTRY_REMOTE_IRR)

void ioapic_reset(void)
{
    for (unsigned i = 0; i < DIRECT_IOAPIC_LINES; i++)
        engine.header->ioapic.redirection[i] = ENTRY_MASKED;
}

static void raise(uint64_t *entry)
{
    bool level = *entry & ENTRY_LEVEL;

    if ((*entry & ENTRY_MASKED) || (level && (*entry & ENTRY_REMOTE_IRR)))
        return;
    if (level)
        *entry |= ENTRY_REMOTE_IRR;
    apic_send((unsigned)(*entry >> 56), *entry & ENTRY_LOGICAL, *entry >> 8 & 7, (uint8_t)*entry,
              level);
}

static bool is_asserted(const struct direct_ioapic *ioapic, uint32_t line)
{
    return __atomic_load_n(&ioapic->level, __ATOMIC_SEQ_CST) >> line & 1;
}

/* Interrupt for lines that have risen; one that is masked and edge-triggered is lost then. */
static void look_at_lines(struct direct_ioapic *ioapic)
{
    uint32_t rises = __atomic_exchange_n(&ioapic->rises, 0, __ATOMIC_SEQ_CST);

    for (; rises; rises &= rises - 1) {
        uint32_t line = (uint32_t)__builtin_ctz(rises);
        if (line >= DIRECT_IOAPIC_LINES)
            return;
        uint64_t *entry = &ioapic->redirection[line];
        if (!(*entry & ENTRY_LEVEL) || is_asserted(ioapic, line))
            raise(entry);
    }
}

void ioapic_lines_changed(void)
{
    struct direct_ioapic *ioapic = &engine.header->ioapic;

    lock_take(&ioapic->lock);
    look_at_lines(ioapic);
    lock_release(&ioapic->lock);
}

static uint32_t read_selected(const struct direct_ioapic *ioapic)
{
    uint32_t line = (ioapic->select - REG_REDIRECTION) / 2;

    if (ioapic->select == REG_VERSION)
        return VERSION;
    if (ioapic->select < REG_REDIRECTION || line >= DIRECT_IOAPIC_LINES)
        return 0;
    return (uint32_t)(ioapic->redirection[line] >> (ioapic->select & 1 ? 32 : 0));
}

static void write_selected(struct direct_ioapic *ioapic, uint32_t value)
{
    uint32_t line = (ioapic->select - REG_REDIRECTION) / 2;

    if (ioapic->select < REG_REDIRECTION || line >= DIRECT_IOAPIC_LINES)
        return;
    uint64_t *entry = &ioapic->redirection[line], changed = *entry;
    if (ioapic->select & 1)
        changed = (uint32_t)changed | (uint64_t)value << 32;
    else
        changed = (changed & (UINT64_C(0xffffffff) << 32 | ENTRY_READ_ONLY)) |
                  (value & ~ENTRY_READ_ONLY & 0x1ffff);
    if (!(changed & ENTRY_LEVEL))
        changed &= ~ENTRY_REMOTE_IRR;
    /* What came before is subject to the old entry. The VMM does not tell of lines that it finds
     * masked: whoever of the two comes second notices. */
    look_at_lines(ioapic);
    __atomic_store_n(entry, changed, __ATOMIC_SEQ_CST);
    look_at_lines(ioapic);
    if ((*entry & ENTRY_LEVEL) && is_asserted(ioapic, line))
        raise(entry);
}

uint32_t ioapic_read(uint32_t offset)
{
    struct direct_ioapic *ioapic = &engine.header->ioapic;
    uint32_t value = 0;

    lock_take(&ioapic->lock);
    if (offset == OFFSET_SELECT)
        value = ioapic->select;
    else if (offset == OFFSET_WINDOW)
        value = read_selected(ioapic);
    lock_release(&ioapic->lock);
    return value;
}

void ioapic_write(uint32_t offset, uint32_t value)
{
    struct direct_ioapic *ioapic = &engine.header->ioapic;

    lock_take(&ioapic->lock);
    if (offset == OFFSET_SELECT)
        ioapic->select = value & 0xff;
    else if (offset == OFFSET_WINDOW)
        write_selected(ioapic, value);
    lock_release(&ioapic->lock);
}

void ioapic_end_of_interrupt(uint8_t vector)
{
    struct direct_ioapic *ioapic = &engine.header->ioapic;

    lock_take(&ioapic->lock);
    for (unsigned i = 0; i < DIRECT_IOAPIC_LINES; i++) {
        uint64_t *entry = &ioapic->redirection[i];
        if (!(*entry & ENTRY_LEVEL) || (uint8_t)*entry != vector)
            continue;
        *entry &= ~ENTRY_REMOTE_IRR;
        if (is_asserted(ioapic, i))
            raise(entry);
    }
    lock_release(&ioapic->lock);
}
