/*
 * What the parts of the hostile guest share: the calls as data, places to attack from, and the
 * attacks. hostile.c has main.
 */
#ifndef GUESTS_HOSTILE_H
#define GUESTS_HOSTILE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/hypercall.h"

/* A hypercall with a parameter block; `result` is the offset of what the VMM writes. */
struct hostile_call {
    const char *name;
    uint8_t generation; /* 1 or 2 */
    uint16_t port;
    uint32_t size;        /* of the block, bytes */
    uint32_t result;      /* offset in the block */
    uint32_t result_size; /* bytes; 0 for a call without a result */
};

extern const struct hostile_call hostile_calls[];
extern const unsigned hostile_call_count;

/* Bounds of guest RAM; the end is exclusive. */
extern uint64_t ram_start, ram_end;

/* A descriptor that is never open. */
#define HOSTILE_BAD_FD 77

/* Bytes that the VMM must leave alone are filled with this. */
#define HOSTILE_FILL UINT64_C(0xa5a5a5a5a5a5a5a5)

void hostile_issue(const struct hostile_call *call, uint64_t payload);

/* True if [address, address + size) is all guest RAM. */
bool hostile_is_ram(uint64_t address, uint64_t size);

/* `size` is a multiple of 8 bytes. */
void hostile_fill(volatile void *memory, uint64_t size);
bool hostile_is_filled(const volatile void *memory, uint64_t size);

/* Interface 1 places RAM where the 32-bit payload of generation 1 can point to; elsewhere its calls
 * cannot be made at all. */
bool hostile_v1_reaches_ram(void);

/* The attacks; each reports with tap_ok. hostile_memory.c: */
void attack_blocks(void);
void attack_unaligned(void);
void attack_buffers(void);
void attack_strings(void);
void attack_descriptors(void);
void attack_cmdval(void);
/* hostile_machine.c: */
void attack_ports(void);
void attack_port_sizes(void);
void attack_port_reads(void);
void attack_string_io(void);
void attack_page_tables(void);
void attack_mmio(void);
void attack_race(void);

#endif
