/*
 * Contracts of the checked way to guest memory: proved in access.c, assumed in what uses it.
 */
#ifndef PROVE_ACCESS_H
#define PROVE_ACCESS_H

#include "prove.h"

#include "memory/ram.h"

/*@ assigns \result \from offset, size, limit;
    ensures \result == 1 <==> offset + size <= limit;
    ensures \result == 0 <==> offset + size > limit; */
static inline bool range_inside(uint64_t offset, uint64_t size, uint64_t limit);

/*@ predicate ram_valid(struct ram *ram) =
        ram->size <= OBJECT_MAX && \valid_read(ram) && \valid(ram->host + (0 .. ram->size - 1)); */

/*@ requires \valid_read(ram);
    assigns \result \from ram->host, ram->base, ram->size, gpa, size;
    ensures \result == \null ||
            (gpa >= ram->base && gpa - ram->base + size <= ram->size &&
             \result == ram->host + (gpa - ram->base)); */
static inline void *ram_at(const struct ram *ram, gpa_t gpa, uint64_t size);

/*@ requires ram_valid(ram);
    requires \valid((uint8_t *)to + (0 .. size - 1));
    requires \separated((uint8_t *)to + (0 .. size - 1), ram);
    assigns ((uint8_t *)to)[0 .. size - 1], \result
            \from ram->host[0 .. ram->size - 1], *ram, gpa, size;
    ensures \result == 0 || gpa - ram->base + size <= ram->size; */
bool ram_read(const struct ram *ram, gpa_t gpa, void *to, size_t size);

/*@ requires ram_valid(ram);
    requires \valid_read((uint8_t *)from + (0 .. size - 1));
    requires \separated(ram->host + (0 .. ram->size - 1), ram);
    assigns ram->host[0 .. ram->size - 1], \result
            \from ((uint8_t *)from)[0 .. size - 1], *ram, gpa, size;
    ensures \result == 0 || gpa - ram->base + size <= ram->size; */
bool ram_write(const struct ram *ram, gpa_t gpa, const void *from, size_t size);

/*@ requires ram_valid(ram);
    requires 1 <= capacity <= 0x7fffffff;
    requires \valid((uint8_t *)to + (0 .. capacity - 1));
    requires \separated((uint8_t *)to + (0 .. capacity - 1), ram);
    assigns ((uint8_t *)to)[0 .. capacity - 1], \result
            \from ram->host[0 .. ram->size - 1], *ram, gpa, capacity;
    ensures \result < capacity; */
int ram_read_string(const struct ram *ram, gpa_t gpa, char *to, size_t capacity);

#endif
