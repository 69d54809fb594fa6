/*
 * What a kernel does to find its network card, and what it finds: configuration space by mechanism
 * #1. Application argument "none": there is no card.
 */
#include <stdbool.h>

#include "lib/args.h"
#include "lib/cpu.h"
#include "lib/pci.h"
#include "lib/tap.h"
#include "lib/text.h"

#define PORT_ADDRESS 0xcf8
#define PORT_DATA    0xcfc
#define ENABLE       UINT32_C(0x80000000)
#define CARD         UINT32_C(0x10411af4)
#define NOTHING      UINT32_MAX

static uint32_t card = CARD;

static uint32_t read_at(uint32_t address)
{
    cpu_out32(PORT_ADDRESS, address);
    return cpu_in32(PORT_DATA);
}

/* As kernels do: all buses and devices that they look at. */
static unsigned scan(void)
{
    unsigned found = 0;

    for (uint32_t bus = 0; bus < 32; bus++)
        for (uint32_t device = 0; device < 32; device++)
            found += read_at(ENABLE | bus << 16 | device << 11) != NOTHING;
    return found;
}

static void test_addresses(void)
{
    static const struct {
        uint32_t address;
        const char *name;
    } absent[] = {
        {0, "not enabled"},
        {ENABLE | 0x800, "another device"},
        {ENABLE | 0x100, "another function"},
        {ENABLE | 0x10000, "another bus"},
        {ENABLE | 0x1000000, "a reserved bit"},
    };
    for (unsigned i = 0; i < sizeof absent / sizeof *absent; i++) {
        tap_equal(read_at(absent[i].address), NOTHING, absent[i].name);
        tap_equal(cpu_in32(PORT_ADDRESS), absent[i].address, "its address is still there");
        tap_equal(read_at(ENABLE), card, "the card after that");
    }
}

static void test_sizes(void)
{
    cpu_out32(PORT_ADDRESS, ENABLE);
    tap_equal(cpu_in16(PORT_DATA), card & 0xffff, "two bytes");
    tap_equal(cpu_in16(PORT_DATA + 2), card >> 16, "the next two");
    tap_equal(cpu_in8(PORT_DATA + 1), card >> 8 & 0xff, "one byte");
    cpu_out32(PORT_ADDRESS, ENABLE | 0x800);
    tap_equal(cpu_in16(PORT_DATA), 0xffff, "two bytes of nothing");
    tap_equal(cpu_in8(PORT_DATA + 3), 0xff, "one byte of nothing");
    cpu_out8(PORT_ADDRESS, 0);
    cpu_out16(PORT_ADDRESS, 0);
    tap_equal(cpu_in32(PORT_ADDRESS), ENABLE | 0x800, "the address is written as a whole");
}

/* Registers can be written, and writes to nothing change nothing. */
static void test_writes(void)
{
    uint16_t command = (uint16_t)pci_read(0, PCI_COMMAND, 2);
    uint16_t other = command ^ PCI_COMMAND_BUS_MASTER;

    pci_write(0, PCI_COMMAND, 2, other);
    tap_equal((uint16_t)pci_read(0, PCI_COMMAND, 2), other, "a write");
    pci_write(8, PCI_COMMAND, 2, 0);
    pci_write(8, PCI_COMMAND, 4, 0);
    tap_equal((uint16_t)pci_read(0, PCI_COMMAND, 2), other, "writes to another device");
    pci_write(0, PCI_COMMAND, 2, command);
}

int main(void)
{
    args_load();
    bool none = text_equal(args_app(0), "none");

    if (none)
        card = NOTHING;
    tap_equal(scan(), none ? 0 : 1, "what a scan finds");
    tap_equal(read_at(ENABLE), card, "vendor and device");
    if (!none) {
        test_addresses();
        test_sizes();
        test_writes();
    }
    tap_equal(scan(), none ? 0 : 1, "what another scan finds");
    return tap_end();
}
