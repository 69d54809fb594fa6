/*
 * A stopped guest for tests of debugging aids: a kernel of one page of code at 1 MiB, loaded
 * FAKE_OFFSET above its image addresses, a stack of two pages, and the end of the address space as
 * with recursive page tables. All else is unmapped.
 */
#ifndef FAKE_GUEST_H
#define FAKE_GUEST_H

#include <string.h>

#include "debug/guest_view.h"

#define FAKE_OFFSET UINT64_C(0x100000)
#define FAKE_CODE   (FAKE_OFFSET + 0x1000)
#define FAKE_END    (FAKE_OFFSET + 0x4000) /* data of the kernel follows its code, unmapped here */
#define FAKE_STACK  UINT64_C(0x7000000)
#define FAKE_TOP    (UINT64_MAX - 15)

struct fake_guest {
    uint8_t code[4096];
    uint8_t stack[8192];
    uint8_t top[16];
    unsigned reads;
    struct symbol functions[2];
    struct symbols symbols;
    struct guest_view view;
};

static inline uint8_t *fake_guest_at(struct fake_guest *guest, gva_t address, size_t size)
{
    if (address >= FAKE_CODE && range_inside(address - FAKE_CODE, size, sizeof guest->code))
        return guest->code + (address - FAKE_CODE);
    if (address >= FAKE_STACK && range_inside(address - FAKE_STACK, size, sizeof guest->stack))
        return guest->stack + (address - FAKE_STACK);
    if (address >= FAKE_TOP && range_inside(address - FAKE_TOP, size, sizeof guest->top))
        return guest->top + (address - FAKE_TOP);
    return NULL;
}

static inline bool fake_guest_read(void *context, gva_t address, void *to, size_t size)
{
    struct fake_guest *guest = context;
    const uint8_t *from = fake_guest_at(guest, address, size);
    guest->reads++;
    if (from)
        memcpy(to, from, size);
    return from != NULL;
}

/* Functions "outer" and "inner" take 0x800 bytes each. */
static inline void fake_guest_init(struct fake_guest *guest)
{
    static char names[] = "outer\0inner";
    memset(guest, 0, sizeof *guest);
    memset(guest->code, 0x90, sizeof guest->code);
    guest->functions[0] = (struct symbol){.address = 0x1000, .size = 0x800, .name = 0};
    guest->functions[1] = (struct symbol){.address = 0x1800, .size = 0x800, .name = 6};
    guest->symbols = (struct symbols){
        .functions = guest->functions,
        .count = 2,
        .names = names,
        .executable = {{0x1000, 0x2000}},
        .range_count = 1,
    };
    guest->view = (struct guest_view){
        .read = fake_guest_read,
        .context = guest,
        .symbols = &guest->symbols,
        .load_offset = FAKE_OFFSET,
        .kernel_start = FAKE_OFFSET,
        .kernel_end = FAKE_END,
    };
}

static inline void fake_guest_put(struct fake_guest *guest, gva_t address, const void *bytes,
                                  size_t size)
{
    memcpy(fake_guest_at(guest, address, size), bytes, size);
}

static inline void fake_guest_put_word(struct fake_guest *guest, gva_t address, uint64_t value)
{
    fake_guest_put(guest, address, &value, sizeof value);
}

/* A call instruction that ends before `address`, E8 rel32 to the start of the code. */
static inline void fake_guest_put_call(struct fake_guest *guest, gva_t address)
{
    uint32_t distance = (uint32_t)(FAKE_CODE - address);
    fake_guest_put(guest, address - 5, "\xe8", 1);
    fake_guest_put(guest, address - 4, &distance, 4);
}

#endif
