#include "device/pci.h"

#include <string.h>

#define COMMAND_WRITABLE 0x0547 /* I/O, memory, bus master, parity, SERR, no INTx */
#define BAR_MEMORY_64    0x0c   /* 64 bits wide, prefetchable */

static void put(uint8_t *to, uint64_t value, unsigned size)
{
    memcpy(to, &value, size);
}

static uint64_t get(const uint8_t *from, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, from, size);
    return value;
}

void pci_function_init(struct pci_function *function, const struct pci_identity *identity,
                       const struct pci_ops *ops)
{
    uint8_t *header = function->header, *writable = function->writable;

    *function = (struct pci_function){.ops = ops, .bar0_size = identity->bar0_size};
    pthread_mutex_init(&function->lock, NULL);
    put(header + PCI_VENDOR, identity->vendor, 2);
    put(header + PCI_DEVICE, identity->device, 2);
    put(header + PCI_STATUS, PCI_STATUS_CAPABILITIES, 2);
    header[PCI_REVISION] = identity->revision;
    memcpy(header + PCI_CLASS, identity->class_code, sizeof identity->class_code);
    put(header + PCI_BAR0, identity->bar0 | BAR_MEMORY_64, 8);
    put(header + PCI_SUBSYSTEM_VENDOR, identity->subsystem_vendor, 2);
    put(header + PCI_SUBSYSTEM, identity->subsystem, 2);
    header[PCI_CAPABILITIES] = identity->capabilities;
    header[PCI_INTERRUPT_LINE] = identity->interrupt_line;
    header[PCI_INTERRUPT_PIN] = 1;
    put(writable + PCI_COMMAND, COMMAND_WRITABLE, 2);
    put(writable + PCI_BAR0, ~(identity->bar0_size - 1), 8);
    atomic_init(&function->bar0, identity->bar0);
}

void pci_function_destroy(struct pci_function *function)
{
    pthread_mutex_destroy(&function->lock);
}

static void read_header(struct pci_function *function, unsigned offset, uint8_t *data,
                        unsigned size)
{
    pthread_mutex_lock(&function->lock);
    memcpy(data, function->header + offset, size);
    pthread_mutex_unlock(&function->lock);
}

static void header_written(struct pci_function *function)
{
    function->ops->header_written(function);
}

static void write_header(struct pci_function *function, unsigned offset, const uint8_t *data,
                         unsigned size)
{
    uint8_t *header = function->header;

    pthread_mutex_lock(&function->lock);
    /*@ loop invariant i <= size;
        loop assigns i, header[offset .. offset + size - 1];
        loop variant size - i; */
    for (unsigned i = 0; i < size; i++) {
        uint8_t *at = header + offset + i, mask = function->writable[offset + i];
        *at = (uint8_t)((*at & ~mask) | (data[i] & mask));
    }
    atomic_store(&function->command, (unsigned)get(header + PCI_COMMAND, 2));
    atomic_store(&function->bar0, get(header + PCI_BAR0, 8) & ~(function->bar0_size - 1));
    pthread_mutex_unlock(&function->lock);
    header_written(function);
}

static void access_header(struct pci_function *function, unsigned offset, unsigned size, bool write,
                          uint8_t *data)
{
    if (write)
        write_header(function, offset, data, size);
    else
        read_header(function, offset, data, size);
}

static void access_device(struct pci_function *function, unsigned offset, unsigned size, bool write,
                          uint8_t *data)
{
    if (write)
        function->ops->write(function, offset, data, size);
    else
        function->ops->read(function, offset, data, size);
}

/* Both kinds of access: at `offset` of the function, within it. Memory accesses
 * may be at any offset and cross the end of the header. */
static void access_function(struct pci_function *function, unsigned offset, unsigned size,
                            bool write, uint8_t *data)
{
    unsigned first = offset < PCI_HEADER_SIZE ? PCI_HEADER_SIZE - offset : 0;

    if (first > size)
        first = size;
    if (first)
        access_header(function, offset, first, write, data);
    if (first < size)
        access_device(function, offset + first, size - first, write, data + first);
}

/* The function that the address port names, or NULL. */
static struct pci_function *selected(struct pci_bus *bus, uint32_t address)
{
    return (address & PCI_ADDRESS_MASK) == PCI_ADDRESS_VALUE ? bus->function : NULL;
}

/* The offset that it names: of a 32-bit register. */
static unsigned selected_offset(uint32_t address)
{
    return address & 0xfc;
}

static void access_data(struct pci_bus *bus, unsigned byte, unsigned size, bool in, uint8_t *data)
{
    uint32_t address = atomic_load(&bus->address);
    struct pci_function *function = selected(bus, address);

    if (function)
        access_function(function, selected_offset(address) + byte, size, !in, data);
    else if (in)
        memset(data, 0xff, size);
}

bool pci_io(struct pci_bus *bus, uint16_t port, unsigned size, bool in, uint8_t *data)
{
    if (port < PCI_ADDRESS_PORT || port > PCI_DATA_PORT_LAST)
        return false;
    if (port >= PCI_DATA_PORT && port + size <= PCI_DATA_PORT_LAST + 1u) {
        access_data(bus, port - PCI_DATA_PORT, size, in, data);
    } else if (port == PCI_ADDRESS_PORT && size == 4) {
        if (in)
            put(data, atomic_load(&bus->address), 4);
        else
            atomic_store(&bus->address, (uint32_t)get(data, 4));
    } else if (in) {
        memset(data, 0xff, size);
    }
    return true;
}

bool pci_memory(struct pci_bus *bus, gpa_t gpa, unsigned size, bool write, uint8_t *data)
{
    struct pci_function *function = bus->function;
    uint64_t offset;

    if (!function || checked_sub(gpa, atomic_load(&function->bar0), &offset) ||
        !range_inside(offset, size, function->bar0_size))
        return false;
    unsigned start = (unsigned)(offset % PCI_FUNCTION_SIZE), first = PCI_FUNCTION_SIZE - start;
    if (first > size)
        first = size;
    access_function(function, start, first, write, data);
    if (first < size)
        access_function(function, 0, size - first, write, data + first);
    return true;
}
