#include "machine.h"

#include <errno.h>
#include <stdio.h>

#define PML4  UINT64_C(0x1f0000) /* offsets in guest memory, at the end of the first 2 MiB */
#define PDPT  UINT64_C(0x1f1000)
#define LOW   UINT64_C(0x1f2000) /* page directory of the GiB with the I/O APIC */
#define HIGH  UINT64_C(0x1f3000) /* and of that with the memory */
#define PAGES UINT64_C(0x1f4000)
#define GDT   UINT64_C(0x1f5000)
#define IDT   UINT64_C(0x1f6000)
#define STACK UINT64_C(0x1ef000) /* of vCPU 0; the others are 0x4000 lower each */

#define PTE_FLAGS UINT64_C(3) /* present, writable */
#define PTE_LARGE UINT64_C(0x83)

static enum uhyve_accel accelerator(void)
{
    const char *name = getenv("ACCELERATOR");
    return name && strcmp(name, "kvm") == 0 ? UHYVE_ACCEL_KVM : UHYVE_ACCEL_DIRECT;
}

int machine_run_tests(const struct CMUnitTest *tests, size_t count)
{
    struct uhyve_error error;
    int err = uhyve_probe(accelerator(), &error);
    if (!err || err == -EOPNOTSUPP) /* the code of these tests needs no SSE */
        return _cmocka_run_group_tests("machine", tests, count, NULL, NULL);
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++)
        printf("ok %zu - %s # SKIP %s\n", i + 1, tests[i].name, error.message);
    return 0;
}

void *machine_at(struct machine *machine, gva_t address)
{
    void *at = ram_at(&machine->ram, address, 1);
    assert_non_null(at);
    return at;
}

static uint64_t *table(struct machine *machine, uint64_t offset)
{
    return machine_at(machine, MACHINE_RAM + offset);
}

uint64_t *machine_entry(struct machine *machine, gva_t address)
{
    return table(machine, PAGES) + (address - MACHINE_RAM) / 4096;
}

static void write_page_tables(struct machine *machine)
{
    table(machine, PML4)[0] = (MACHINE_RAM + PDPT) | PTE_FLAGS;
    table(machine, PDPT)[3] = (MACHINE_RAM + LOW) | PTE_FLAGS;
    table(machine, PDPT)[4] = (MACHINE_RAM + HIGH) | PTE_FLAGS;
    table(machine, LOW)[0x1f6] = UINT64_C(0xfec00000) | PTE_LARGE;
    table(machine, HIGH)[0] = (MACHINE_RAM + PAGES) | PTE_FLAGS;
    for (uint64_t i = 1; i < MACHINE_RAM_SIZE >> 21; i++)
        table(machine, HIGH)[i] = (MACHINE_RAM + (i << 21)) | PTE_LARGE;
    for (uint64_t i = 0; i < 512; i++)
        table(machine, PAGES)[i] = (MACHINE_RAM + (i << 12)) | PTE_FLAGS;
}

static void write_descriptors(struct machine *machine, uint64_t handlers)
{
    table(machine, GDT)[1] = UINT64_C(0x00af9b000000ffff);
    table(machine, GDT)[2] = UINT64_C(0x00cf93000000ffff);
    for (unsigned vector = 0; vector < 256; vector++) {
        uint64_t handler = handlers + 16 * vector, *gate = table(machine, IDT) + 2 * vector;
        gate[0] = (handler & 0xffff) | UINT64_C(8) << 16 | UINT64_C(0x8e) << 40 |
                  (handler & 0xffff0000) << 32;
        gate[1] = handler >> 32;
    }
}

void machine_create(struct machine *machine, unsigned cpu_count, const void *code, size_t size,
                    size_t entry, size_t handlers)
{
    static const struct log silent;
    struct uhyve_error error;

    *machine = (struct machine){.cpu_count = cpu_count};
    if (accel_select(accelerator(), &silent, &machine->choice, &error) != 0)
        fail_msg("%s", error.message);
    machine->accel = machine->choice.accel;
    machine->emulated = uhyve_probe(accelerator(), &error) != 0;
    const struct ram_options options = {.shared = machine->accel->shared_ram};
    if (ram_alloc(&machine->ram, MACHINE_RAM, MACHINE_RAM_SIZE, &options, &error) != 0)
        fail_msg("%s", error.message);
    const struct accel_vm_config config = {
        .ram = &machine->ram, .cpu_count = cpu_count, .debugged = true, .log = &silent};
    if (machine->accel->vm_create(machine->choice.host, &config, &machine->vm, &error) != 0)
        fail_msg("%s", error.message);
    memcpy(machine_at(machine, MACHINE_RAM), code, size);
    write_page_tables(machine);
    write_descriptors(machine, MACHINE_RAM + handlers);
    machine_create_vcpu(machine, 0);
    struct x86_state state;
    machine->accel->vcpu_get_state(machine->vcpus[0], &state);
    state.rip = MACHINE_RAM + entry;
    machine->accel->vcpu_set_state(machine->vcpus[0], &state);
}

void machine_create_vcpu(struct machine *machine, unsigned index)
{
    struct uhyve_error error;
    struct x86_state state;

    if (machine->accel->vcpu_create(machine->vm, index, &machine->vcpus[index], &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(machine->accel->vcpu_get_state(machine->vcpus[index], &state), 0);
    memset(state.gpr, 0, sizeof state.gpr);
    state.gpr[X86_RSP] = MACHINE_RAM + STACK - 0x4000 * index;
    state.rip = MACHINE_RAM;
    state.rflags = X86_RFLAGS_FIXED;
    state.cs = (struct x86_segment){.limit = UINT32_MAX, .selector = 8, .attributes = 0xa9b};
    state.ds = state.es = state.ss = (struct x86_segment){
        .limit = UINT32_MAX, .selector = 16, .attributes = 0xc93};
    state.gdt = (struct x86_table){MACHINE_RAM + GDT, 3 * 8 - 1};
    state.idt = (struct x86_table){MACHINE_RAM + IDT, 256 * 16 - 1};
    state.cr0 = X86_CR0_PG | X86_CR0_NE | X86_CR0_ET | X86_CR0_PE | X86_CR0_WP;
    state.cr3 = MACHINE_RAM + PML4;
    state.cr4 = X86_CR4_PAE;
    state.efer = X86_EFER_NXE | X86_EFER_LMA | X86_EFER_LME;
    assert_int_equal(machine->accel->vcpu_set_state(machine->vcpus[index], &state), 0);
}

void machine_destroy(struct machine *machine)
{
    for (unsigned i = 0; i < machine->cpu_count; i++)
        if (machine->vcpus[i])
            machine->accel->vcpu_destroy(machine->vcpus[i]);
    machine->accel->vm_destroy(machine->vm);
    accel_release(&machine->choice);
    ram_free(&machine->ram);
}

void machine_run(struct machine *machine)
{
    do
        machine->accel->vcpu_run(machine->vcpus[0], &machine->exit);
    while (machine->exit.kind == ACCEL_EXIT_INTERRUPTED);
}
