#include "lib/ioapic.h"

#include "lib/paging.h"

#define IOAPIC_BASE     UINT64_C(0xfec00000)
#define REG_REDIRECTION 0x10
#define ENTRY_LOW       (1u << 13)
#define ENTRY_LEVEL     (1u << 15)
#define ENTRY_MASKED    (1u << 16)

static void write(unsigned number, uint32_t value)
{
    volatile uint32_t *registers = paging_map(IOAPIC_BASE);
    registers[0] = number;
    registers[4] = value;
}

void ioapic_route(unsigned line, unsigned vector, bool level)
{
    write(REG_REDIRECTION + 2 * line, ENTRY_MASKED);
    write(REG_REDIRECTION + 2 * line + 1, 0);
    write(REG_REDIRECTION + 2 * line, vector | (level ? ENTRY_LEVEL | ENTRY_LOW : 0));
}

void ioapic_mask(unsigned line)
{
    write(REG_REDIRECTION + 2 * line, ENTRY_MASKED);
}
