#include "accel/direct/engine/pci.h"

#include "accel/direct/engine/engine.h"
#include "accel/direct/patch/trampoline.h"

static bool is_present(uint32_t address)
{
    return (address & engine.header->pci_mask) == engine.header->pci_value;
}

static void set_data_ports(enum trampoline_port kind)
{
    uint8_t *ports = (uint8_t *)(DIRECT_CONTROL + DIRECT_AREA + DIRECT_AREA_PORTS);

    for (unsigned port = TRAMPOLINE_PCI_DATA; port <= TRAMPOLINE_PCI_LAST; port++)
        __atomic_store_n(&ports[port], (uint8_t)kind, __ATOMIC_RELEASE);
}

static bool write_address(uint32_t address)
{
    bool present = is_present(address);

    __atomic_store_n(&engine.header->pci_address, address, __ATOMIC_SEQ_CST);
    set_data_ports(present ? TRAMPOLINE_PORT_PCI : TRAMPOLINE_PORT_IDLE);
    return !present;
}

bool pci_answer(uint16_t port, bool write, uint32_t *data, unsigned size)
{
    uint32_t address = __atomic_load_n(&engine.header->pci_address, __ATOMIC_SEQ_CST);

    if (port == TRAMPOLINE_PCI_ADDRESS && size == 4) {
        if (write)
            return write_address(*data);
        *data = address;
        return true;
    }
    if (port < TRAMPOLINE_PCI_DATA || is_present(address))
        return false;
    if (!write)
        *data = UINT32_MAX;
    return true;
}
