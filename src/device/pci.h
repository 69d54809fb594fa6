/*
 * A PCI bus with one function on it, at bus 0, device 0, function 0: configuration mechanism #1
 * (ports 0xcf8 to 0xcff) and memory accesses to the function's BAR 0 (spec/devices.md sections 1
 * and 2).
 *
 * A function is 256 bytes. The first PCI_HEADER_SIZE are the header, kept here with a mask that
 * tells which bits the guest can change; what follows is answered by the device. BAR 0 shows the
 * same 256 bytes, over and over again.
 *
 * The device owns its function, the VM owns the bus. Set up by one thread; afterwards any vCPU's
 * thread may call pci_io and pci_memory.
 */
#ifndef DEVICE_PCI_H
#define DEVICE_PCI_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/ram.h"

#define PCI_ADDRESS_PORT   0xcf8
#define PCI_DATA_PORT      0xcfc
#define PCI_DATA_PORT_LAST 0xcff

/* What of the address port selects the one function, and how. */
#define PCI_ADDRESS_MASK  0xffffff00u
#define PCI_ADDRESS_VALUE 0x80000000u /* enabled; bus, device and function 0 */

#define PCI_FUNCTION_SIZE 256
#define PCI_HEADER_SIZE   0x40

/* Offsets in the header (PCI Local Bus specification 3.0, section 6.1). */
#define PCI_VENDOR           0x00
#define PCI_DEVICE           0x02
#define PCI_COMMAND          0x04
#define PCI_STATUS           0x06
#define PCI_REVISION         0x08
#define PCI_CLASS            0x09 /* programming interface, subclass, class */
#define PCI_BAR0             0x10
#define PCI_SUBSYSTEM_VENDOR 0x2c
#define PCI_SUBSYSTEM        0x2e
#define PCI_CAPABILITIES     0x34
#define PCI_INTERRUPT_LINE   0x3c
#define PCI_INTERRUPT_PIN    0x3d

#define PCI_COMMAND_NO_INTX     0x400
#define PCI_STATUS_CAPABILITIES 0x10
#define PCI_CAPABILITY_VENDOR   0x09

struct pci_function;

/* The device's side. Offsets are those of the function, PCI_HEADER_SIZE or more; an access does not
 * leave the 256 bytes. `size` is 1 to 8. */
struct pci_ops {
    void (*read)(struct pci_function *function, unsigned offset, uint8_t *data, unsigned size);
    void (*write)(struct pci_function *function, unsigned offset, const uint8_t *data,
                  unsigned size);
    /* The guest has written to the header. Without a lock held. */
    void (*header_written)(struct pci_function *function);
};

/* What a function is; the rest of its header is zero. */
struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t revision;
    uint8_t class_code[3]; /* programming interface, subclass, class */
    uint8_t capabilities;  /* offset of the first one */
    uint8_t interrupt_line;
    gpa_t bar0;         /* address of BAR 0 at start; 64 bits, prefetchable */
    uint64_t bar0_size; /* a power of two of at least PCI_FUNCTION_SIZE, below 4 GiB */
};

struct pci_function {
    const struct pci_ops *ops;
    pthread_mutex_t lock; /* the header */
    uint8_t header[PCI_HEADER_SIZE];
    uint8_t writable[PCI_HEADER_SIZE]; /* a set bit can be changed by the guest */
    uint64_t bar0_size;
    atomic_uint_least64_t bar0; /* where it is now */
    atomic_uint command;
};

struct pci_bus {
    struct pci_function *function; /* NULL: none */
    atomic_uint address;           /* what was last written to PCI_ADDRESS_PORT */
};

void pci_function_init(struct pci_function *function, const struct pci_identity *identity,
                       const struct pci_ops *ops);
void pci_function_destroy(struct pci_function *function);

/* The guest may not raise INTA for this function. */
static inline bool pci_interrupts_disabled(struct pci_function *function)
{
    return atomic_load(&function->command) & PCI_COMMAND_NO_INTX;
}

/* One access to a port. False if it is none of PCI's; then nothing is done. */
bool pci_io(struct pci_bus *bus, uint16_t port, unsigned size, bool in, uint8_t *data);

/* An access of 1 to 8 bytes to an address without memory. False if it is not in BAR 0. */
bool pci_memory(struct pci_bus *bus, gpa_t gpa, unsigned size, bool write, uint8_t *data);

#endif
