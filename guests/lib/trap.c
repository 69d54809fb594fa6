#include "lib/trap.h"

#include <stddef.h>

#include "lib/cpu.h"
#include "lib/hypercall.h"
#include "lib/print.h"

#define KERNEL_CODE_SELECTOR 0x08
#define GATE_INTERRUPT       0x8e00 /* present, 64-bit interrupt gate, no stack switch */

/* Intel SDM volume 3, section 6.14.1. */
struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

struct table_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

/* In trap_entry.S: TRAP_VECTORS entry points, TRAP_ENTRY_SIZE bytes apart. */
#define TRAP_ENTRY_SIZE 16
extern const uint8_t trap_entries[] __attribute__((visibility("hidden")));

/* In cpu_wait_for_interrupt: its HLT, and what follows. */
extern const uint8_t trap_wait_halt[] __attribute__((visibility("hidden")));
extern const uint8_t trap_wait_end[] __attribute__((visibility("hidden")));

/* Called from trap_entry.S. */
void trap_dispatch(struct trap_frame *frame);

/* A copy of what the VMM set up: an interrupt loads CS from memory, and the VMM's table lies where
 * stray pointers go. */
static const uint64_t descriptors[3] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff};
static struct gate gates[TRAP_VECTORS];
static void (*handlers[TRAP_VECTORS])(const struct trap_frame *frame);

void trap_init(void)
{
    for (unsigned vector = 0; vector < TRAP_VECTORS; vector++) {
        uint64_t entry = (uintptr_t)trap_entries + vector * TRAP_ENTRY_SIZE;
        gates[vector] = (struct gate){
            .offset_low = (uint16_t)entry,
            .selector = KERNEL_CODE_SELECTOR,
            .type = GATE_INTERRUPT,
            .offset_middle = (uint16_t)(entry >> 16),
            .offset_high = (uint32_t)(entry >> 32),
        };
    }
    struct table_register gdt = {sizeof(descriptors) - 1, (uintptr_t)descriptors};
    struct table_register idt = {sizeof(gates) - 1, (uintptr_t)gates};
    __asm__ volatile("lgdt %0; lidt %1" : : "m"(gdt), "m"(idt));
}

void trap_handle(unsigned vector, void (*handler)(const struct trap_frame *frame))
{
    handlers[vector] = handler;
}

/*
 * Between STI and HLT there is no interrupt. But QEMU, as far as it emulates SVM, has one there
 * when the processor is taken away from the virtual machine at that place: VMRUN does not bring
 * back the shadow of STI that the exit has saved. What the sleeper waits for has happened then.
 */
static void leave_wait(struct trap_frame *frame)
{
    if (frame->vector >= TRAP_FIRST_INTERRUPT && frame->rip == (uintptr_t)trap_wait_halt)
        frame->rip = (uintptr_t)trap_wait_end;
}

void trap_dispatch(struct trap_frame *frame)
{
    leave_wait(frame);
    if (handlers[frame->vector] != NULL) {
        handlers[frame->vector](frame);
        return;
    }
    print("guest: exception %lu at %lx, error code %lx, cr2 %lx, rsp %lx\n", frame->vector,
          frame->rip, frame->error_code, cpu_read_cr2(), frame->rsp);
    guest_exit(-1);
}
