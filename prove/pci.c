/*
 * Accesses to PCI's ports and to the memory of BAR 0 stay within the function's 256 bytes, of which
 * the header is here, and within the data of the access; the device is asked within its part only.
 *
 * prove: read_header write_header access_header access_function selected selected_offset
 *        access_data pci_io
 *        pci_memory
 * follow: main
 * within: any port, address, offset and content; accesses of 1 to 8 bytes
 * assumed: the device reads and writes no more than it is asked to; a function's bar0_size is at
 *        least 256; locks and atomic operations do what they should
 */
#include "access.h"

#include <pthread.h>

/* Takes the place of the compiler's header. */
#define __FC_STDATOMIC
typedef unsigned atomic_uint;
typedef uint64_t atomic_uint_least64_t;

#define pthread_mutex_init(mutex, attributes) ((void)(mutex))
#define pthread_mutex_destroy(mutex)          ((void)(mutex))
#define pthread_mutex_lock(mutex)             ((void)(mutex))
#define pthread_mutex_unlock(mutex)           ((void)(mutex))
#define atomic_init(to, value)                (*(to) = (value))
#define atomic_load(from)                     (*(from))
#define atomic_store(to, value)               (*(to) = (value))

#include "device/pci.c"

/*@ predicate function_valid(struct pci_function *function) =
        \valid(function) && function->bar0_size >= PCI_FUNCTION_SIZE;
    predicate bus_valid(struct pci_bus *bus) =
        \valid(bus) && (bus->function == \null || function_valid(bus->function) &&
        \separated(bus, bus->function));
    predicate piece(unsigned size, uint8_t *data) = 1 <= size <= 8 && \valid(data + (0 .. size -
   1)); */

/* These two copy between bytes and a number; main() below is their proof. */
/*@ requires size <= 8 && \valid(to + (0 .. size - 1));
    assigns to[0 .. size - 1] \from value; */
static void put(uint8_t *to, uint64_t value, unsigned size);

/*@ requires size <= 8 && \valid_read(from + (0 .. size - 1));
    assigns \result \from from[0 .. size - 1]; */
static uint64_t get(const uint8_t *from, unsigned size);

/* The device. */
/*@ requires function_valid(function);
    assigns \nothing; */
static void header_written(struct pci_function *function);

/*@ requires function_valid(function) && piece(size, data);
    requires PCI_HEADER_SIZE <= offset && offset + size <= PCI_FUNCTION_SIZE;
    assigns data[0 .. size - 1] \from offset; */
static void access_device(struct pci_function *function, unsigned offset, unsigned size, bool write,
                          uint8_t *data);

/*@ requires function_valid(function) && piece(size, data) && offset + size <= PCI_HEADER_SIZE;
    requires \separated(function, data + (0 .. size - 1));
    assigns data[0 .. size - 1] \from function->header[offset .. offset + size - 1]; */
static void read_header(struct pci_function *function, unsigned offset, uint8_t *data,
                        unsigned size);

/*@ requires function_valid(function) && piece(size, (uint8_t *)data);
    requires offset + size <= PCI_HEADER_SIZE && \separated(function, data + (0 .. size - 1));
    assigns function->header[0 .. PCI_HEADER_SIZE - 1], function->command, function->bar0
            \from data[0 .. size - 1]; */
static void write_header(struct pci_function *function, unsigned offset, const uint8_t *data,
                         unsigned size);

/*@ requires function_valid(function) && piece(size, data) && offset + size <= PCI_HEADER_SIZE;
    requires \separated(function, data + (0 .. size - 1));
    assigns function->header[0 .. PCI_HEADER_SIZE - 1], function->command, function->bar0,
            data[0 .. size - 1] \from data[0 .. size - 1], function->header[0 .. 63]; */
static void access_header(struct pci_function *function, unsigned offset, unsigned size, bool write,
                          uint8_t *data);

/*@ requires function_valid(function) && piece(size, data) && offset + size <= PCI_FUNCTION_SIZE;
    requires \separated(function, data + (0 .. size - 1));
    assigns function->header[0 .. PCI_HEADER_SIZE - 1], function->command, function->bar0,
            data[0 .. size - 1] \from data[0 .. size - 1], function->header[0 .. 63]; */
static void access_function(struct pci_function *function, unsigned offset, unsigned size,
                            bool write, uint8_t *data);

/*@ requires bus_valid(bus);
    assigns \result \from bus->function, address;
    ensures \result == \null || \result == bus->function; */
static struct pci_function *selected(struct pci_bus *bus, uint32_t address);

/*@ assigns \result \from address;
    ensures \result <= 0xfc; */
static unsigned selected_offset(uint32_t address);

/*@ requires bus_valid(bus) && piece(size, data) && byte + size <= 4;
    requires \separated(bus, data + (0 .. size - 1));
    requires bus->function == \null || \separated(bus->function, data + (0 .. size - 1));
    assigns bus->function->header[0 .. PCI_HEADER_SIZE - 1], bus->function->command,
            bus->function->bar0, data[0 .. size - 1] \from data[0 .. size - 1]; */
static void access_data(struct pci_bus *bus, unsigned byte, unsigned size, bool in, uint8_t *data);

/*@ requires bus_valid(bus) && piece(size, data);
    requires \separated(bus, data + (0 .. size - 1));
    requires bus->function == \null || \separated(bus->function, data + (0 .. size - 1));
    assigns bus->function->header[0 .. PCI_HEADER_SIZE - 1], bus->function->command,
            bus->function->bar0, bus->address, data[0 .. size - 1], \result
            \from data[0 .. size - 1], port; */
bool pci_io(struct pci_bus *bus, uint16_t port, unsigned size, bool in, uint8_t *data);

/*@ requires bus_valid(bus) && piece(size, data);
    requires \separated(bus, data + (0 .. size - 1));
    requires bus->function == \null || \separated(bus->function, data + (0 .. size - 1));
    assigns bus->function->header[0 .. PCI_HEADER_SIZE - 1], bus->function->command,
            bus->function->bar0, data[0 .. size - 1], \result \from data[0 .. size - 1], gpa; */
bool pci_memory(struct pci_bus *bus, gpa_t gpa, unsigned size, bool write, uint8_t *data);

/* Numbers of every size. */
int main(void)
{
    //@ loop unroll 9;
    for (unsigned size = 0; size <= 8; size++) {
        uint8_t bytes[8];
        put(bytes + 8 - size, any_u64(), size);
        any_bytes(bytes, sizeof bytes);
        get(bytes + 8 - size, size);
    }
    return 0;
}
