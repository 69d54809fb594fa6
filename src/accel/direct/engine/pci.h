/*
 * PCI configuration space where nothing is (vm_ignore_pci of accel.h). Kernels look at a thousand
 * places and find one card: the VMM need not hear of the others.
 *
 * The address port is the engine's, which tells the VMM only of addresses that select something.
 * While another one is selected the data ports count as idle, so that trampolines answer reads
 * without a trap. Several vCPUs use the port one after the other, under a lock of the guest's: one
 * that does not gets an answer for one of the addresses, as on any machine.
 */
#ifndef ENGINE_PCI_H
#define ENGINE_PCI_H

#include <stdbool.h>
#include <stdint.h>

/* Answer an access to a port of kind TRAMPOLINE_PORT_PCI. False: it is for the VMM. */
bool pci_answer(uint16_t port, bool write, uint32_t *data, unsigned size);

#endif
