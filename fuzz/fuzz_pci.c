/*
 * Fuzz target: accesses to a PCI function, by its ports and through its BAR, of any size, place and
 * order. A second function, made of nothing but an array and a mask, must always look the same.
 *
 * Input: steps of 14 bytes: way (1 byte), address (4), size (1), value (8).
 */
#include "device/pci.h"
#include "fuzz.h"
#include "input.h"

#define STEPS_MAX 500
#define BAR0      UINT64_C(0xfe000000)
#define BAR0_SIZE UINT64_C(0x10000)

static struct world {
    struct pci_function function; /* first */
    uint8_t device[PCI_FUNCTION_SIZE];
    unsigned header_writes;

    uint8_t model[PCI_FUNCTION_SIZE];
    uint8_t writable[PCI_FUNCTION_SIZE];
    uint32_t model_address;
    unsigned model_header_writes;
} world;

static void device_read(struct pci_function *function, unsigned offset, uint8_t *data,
                        unsigned size)
{
    require(offset >= PCI_HEADER_SIZE && size >= 1 && size <= 8);
    require(offset + size <= PCI_FUNCTION_SIZE);
    memcpy(data, world.device + offset, size);
}

static void device_write(struct pci_function *function, unsigned offset, const uint8_t *data,
                         unsigned size)
{
    require(offset >= PCI_HEADER_SIZE && size >= 1 && size <= 8);
    require(offset + size <= PCI_FUNCTION_SIZE);
    memcpy(world.device + offset, data, size);
}

static void header_written(struct pci_function *function)
{
    world.header_writes++;
    /* Nobody else holds it now. */
    require(pthread_mutex_trylock(&function->lock) == 0);
    pthread_mutex_unlock(&function->lock);
}

static const struct pci_ops ops = {device_read, device_write, header_written};

static const struct pci_identity identity = {
    .vendor = 0x1af4,
    .device = 0x1041,
    .subsystem_vendor = 0x1111,
    .subsystem = 0x2222,
    .revision = 1,
    .class_code = {0, 0, 2},
    .capabilities = 0x40,
    .interrupt_line = 11,
    .bar0 = BAR0,
    .bar0_size = BAR0_SIZE,
};

/* The second function. */

static void model_init(void)
{
    const uint8_t *header = world.function.header;
    static const struct {
        unsigned offset, size;
        uint64_t bits;
    } writable[] = {{PCI_COMMAND, 2, 0x547}, {PCI_BAR0, 8, ~(BAR0_SIZE - 1)}};

    memset(world.model, 0, sizeof world.model);
    memset(world.writable, 0, sizeof world.writable);
    memcpy(world.model, header, PCI_HEADER_SIZE);
    for (size_t i = 0; i < 2; i++)
        memcpy(world.writable + writable[i].offset, &writable[i].bits, writable[i].size);
    memset(world.writable + PCI_HEADER_SIZE, 0xff, PCI_FUNCTION_SIZE - PCI_HEADER_SIZE);
    require(world.model[0] == 0xf4 && world.model[1] == 0x1a && world.model[0x34] == 0x40);
}

static void model_access(unsigned offset, unsigned size, bool write, uint8_t *data)
{
    bool in_header = false;

    for (unsigned i = 0; i < size; i++) {
        unsigned at = (offset + i) % PCI_FUNCTION_SIZE;
        uint8_t mask = world.writable[at];
        in_header |= at < PCI_HEADER_SIZE;
        if (write)
            world.model[at] = (uint8_t)((world.model[at] & ~mask) | (data[i] & mask));
        else
            data[i] = world.model[at];
    }
    world.model_header_writes += write && in_header;
}

static uint64_t model_bar0(void)
{
    uint64_t bar0;
    memcpy(&bar0, world.model + PCI_BAR0, sizeof bar0);
    return bar0 & ~(BAR0_SIZE - 1);
}

static void model_port(uint16_t port, unsigned size, bool in, uint8_t *data)
{
    bool selected = (world.model_address & 0xffffff00) == 0x80000000;

    if (in)
        memset(data, 0xff, size);
    if (port >= 0xcfc && port + size <= 0xd00 && selected)
        model_access((world.model_address & 0xfc) + (port - 0xcfcu), size, !in, data);
    else if (port == 0xcf8 && size == 4 && in)
        memcpy(data, &world.model_address, 4);
    else if (port == 0xcf8 && size == 4)
        memcpy(&world.model_address, data, 4);
}

static void step_port(struct pci_bus *bus, struct input *input, uint8_t way)
{
    static const unsigned sizes[] = {1, 2, 4};
    uint16_t port = (uint16_t)(0xcf0 + take(input, 4) % 20);
    unsigned size = sizes[take(input, 1) % 3];
    uint64_t value = take(input, 8), expected = value;
    bool in = way & 2;

    if (port == 0xcf8 && !in && !(way & 12)) /* mostly an address that is there */
        value = expected = 0x80000000u | (value & 0xff);
    bool handled = pci_io(bus, port, size, in, (uint8_t *)&value);
    require(handled == (port >= 0xcf8 && port <= 0xcff));
    if (handled)
        model_port(port, size, in, (uint8_t *)&expected);
    require(value == expected);
}

static void step_memory(struct pci_bus *bus, struct input *input, uint8_t way)
{
    uint32_t offset = (uint32_t)take(input, 4);
    unsigned size = 1 + (unsigned)take(input, 1) % 8;
    uint64_t value = take(input, 8), expected = value;
    /* In the BAR, or at its edges. */
    uint64_t gpa = model_bar0() + offset % (BAR0_SIZE + 32) - (way & 4 ? 16 : 0);
    uint64_t start = gpa - model_bar0();
    bool inside = gpa >= model_bar0() && start < BAR0_SIZE && size <= BAR0_SIZE - start;

    require(pci_memory(bus, gpa, size, way & 2, (uint8_t *)&value) == inside);
    if (inside)
        model_access((unsigned)(start % PCI_FUNCTION_SIZE), size, way & 2, (uint8_t *)&expected);
    require(value == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input input = {bytes, size};
    struct pci_bus bus = {.function = &world.function};

    memset(&world, 0, sizeof world);
    pci_function_init(&world.function, &identity, &ops);
    model_init();
    for (unsigned i = 0; i < STEPS_MAX && input.size; i++) {
        uint8_t way = (uint8_t)take(&input, 1);
        if (way & 1)
            step_memory(&bus, &input, way);
        else
            step_port(&bus, &input, way);
        require(memcmp(world.function.header, world.model, PCI_HEADER_SIZE) == 0);
        require(memcmp(world.device + PCI_HEADER_SIZE, world.model + PCI_HEADER_SIZE,
                       PCI_FUNCTION_SIZE - PCI_HEADER_SIZE) == 0);
        require(world.header_writes == world.model_header_writes);
        require(pci_interrupts_disabled(&world.function) == ((world.model[5] & 4) != 0));
    }
    pci_function_destroy(&world.function);
    return 0;
}
