#include "lib/pci.h"

#include "lib/cpu.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define ENABLE       0x80000000u
#define FUNCTIONS    256

static uint16_t select(unsigned function, unsigned offset)
{
    cpu_out32(PORT_ADDRESS, ENABLE | function << 8 | (offset & 0xfc));
    return (uint16_t)(PORT_DATA + (offset & 3));
}

uint32_t pci_read(unsigned function, unsigned offset, unsigned size)
{
    uint16_t port = select(function, offset);
    return size == 1 ? cpu_in8(port) : size == 2 ? cpu_in16(port) : cpu_in32(port);
}

void pci_write(unsigned function, unsigned offset, unsigned size, uint32_t value)
{
    uint16_t port = select(function, offset);
    if (size == 1)
        cpu_out8(port, (uint8_t)value);
    else if (size == 2)
        cpu_out16(port, (uint16_t)value);
    else
        cpu_out32(port, value);
}

int pci_find(uint16_t vendor, uint16_t device)
{
    for (unsigned function = 0; function < FUNCTIONS; function++)
        if (pci_read(function, PCI_VENDOR, 4) == ((uint32_t)device << 16 | vendor))
            return (int)function;
    return -1;
}

uint64_t pci_bar(unsigned function, unsigned bar)
{
    uint32_t low = pci_read(function, PCI_BAR0 + 4 * bar, 4);
    uint64_t address = low & ~UINT32_C(0xf);

    if (low & 1)
        return 0;
    if ((low >> 1 & 3) == 2)
        address |= (uint64_t)pci_read(function, PCI_BAR0 + 4 * bar + 4, 4) << 32;
    return address;
}
