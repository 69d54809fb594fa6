/*
 * The little of string.h that the engine needs, without vector registers.
 */
#ifndef ENGINE_MEMORY_H
#define ENGINE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* The processor does not mind addresses that are not aligned, and the guest may use them. */
typedef uint16_t __attribute__((aligned(1), may_alias)) memory_u16;
typedef uint32_t __attribute__((aligned(1), may_alias)) memory_u32;
typedef uint64_t __attribute__((aligned(1), may_alias)) memory_u64;

/* Naturally aligned values of 1, 2, 4 and 8 bytes are copied in one access: page-table entries and
 * atomics of other vCPUs depend on it. */
static inline void memory_copy(void *to, const void *from, size_t size)
{
    switch (size) {
    case 1:
        *(volatile uint8_t *)to = *(const volatile uint8_t *)from;
        return;
    case 2:
        *(volatile memory_u16 *)to = *(const volatile memory_u16 *)from;
        return;
    case 4:
        *(volatile memory_u32 *)to = *(const volatile memory_u32 *)from;
        return;
    case 8:
        *(volatile memory_u64 *)to = *(const volatile memory_u64 *)from;
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
