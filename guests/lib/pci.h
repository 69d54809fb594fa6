/*
 * PCI configuration space by mechanism #1, bus 0 only (PCI Local Bus specification 3.0, section
 * 3.2.2.3.2).
 */
#ifndef GUESTS_LIB_PCI_H
#define GUESTS_LIB_PCI_H

#include <stdbool.h>
#include <stdint.h>

#define PCI_VENDOR         0x00
#define PCI_COMMAND        0x04
#define PCI_STATUS         0x06
#define PCI_BAR0           0x10
#define PCI_CAPABILITIES   0x34
#define PCI_INTERRUPT_LINE 0x3c

#define PCI_COMMAND_MEMORY     0x2
#define PCI_COMMAND_BUS_MASTER 0x4

/* Functions are named by device << 3 | function. `offset` is a multiple of `size`: 1, 2 or 4. */
uint32_t pci_read(unsigned function, unsigned offset, unsigned size);
void pci_write(unsigned function, unsigned offset, unsigned size, uint32_t value);

/* The first function with this vendor and device, or -1. */
int pci_find(uint16_t vendor, uint16_t device);

/* Address of a memory BAR, 32 or 64 bits wide; 0 if it is none. */
uint64_t pci_bar(unsigned function, unsigned bar);

#endif
