/*
 * The little of string.h that the engine needs, without vector registers.
 */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Naturally aligned values of 1, 2, 4 and 8 bytes are copied in one access: page-table entries and
 * atomics of other vCPUs depend on it. */
static inline void memory_copy(void *to, const void *from, size_t size)
{
    switch (size) {
    case 1:
        *(volatile uint8_t *)to = *(const volatile uint8_t *)from;
        return;
    case 2:
        *(volatile uint16_t *)to = *(const volatile uint16_t *)from;
        return;
    case 4:
        *(volatile uint32_t *)to = *(const volatile uint32_t *)from;
        return;
    case 8:
        *(volatile uint64_t *)to = *(const volatile uint64_t *)from;
        return;
    default:
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
    }
}

static inline void memory_zero(void *to, size_t size)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(0) : "memory");
}

#endif
