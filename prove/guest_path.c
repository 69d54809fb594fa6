/*
 * Normalising a path stays within the path and within the result's capacity.
 *
 * prove: utf8_more text_is_utf8 is_component component_size last_component parent append
 *        guest_path_normalize guest_path_is_name
 * within: any terminated path, any capacity
 * assumed: the buffer has the size that the caller says
 */
#include "prove.h"
#define __int128 long /* in a function that is not proved */
#include "fs/guest_path.c"
#include "util/text.c"

/*@ requires \valid(low) && \valid(high) && \separated(low, high);
    assigns *low, *high, \result \from lead;
    ensures \result <= 3; */
static unsigned utf8_more(unsigned char lead, unsigned char *low, unsigned char *high);

/*@ requires \valid_read(text + (0 .. size - 1));
    assigns \result \from text[0 .. size - 1], size; */
bool text_is_utf8(const char *text, size_t size);

/*@ requires \valid_read(component + (0 .. size - 1)) && terminated(name);
    assigns \result \from component[0 .. size - 1], name[0 ..], size; */
static bool is_component(const char *component, size_t size, const char *name);

/*@ requires \valid_read(to + (0 .. size - 1));
    assigns \result \from to[0 .. size - 1], size;
    ensures \result <= size;
    ensures \result > 0 ==> to[\result - 1] == '/'; */
static size_t last_component(const char *to, size_t size);

/*@ requires \valid_read(path + (0 .. size - 1)) && size <= OBJECT_MAX;
    assigns \result \from path[0 .. size - 1], size;
    ensures \result <= size; */
static size_t component_size(const char *path, size_t size);

/*@ requires \valid_read(to + (0 .. size - 1));
    assigns \result \from to[0 .. size - 1], size;
    ensures \result <= size; */
static size_t parent(const char *to, size_t size);

/*@ requires size < capacity <= OBJECT_MAX && \valid(to + (0 .. capacity - 1));
    requires 1 <= length <= OBJECT_MAX && \valid_read(component + (0 .. length - 1));
    assigns to[0 .. capacity - 1], \result
            \from component[0 .. length - 1], size, length, capacity;
    ensures \result < capacity; */
static size_t append(char *to, size_t capacity, size_t size, const char *component, size_t length);

/*@ requires capacity <= OBJECT_MAX && \valid(to + (0 .. capacity - 1));
    requires terminated(path);
    assigns to[0 .. capacity - 1], \result \from path[0 ..], capacity;
    ensures \result == 0 ==> terminated(to); */
int guest_path_normalize(const char *path, char *to, size_t capacity);

/*@ requires terminated(normalized);
    assigns \result \from normalized[0 ..]; */
bool guest_path_is_name(const char *normalized);
