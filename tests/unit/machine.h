/*
 * A machine for tests of accelerators: guest memory with a piece of code of the test's, page tables
 * and handlers for all vectors, and vCPUs, without anything of a VM around it.
 *
 *     MACHINE_RAM + 0             code, from offset 0 on
 *     MACHINE_RAM + MACHINE_DATA  data: one MiB, in 4 KiB pages like the code
 *     MACHINE_RAM + 2 MiB ...     more, in pages of 2 MiB
 *
 * Guest-virtual addresses are guest-physical ones; the I/O APIC is mapped too. Vector N is handled
 * by the code at `handlers` + 16 * N, on the stack of the interrupted code.
 *
 * ACCELERATOR names the accelerator ("kvm" or "direct"). Where it does not work, programs are
 * skipped with the reason: MACHINE_RUN_TESTS.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include "unit.h"

#include "accel/accel.h"

#define MACHINE_RAM      UINT64_C(0x100000000)
#define MACHINE_RAM_SIZE (UINT64_C(8) << 20)
#define MACHINE_DATA     UINT64_C(0x100000)
#define MACHINE_CPUS_MAX 4

struct machine {
    struct accel_choice choice;
    const struct accel *accel;
    struct ram ram;
    struct accel_vm *vm;
    struct accel_vcpu *vcpus[MACHINE_CPUS_MAX];
    unsigned cpu_count;
    bool emulated; /* by a KVM without hardware beneath, which is not right in everything */
    struct accel_exit exit; /* the last one of vCPU 0 */
};

#define MACHINE_RUN_TESTS(tests) machine_run_tests(tests, sizeof(tests) / sizeof *(tests))
int machine_run_tests(const struct CMUnitTest *tests, size_t count);

/* Make a machine around code[size], whose vCPUs start at its offset `entry`. Handlers are at offset
 * `handlers`. */
void machine_create(struct machine *machine, unsigned cpu_count, const void *code, size_t size,
                    size_t entry, size_t handlers);
void machine_destroy(struct machine *machine);

/* A vCPU of the calling thread's in its start state. */
void machine_create_vcpu(struct machine *machine, unsigned index);

/* Run vCPU 0 until it leaves the guest for more than a kick; see machine->exit. */
void machine_run(struct machine *machine);

/* The page-table entry of a page of the first 2 MiB. The guest has to invalidate it. */
uint64_t *machine_entry(struct machine *machine, gva_t address);

void *machine_at(struct machine *machine, gva_t address);

#endif
